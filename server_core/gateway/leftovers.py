"""Knows what an import has left behind that forked processes should not share, and which module left it there.

Threads do not exist in a forked process, though the code that started them believes so.  A socket, or an epoll, that
several processes use at once mixes up their conversations.  A descriptor that is inherited stays open in every program
that a worker starts.  None of it is closed here: only its owner knows how.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
import sysconfig
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_STANDARD = tuple(os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib"))
_FOREIGN = ("site-packages" + os.sep, "dist-packages" + os.sep)
_MOST = 10


class Leftovers:
    """A context around an import; ``words`` tells afterwards what has been left behind."""

    def __init__(self) -> None:
        self._before: set[int] | None = None
        self._threads: dict[threading.Thread, str] = {}
        self._sockets: dict[int, str] = {}
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Leftovers:
        self._before = _descriptors()
        # Python tells nobody later who has started a thread or made a socket, so it is noted when it happens.
        start, make = threading.Thread.start, socket.socket.__init__

        def noting_start(thread: threading.Thread) -> None:
            self._threads[thread] = _maker(sys._getframe(1))
            start(thread)

        def noting_make(sock: socket.socket, *arguments: Any, **keywords: Any) -> None:
            make(sock, *arguments, **keywords)
            self._sockets[sock.fileno()] = _maker(sys._getframe(1))

        threading.Thread.start = noting_start  # type: ignore[assignment,method-assign]
        socket.socket.__init__ = noting_make  # type: ignore[assignment,method-assign]

        def undo() -> None:
            # Only what is still ours: the application may have put its own there (gevent does).
            if threading.Thread.start is noting_start:
                threading.Thread.start = start  # type: ignore[method-assign]
            if socket.socket.__init__ is noting_make:
                socket.socket.__init__ = make  # type: ignore[method-assign]

        self._undo.append(undo)
        return self

    def __exit__(self, *_: object) -> None:
        while self._undo:
            self._undo.pop()()

    def words(self) -> str:
        """What to tell a person, "" when nothing is left, or nothing was imported."""
        if self._before is None:
            return ""
        said = []
        threads = [
            f"{thread.name}{self._threads.get(thread, '')}"
            for thread in threading.enumerate()
            if thread is not threading.main_thread()
        ]
        if threads:
            said.append(
                f"The application started threads while it was imported ({_list(threads)}); they do not exist in the "
                "workers, which are forked afterwards. Start them later, or set preload_app to false so that each "
                "worker imports the application for itself."
            )
        shared, inherited = [], []
        for descriptor in sorted(_descriptors() - self._before):
            text, is_shared = _describe(descriptor)
            if is_shared:
                shared.append(text + self._sockets.get(descriptor, ""))
            elif text:
                inherited.append(text)
        if shared:
            said.append(
                f"The application left connections open while it was imported ({_list(shared)}); all workers would use "
                "the same ones at once. Open them later, close them, or set preload_app to false."
            )
        if inherited:
            said.append(
                f"The application left descriptors inheritable while it was imported ({_list(inherited)}); every "
                "program that a worker starts will hold them open. See os.set_inheritable."
            )
        return "\n".join(said)


def _list(items: list[str]) -> str:
    more = [f"and {len(items) - _MOST} more"] if len(items) > _MOST else []
    return ", ".join(items[:_MOST] + more)


def _descriptors() -> set[int]:
    try:
        listed = {int(name) for name in os.listdir("/dev/fd")}
    except OSError:
        return set()
    return {descriptor for descriptor in listed if _is_open(descriptor)}  # not the listing's own


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _describe(descriptor: int) -> tuple[str, bool]:
    """A text for a descriptor, "" for a harmless one; and: would processes that share it disturb each other?"""
    status = os.fstat(descriptor)
    try:
        link = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        link = ""
    if stat.S_ISSOCK(status.st_mode):
        return f"descriptor {descriptor}, a socket{_peer(descriptor)}", True
    if link == "anon_inode:[eventpoll]":
        return f"descriptor {descriptor}, an epoll", True
    if os.get_inheritable(descriptor):
        return f"descriptor {descriptor}, {link or 'a file'}", False
    return "", False


def _peer(descriptor: int) -> str:
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        try:
            peer = sock.getpeername()
        except OSError:
            return ""
    if isinstance(peer, tuple):
        return f" to {peer[0]}:{peer[1]}"
    return f" to {peer}" if peer else ""


def _maker(frame: FrameType | None) -> str:
    """Whose code it was, in words: the application's module, and the library's that it called."""
    makers: list[str] = []
    while frame is not None:
        file = os.path.realpath(frame.f_code.co_filename)
        module = str(frame.f_globals.get("__name__", "?"))
        foreign = any(part in file for part in _FOREIGN)
        if module.partition(".")[0] in ("server_core", "django_serve", "flask_serve"):
            break
        if os.path.exists(file) and (foreign or not file.startswith(_STANDARD)):
            if not makers or not foreign:
                makers.append(module)
            if not foreign:
                break
        frame = frame.f_back
    return f", made by {' for '.join(dict.fromkeys(makers))}" if makers else ""
