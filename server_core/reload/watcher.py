"""The process that watches the application's files: watchfiles where it is installed, else polling; reloads nothing.

It writes lines of JSON: a list of changed paths, of which the first is empty and says that it watches, or a text to
log.  It reads lines of JSON too: further places to watch.  Their end says that the arbiter is gone.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any

from server_core.process import set_title
from server_core.reload.scope import Look, Place, Request, Scope, note
from server_core.signals import FOR_THE_FAMILY, let_through

POLL_SECONDS = 0.5
#: how often watchfiles lets us look up from waiting, to hear the arbiter and to see whether a directory is a new one
ATTENTION_MS = 250
#: by how much the time of a change can be behind the clock: a file system looks at it once in a tick of the kernel
TICK_NS = 10_000_000


def tell(descriptor: int, message: object) -> None:
    """Say something to the other end: a line of JSON.  Raises BrokenPipeError when nobody is there."""
    data = json.dumps(message).encode("ascii") + b"\n"
    while data:  # a signal may come in between when a pipe is full
        data = data[os.write(descriptor, data) :]


def main() -> None:
    """Entry point of the watcher's process: descriptors to read and to write, the engine, what to watch as JSON, and
    the time from which on changes count (0: from now on)."""
    for number in (*FOR_THE_FAMILY, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    let_through()
    orders = _Orders(int(sys.argv[1]))
    write, engine = int(sys.argv[2]), sys.argv[3]
    set_title("watcher", "development")
    view = _View(Scope(Request(*json.loads(sys.argv[4]))))
    notice = _by_watchfiles if engine == "watchfiles" else _by_polling
    try:
        tell(write, [])
        since = int(sys.argv[5])
        if since and (missed := view.changed_since(since)):
            tell(write, missed)
        for message in notice(view, orders):
            if message:
                tell(write, message)
    except (BrokenPipeError, EOFError):
        pass  # the arbiter is gone


class _Orders:
    """What the arbiter asks for.  A thread of its own reads it, so that the arbiter never waits."""

    def __init__(self, descriptor: int) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, args=(descriptor,), daemon=True).start()

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb") as lines:
            for line in lines:
                self._queue.put(json.loads(line))
        self._queue.put(None)

    def take(self, seconds: float = 0.0) -> Any:
        """The next one, or None when there is none in this time.  Raises EOFError when the arbiter is gone."""
        try:
            order = self._queue.get(seconds > 0, seconds)
        except queue.Empty:
            return None
        if order is None:
            raise EOFError("the arbiter is gone")
        return order


class _View:
    """The files as they were seen last; each method looks again and returns the paths that are not the same."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._seen = scope.look()

    def look(self) -> list[str]:
        """At all files.  Any difference counts: new, deleted, and older than before (a checkout)."""
        return self._become(self.scope.look(self._seen))

    def look_at(self, paths: Iterable[str]) -> list[str]:
        """At those that these paths concern: files, and directories that have come or gone with all that is inside."""
        now = dict(self._seen)
        for path in map(self._without_links, paths):
            if os.path.isdir(path):
                if self.scope.enters(path):
                    return self.look()
            elif path in now or self.scope.counts(path):
                now.pop(path, None)
                note(path, now)
            elif not os.path.lexists(path) and any(known.startswith(path + "/") for known in now):
                return self.look()
        return self._become(now)

    def _without_links(self, path: str) -> str:
        """Of a directory that has further names by symbolic links (lib64 of a virtual environment) the system knows one
        of them: the path as ``look`` would find it, or as it is when it would not."""
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if real in self._seen or self.scope.counts(real) or (os.path.isdir(real) and self.scope.enters(real)):
            return real
        return path

    def widen(self, places: list[Place], since: int) -> list[str]:
        """At all files, then also at those of further places; of these it tells what has changed ``since``."""
        before = self.look()
        known = self._seen
        self.scope.add(places)
        after = [path for path in self.look() if path in known or _changed_since(path, since)]
        directories = {os.path.dirname(path) for path in self._seen.keys() - known.keys()}
        directories.update(directory for directory, _ in places)
        return sorted({*before, *after, *self._marked(directories, since)})

    def changed_since(self, since: int) -> list[str]:
        """Of all that has been seen at first."""
        directories = {os.path.dirname(path) for path in self._seen} | set(self.scope.directories)
        return sorted({path for path in self._seen if _changed_since(path, since)} | self._marked(directories, since))

    def _marked(self, directories: set[str], since: int) -> set[str]:
        """What has been deleted has left its mark on the directory, as files that have come do too: only the former."""
        marked = {path for path in directories if _changed_since(path, since)}
        if marked:
            marked -= {os.path.dirname(path) for path in self._seen if _changed_since(path, since)}
        return marked

    def _become(self, now: Look) -> list[str]:
        before, self._seen = self._seen, now
        return sorted(path for path in now.keys() | before.keys() if now.get(path) != before.get(path))


def _changed_since(path: str, since: int) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    # Of a file the time of any change, for it may have been moved here.
    changed = status.st_mtime_ns if os.path.isdir(path) else status.st_ctime_ns
    return changed >= since - TICK_NS


def _by_polling(view: _View, orders: _Orders) -> Iterator[list[str] | str]:
    """Look at every file now and then."""
    took = 0.0
    while True:
        order = orders.take(max(POLL_SECONDS, 5 * took))  # a large tree must not keep a processor busy
        began = monotonic()
        yield view.widen(**order) if order else view.look()
        took = monotonic() - began


def _by_watchfiles(view: _View, orders: _Orders) -> Iterator[list[str] | str]:
    """Told by the system."""
    watchfiles: Any = importlib.import_module("watchfiles")
    while True:
        tops = _identities(view.scope.directories)
        there = [path for path, identity in tops.items() if identity]
        first = True
        try:
            for hints in watchfiles.watch(
                *there,
                watch_filter=None,
                debounce=200,
                step=50,
                rust_timeout=ATTENTION_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                names = {path for _, path in hints}
                # At first all: something may have changed before the system began to tell.
                yield view.look() if first else view.look_at(names)
                first = False
                while order := orders.take():
                    yield view.widen(**order)
                # Others now, or made anew, be it with the number that the old one had: begin again.
                if not names.isdisjoint(tops) or _identities(view.scope.directories) != tops:
                    break
        except (OSError, RuntimeError) as error:  # most likely the system's limit of watched directories
            if _identities(view.scope.directories) == tops:
                yield f"watchfiles has given up ({error}): from now on every file is looked at (reload_engine poll)."
                yield from _by_polling(view, orders)


def _identities(paths: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Which file or directory each path is at this moment; None for none."""
    found: dict[str, tuple[int, int] | None] = {}
    for path in paths:
        try:
            status = os.stat(path)
            found[path] = (status.st_dev, status.st_ino)
        except OSError:
            found[path] = None
    return found
