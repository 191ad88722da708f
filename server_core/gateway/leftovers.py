"""Knows what an import has left behind that forked processes should not share, and which module left it there.

Threads do not exist in a forked process, though the code that started them believes so.  A socket, or an epoll, that
several processes use at once mixes up their conversations.  A descriptor that is inherited stays open in every program
that a worker starts.  None of it is closed here: only its owner knows how.
"""

from __future__ import annotations

import gc
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
#: the plain one, whatever the application puts into its place (gevent does)
_Socket: Any = socket.SocketType


class Leftovers:
    """A context around an import; ``words`` tells afterwards what has been left behind.

    ``threads_survive``: they are greenlets, which a fork copies with all the rest.
    """

    def __init__(self, *, threads_survive: bool = False) -> None:
        self._threads_survive = threads_survive
        self._before: set[int] | None = None
        self._others: set[threading.Thread] = set()
        self._threads: dict[threading.Thread, str] = {}
        self._makers: dict[int, str] = {}  # of sockets and inheritable descriptors
        self._undo: list[Callable[[], None]] = []
        self._over = False

    def __enter__(self) -> Leftovers:
        self._before = _descriptors()
        self._others = set(threading.enumerate())
        # Python tells nobody later who has started a thread or made a socket, so it is noted when it happens.
        start, make, inherit = threading.Thread.start, socket.socket.__init__, os.set_inheritable

        def noting_start(thread: threading.Thread) -> None:
            if not self._over:
                self._threads[thread] = _maker(sys._getframe(1))
            start(thread)

        def noting_make(sock: socket.socket, *arguments: Any, **keywords: Any) -> None:
            make(sock, *arguments, **keywords)
            if not self._over:
                self._makers[sock.fileno()] = _maker(sys._getframe(1))

        def noting_inherit(descriptor: int, inheritable: bool, /) -> None:
            inherit(descriptor, inheritable)
            if not self._over:
                self._makers[descriptor] = _maker(sys._getframe(1))

        self._put(threading.Thread, "start", noting_start)
        self._put(socket.socket, "__init__", noting_make)
        self._put(os, "set_inheritable", noting_inherit)
        return self

    def _put(self, owner: Any, name: str, ours: Callable[..., None]) -> None:
        theirs = getattr(owner, name)
        setattr(owner, name, ours)

        def undo() -> None:
            # Only what is still ours: the application may have put its own there, which calls ours.  That does nothing
            # more than the original from now on (_over).
            if getattr(owner, name) is ours:
                setattr(owner, name, theirs)

        self._undo.append(undo)

    def __exit__(self, *_: object) -> None:
        self._over = True
        while self._undo:
            self._undo.pop()()

    def words(self) -> str:
        """What to tell a person, "" when nothing is left, or nothing was imported."""
        if self._before is None:
            return ""
        gc.collect()  # closes what nobody can use any more, such as a connection whose error is still remembered
        said = []
        threads = [
            f"{thread.name}{self._threads.get(thread, '')}"
            for thread in threading.enumerate()
            if thread not in self._others
        ]
        if threads and not self._threads_survive:
            said.append(
                f"The application started threads while it was imported ({_list(threads)}); they do not exist in the "
                "workers, which are forked afterwards. Start them later, or set preload_app to false so that each "
                "worker imports the application for itself."
            )
        shared: list[str] = []
        inherited: list[str] = []
        for descriptor in sorted(_descriptors() - self._before):
            try:
                text, is_shared = _describe(descriptor)
            except OSError:
                continue  # a thread has closed it meanwhile
            if text:
                (shared if is_shared else inherited).append(text + self._makers.get(descriptor, ""))
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
        sock = _Socket(fileno=os.dup(descriptor))
        try:
            # What is sent in datagrams (to syslog, to statsd) goes as a whole, whoever sends it.
            if sock.type != socket.SOCK_DGRAM:
                return f"descriptor {descriptor}, a socket{_peer(sock)}", True
        finally:
            sock.close()
    if link == "anon_inode:[eventpoll]":
        return f"descriptor {descriptor}, an epoll", True
    if os.get_inheritable(descriptor):
        return f"descriptor {descriptor}, {link or 'a file'}", False
    return "", False


def _peer(sock: Any) -> str:
    try:
        peer = sock.getpeername()
    except OSError:
        return ""
    if isinstance(peer, tuple):
        return f" to {peer[0]}:{peer[1]}"
    return f" to {os.fsdecode(peer)}" if peer else ""


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
