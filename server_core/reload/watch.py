"""The arbiter's end of the watcher: what is to be watched, the process that does it, and what it tells.

It does not look at any file itself.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import site
from collections.abc import Iterable, Mapping
from contextlib import suppress
from logging import Logger
from time import monotonic, time_ns
from typing import NamedTuple

from server_core.arbiter.autoreload import for_people
from server_core.arbiter.boot import fresh_interpreter, spawn
from server_core.arbiter.plan import Backoff
from server_core.config.patterns import literal_head, parse_pattern
from server_core.config.values import quote
from server_core.errors import ConfigError
from server_core.reload.scope import Place, Request, is_inside, outermost, ways
from server_core.reload.watcher import tell
from server_core.settings import Development

#: the most that the start waits for the watcher: from then on no change is missed
READY_SECONDS = 10.0
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
                tell(self._orders, {"places": sorted(new), "since": since})

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
