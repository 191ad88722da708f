"""Watches the application's files in a process of its own and tells the arbiter which have changed; does not reload.

``Watch`` is the arbiter's end.  ``main`` is the other process: watchfiles where it is installed, else polling.  It
writes lines of JSON: a list of changed paths, of which the first is empty and says that it watches, or a text to log.
It reads lines of JSON too: further places to watch.  Their end says that the arbiter is gone.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import queue
import select
import signal
import site
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from logging import Logger
from time import monotonic, time_ns
from typing import Any, NamedTuple

from server_core.arbiter.autoreload import for_people
from server_core.arbiter.boot import fresh_interpreter, spawn
from server_core.arbiter.plan import Backoff
from server_core.config.patterns import literal_head, parse_pattern
from server_core.config.values import quote
from server_core.errors import ConfigError
from server_core.process import set_title
from server_core.reload.scope import Look, Place, Request, Scope, is_inside, note, outermost, ways
from server_core.settings import Development
from server_core.signals import FOR_THE_FAMILY, let_through

POLL_SECONDS = 0.5
#: how often watchfiles lets us look up from waiting, to hear the arbiter and to see whether a directory is a new one
ATTENTION_MS = 250
#: the most that the start waits for the watcher: from then on no change is missed
READY_SECONDS = 10.0
#: by how much the time of a change can be behind the clock: a file system looks at it once in a tick of the kernel
TICK_NS = 10_000_000
#: what has changed so shortly before the end of a watcher was perhaps not told any more
UNTOLD_NS = 1_000_000_000
#: a watcher that has lived for so long shows that a new one helps
STABLE_SECONDS = 10.0


class Changes(NamedTuple):
    """Files that have changed: absolute paths without symbolic links, sorted.  None of them for not yet."""

    paths: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The same for a person, "" when there are none."""
        names = [for_people(path) for path in self.paths[:3]]
        more = f" and {len(self.paths) - 3} more" if len(self.paths) > 3 else ""
        return f"{', '.join(names)}{more} changed" if names else ""


class Wanted(NamedTuple):
    """What is to be watched, and by which engine: watchfiles or poll."""

    engine: str
    request: Request


def wanted(settings: Development, directories: Iterable[str], origins: Mapping[str, str]) -> Wanted:
    """What the settings mean.  Raises ConfigError when the engine that was asked for is not installed, and for a
    pattern that means nothing; ``origins`` tell where a setting is from."""
    engine = settings.reload_engine
    installed = importlib.util.find_spec("watchfiles") is not None
    if engine == "watchfiles" and not installed:
        raise ConfigError(
            f"reload_engine watchfiles ({origins['reload_engine']}) needs watchfiles: "
            'pip install "prefork-serve[reload]"'
        )
    if engine == "auto":
        engine = "watchfiles" if installed else "poll"
    roots = _roots(directories)
    request = Request(
        directory=os.getcwd(),
        roots=roots,
        far=_far(settings, roots, origins),
        files=_files(settings, origins),
        include=list(settings.reload_include),
        exclude=list(settings.reload_exclude),
    )
    return Wanted(engine, request)


class Watch:
    """A running watcher; ``descriptor`` can be read when something has changed, -1 when the watcher has died."""

    def __init__(self, what: Wanted, log: Logger) -> None:
        """Start watching."""
        self._engine, self._request = engine, request = what
        roots = request.roots
        self._log = log
        self._places: set[Place] = set()
        self._backoff = Backoff()
        self._lost = 0  # the time from which on changes may not have been told
        self._start()
        select.select([self.descriptor], [], [], READY_SECONDS)
        if roots:
            log.debug("Watching %s with %s.", ", ".join([*roots, *request.far]), engine)
        else:
            log.warning(
                "No directory is watched (reload), for / is too large: set chdir to the application's own folder."
            )

    def _start(self) -> None:
        """Raises OSError when there can be no further process."""
        ours, write = os.pipe()
        read, orders = os.pipe()
        arguments = (str(read), str(write), self._engine, json.dumps(self._request), str(self._lost))
        try:
            self._pid = spawn(fresh_interpreter("server_core.reload.watcher", *arguments), (read, write))
        except OSError:
            os.close(ours)
            os.close(orders)
            raise
        finally:
            os.close(read)
            os.close(write)
        os.set_blocking(ours, False)
        self.descriptor, self._orders = ours, orders
        self._buffer = b""
        self._started = monotonic()

    def keep_up(self) -> bool:
        """Start the watcher anew when it has died and the pause is over; is there one now?"""
        if self.descriptor < 0 and monotonic() >= self._backoff.until:
            try:
                self._start()
            except OSError as error:
                pause = self._backoff.failed(monotonic())
                self._log.error("Cannot start the watcher: %s. Next try in %gs.", error.strerror, pause)
                return False
            places, self._places = self._places, set()
            self.add(places, self._lost)
            self._log.info("A new watcher has been started; what has changed meanwhile is noticed.")
        return self.descriptor >= 0

    def add(self, places: Iterable[Place], since: int | None = None) -> None:
        """Watch further places too: directories, each with a pattern as of ``Path.glob`` for files below it.

        Every such file counts, whatever its suffix and wherever the directory is, unless ``reload_exclude`` means it.
        ``since`` is the time, in nanoseconds of ``time.time_ns()``, from which on no change may be missed, by default
        now: the watcher tells what has changed between then and the moment when it has heard of this.  Places that it
        knows already cost nothing.
        """
        since = time_ns() if since is None else since
        new = {(os.path.realpath(directory), pattern) for directory, pattern in places} - self._places
        self._places |= new
        if any(directory == "/" for directory, _ in new):
            self._log.warning("The application asks for / to be watched, which is too large: that is left out.")
            new = {place for place in new if place[0] != "/"}
        if new and self._pid:
            with suppress(BrokenPipeError):  # it has died, as ``read`` will tell
                _write(self._orders, {"places": sorted(new), "since": since})

    def read(self) -> Changes:
        """What has changed; no paths when a whole line has not come yet, or the watcher has died."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return Changes(())
        if not data:
            self._has_died()
            return Changes(())
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        changed: set[str] = set()
        for message in map(json.loads, lines):
            if isinstance(message, str):
                self._log.warning("%s", message)
            else:
                changed.update(message)
        return Changes(tuple(sorted(changed)))

    def _has_died(self) -> None:
        self._let_go()
        self._pid = 0
        self._lost = time_ns() - UNTOLD_NS
        if monotonic() - self._started > STABLE_SECONDS:
            self._backoff.succeeded()
        pause = self._backoff.failed(monotonic())
        self._log.error("The watcher has died: changes are not noticed until a new one is there, in %gs.", pause)

    def _let_go(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            os.close(self._orders)
            self.descriptor = -1

    def end(self) -> None:
        """Stop watching."""
        self._let_go()
        if self._pid:
            with suppress(ProcessLookupError, ChildProcessError):  # whoever reaps our children may have been first
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)


def _write(descriptor: int, message: object) -> None:
    data = json.dumps(message).encode("ascii") + b"\n"
    while data:  # a signal may come in between when a pipe is full
        data = data[os.write(descriptor, data) :]


def _roots(directories: Iterable[str]) -> list[str]:
    """The directories without those inside others, without installed packages and without the whole file system."""
    unwanted = {"/", *(os.path.realpath(path) for path in site.getsitepackages())}
    return outermost({os.path.realpath(path) for path in directories if os.path.isdir(path)} - unwanted)


def _files(settings: Development, origins: Mapping[str, str]) -> list[str]:
    for path in settings.reload_extra_files:
        if os.path.isdir(path):
            where = f"{quote(path)} ({origins['reload_extra_files']})"
            raise ConfigError(f"reload_extra_files: {where} is a directory: name it with reload_include.")
    return [os.path.abspath(path) for path in settings.reload_extra_files]


def _far(settings: Development, roots: list[str], origins: Mapping[str, str]) -> list[str]:
    """The directories outside of the roots that ``reload_include`` names.  Refuses a path that can mean nothing."""
    found = []
    patterns = {"reload_include": settings.reload_include, "reload_exclude": settings.reload_exclude}
    for name, text in ((name, text) for name, texts in patterns.items() for text in texts):
        pattern = parse_pattern(text)
        if pattern.base in ("", "."):
            continue
        ((start, parts),) = ways(pattern, [os.getcwd()])
        head = os.path.join(start, *literal_head(parts))
        if any(is_inside(head, root) for root in roots):
            continue
        where = f"{name}: {quote(text)} ({origins[name]})"
        if not os.path.exists(head):
            raise ConfigError(
                f"{where} means nothing: there is no {head}; a path inside of the project begins without a slash."
            )
        if name == "reload_include":
            if head == "/":
                raise ConfigError(f"{where} means the whole file system, which is too large to be watched.")
            if not os.path.isdir(head):
                raise ConfigError(f"{where} is a single file outside of the project: name it with reload_extra_files.")
            found.append(head)
    return found


# --- the other process


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
        _write(write, [])
        since = int(sys.argv[5])
        if since and (missed := view.changed_since(since)):
            _write(write, missed)
        for message in notice(view, orders):
            if message:
                _write(write, message)
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
