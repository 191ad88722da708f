"""A worker's place in the family: what it was given, whom it reports to, and how it ends; not how it waits.

``work`` is the life of a worker process, from just after the fork to its exit status.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from logging import Logger
from select import POLLIN, poll  # the system's own, whatever a worker class puts there later
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar

from server_core import __version__
from server_core.access_log import AccessLog
from server_core.engine.connection import Connection
from server_core.engine.screen import Screen
from server_core.engine.screened import Screened
from server_core.engine.site import Site
from server_core.errors import AppLoadError
from server_core.gateway import interface
from server_core.gateway.environ import base_environ
from server_core.gateway.inspection import Finding, judge
from server_core.gateway.loader import AppSpec, Loaded
from server_core.gateway.mount import inside, mounted
from server_core.gateway.static import missing, with_files
from server_core.listeners import Listener
from server_core.logs import (
    PROJECT_ACCESS_LOGGER,
    follow,
    join_project,
    open_text,
    project_handler,
    reopen,
    syslog_handler,
    told,
    zone_of,
)
from server_core.process import raise_open_files, set_title, tune_collector
from server_core.scoreboard import Score, Scoreboard
from server_core.settings import Settings
from server_core.signals import SignalPipe
from server_core.tls import Renewed
from server_core.workers import WorkerModule, calls_asgi, calls_tornado

if TYPE_CHECKING:
    from server_core.engine.engine import Engine

    E = TypeVar("E", bound=Engine)

#: descriptors that a worker needs besides those of its clients: files, database connections, temporary files
SPARE_FILES = 1024

#: what the arbiter is told in one go, in bytes, and how much of each text (characters) if that is more
LONGEST_REPORT, MOST_TEXT = 60_000, 3_000

SOFTWARE = f"prefork-serve/{__version__}"


def report(descriptor: int, **message: object) -> None:
    """Tell the arbiter something, as a line of JSON; nobody listens when the arbiter is gone.

    Of a very long text the middle is left out: the arbiter does not listen for so long.
    """
    data = json.dumps(message).encode("ascii") + b"\n"
    if len(data) > LONGEST_REPORT:
        short = {
            key: value[: MOST_TEXT // 4] + "\n...\n" + value[-MOST_TEXT:]
            if isinstance(value, str) and len(value) > MOST_TEXT
            else value
            for key, value in message.items()
        }
        data = json.dumps(short).encode("ascii") + b"\n"
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        pass


def bring_in(spec: AppSpec, settings: Settings, reports: int, log: Logger, *, look_over: bool = True) -> Loaded:
    """Import the application and ``look_over`` it; the arbiter is told what a person should know, and what to watch.

    From now on ``log`` is the project's, if it has one for us.  Raises AppLoadError.
    """
    loaded = spec.load(settings)
    worker_class = settings.workers.worker_class
    asgi = calls_asgi(worker_class)
    interface.require(loaded.application, asgi, spec.called, worker_class, calls_tornado(worker_class))
    tornado = interface.speaks_tornado(loaded.application)
    join_project(log)
    paths = settings.paths
    application, left_out = loaded.application, list[Finding]()
    if paths.static and tornado and paths.static_mounts:
        raise AppLoadError(
            "static_mounts: no files are served beside an application of tornado: let it serve them itself "
            "(its setting static_path, or a StaticFileHandler), or switch off static."
        )
    if paths.static and not tornado:
        # Frameworks write the path that the application is mounted on into the URLs of its files.
        mounts = [(inside(url, paths.script_name), directory) for url, directory in paths.static_mounts]
        fresh = settings.profile.develops
        put = with_files
        if asgi:
            from server_core.gateway.bridge import files_beside as put  # not without need: asyncio needs memory
        application, left_out = put(application, mounts, fresh=fresh, is_immutable=loaded.is_immutable)
    if settings.profile.checks and look_over:
        found = loaded.findings()
        if paths.static:
            told = "".join(finding.text for finding in found)  # the framework may have said it in its own words
            found += missing((url, directory) for url, directory in paths.static_mounts if directory not in told)
        found += left_out
        words = judge(found, settings.profile)
        if words:
            report(reports, finding=words)
    if settings.development.reload:
        for directory, pattern in loaded.places:
            report(reports, place=directory, pattern=pattern)
    # What is no WSGI application is told the path that it is mounted on otherwise (for ASGI, root_path).
    return replace(loaded, application=application if asgi or tornado else mounted(application, paths.script_name))


def _draw_new_seeds() -> None:
    """Let no two workers draw the same random numbers, whatever the application has seeded while it was imported.

    Python's own generator is seeded in each forked process, unless the application seeds it there (preload_app false);
    NumPy's is not.
    """
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        try:
            numpy_random.seed()
        except Exception:
            pass  # the application has put a generator there that cannot be seeded anew


class Serving(Protocol):
    """What a post needs of whoever serves there: the engine, or somebody else's loop."""

    @property
    def requests(self) -> int:
        """How many have been answered."""

    def add_reader(self, descriptor: int, read: Callable[[], None]) -> None:
        """Call ``read`` whenever ``descriptor`` can be read."""

    def remove_reader(self, descriptor: int) -> None:
        """The opposite."""

    def drain(self) -> None:
        """Answer what has come, take nothing more; then the worker class returns from ``run``."""


@dataclass
class Post:
    """What a worker was given.  ``reports`` is the pipe to the arbiter, ``lifeline`` ends when the arbiter does.

    ``is_first`` of its generation: where each worker imports for itself, one looks the application over for all.
    """

    slot: int
    generation: int
    is_first: bool
    name: str
    title: str
    settings: Settings
    spec: AppSpec
    loaded: Loaded | None
    listeners: list[Listener]
    scoreboard: Scoreboard
    log: Logger
    reports: int
    lifeline: int
    worker_class: WorkerModule
    renewed: Renewed | None = None  # certificates, where there can be such

    def work(self) -> int:
        """Be a worker; returns the exit status."""
        # Whatever kills us from inside (SIGSEGV, or SIGABRT by the arbiter) leaves all stacks in the arbiter's hands.
        faulthandler.enable(self.reports, all_threads=True)
        set_title(f"worker {self.slot}, generation {self.generation}", self.name)
        self._started = time.monotonic()
        self._serving: Serving | None = None
        self._leaving = False
        self._heard = b""
        self._hearing = Lock()
        self._access_log: AccessLog | None = None
        self._error_streams: list[tuple[int, str]] = []
        self._signals = SignalPipe([signal.SIGTERM, signal.SIGUSR1])
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the whole family: the arbiter decides
        signal.signal(signal.SIGQUIT, lambda *_: os._exit(0))
        try:
            if self.loaded is None:
                self.loaded = bring_in(self.spec, self.settings, self.reports, self.log, look_over=self.is_first)
                if self.settings.workers.tune_gc:
                    tune_collector()
            _draw_new_seeds()
            self.worker_class.run(self)
            if not self._leaving:  # no status of a failure: a class that hears signals by itself may be right
                name = self.settings.workers.worker_class
                words = f"worker_class {name}: run() has returned although the worker was not told to end"
                report(self.reports, failed=words, details="")
        except AppLoadError as error:
            report(self.reports, failed=str(error), details=error.details)
            return error.exit_code
        return 0

    def beat(self) -> None:
        """Show a sign of life, and take up what has been renewed; to be called once a second."""
        if self.renewed is not None:
            self.renewed.take_up()
        requests = self._serving.requests if self._serving is not None else 0
        self.scoreboard.write(self.slot, Score(os.getpid(), self._started, time.monotonic(), requests))

    def attend(self, serving: Serving) -> None:
        """Wire ``serving`` to the family: signals, the lifeline and the arbiter's words; reports that we are ready."""
        self._serving = serving
        self._signals.listen()
        serving.add_reader(self._signals.descriptor, self._read_signals)
        serving.add_reader(self.lifeline, self._arbiter_is_gone)
        if self.settings.development.reload:
            serving.add_reader(self.reports, self._hear_arbiter)
        self.beat()
        report(self.reports, ready=os.getpid())

    # -- what those who serve may ask for

    def access_log(self) -> AccessLog | None:
        """Where each exchange is told; None when nobody wants to know.  Raises StartError."""
        logs = self.settings.logs
        handlers = [syslog_handler(logs, self.title)] if logs.syslog else []
        projects = project_handler(PROJECT_ACCESS_LOGGER)
        if projects is not None:
            handlers.append(projects)
        if logs.accesslog is None and not handlers:
            return None
        with told(f"{logs.accesslog} (accesslog)"):
            self._access_log = AccessLog(logs.access_log_format, logs.accesslog, handlers, zone_of(logs), logs.color)
        return self._access_log

    def connections(self) -> int:
        """How many connections may be kept; the limit of open files is raised for them as far as possible."""
        asked = connections = self.settings.limits.worker_connections
        open_files = raise_open_files(connections + SPARE_FILES)
        if open_files < connections + SPARE_FILES:
            connections = max(open_files - SPARE_FILES, open_files // 2)
            self.log.info(
                "This worker keeps up to %d connections, not %d (worker_connections), because it may have only %d open "
                "files: raise the hard limit (ulimit -Hn, LimitNOFILE).",
                connections,
                asked,
                open_files,
            )
        return connections

    def most_requests(self) -> int:
        """After how many requests ``recycle`` is to be called, once; 0 for never.  Each worker draws its own jitter."""
        workers = self.settings.workers
        return workers.max_requests + random.randint(0, workers.max_requests_jitter) if workers.max_requests else 0

    def recycle(self) -> None:
        """Ask the arbiter to replace this worker, because it has answered as many requests as it should."""
        report(self.reports, recycle=self.settings.workers.max_requests)

    def screen(self) -> Screen | None:
        """Which requests are no application's; None when all are."""
        paths = self.settings.paths.health_path
        return Screen(paths, lambda: self.scoreboard.stage) if paths else None

    def sites(self, concurrent: bool) -> list[Site]:
        """The listening sockets, with what all requests on each of them have in common."""
        multiprocess = self.settings.workers.workers > 1
        return [
            Site(
                listener.socket,
                base_environ(
                    *listener.server_name_and_port,
                    SOFTWARE,
                    multithread=concurrent,
                    multiprocess=multiprocess,
                    errors=self._errors(),
                    scheme=listener.scheme,
                ),
                listener.tls,
                listener.redirect_port,
            )
            for listener in self.listeners
        ]

    def engine(self, make: Callable[..., E], *, concurrent: bool, beat: Callable[[], None] = lambda: None) -> E:
        """The engine that ``make`` makes of what every engine needs, on our listeners, attended.

        ``concurrent``: it calls the application again before an earlier call has returned.
        """
        settings = self.settings
        access_log = self.access_log()
        paths = settings.paths
        assert self.loaded is not None
        sites = self.sites(concurrent)
        if settings.application.warmup:
            from server_core.gateway.warmup import warm_up  # who needs it

            warm_up(self.loaded.application, sites[0].environ, paths.allowed_hosts, settings.application.warmup)
        engine = make(
            self.loaded.application,
            sites,
            settings.limits,
            settings.timeouts,
            settings.proxy,
            self.log,
            server=settings.responses.server_header,
            hosts=paths.allowed_hosts if paths.check_hosts else (),
            worker_connections=self.connections(),
            share=self.scoreboard.share(self.slot),
            screen=self.screen(),
            record=access_log.record if access_log else None,
            turn_ended=access_log.flush if access_log else None,
            beat=beat,
            max_requests=self.most_requests(),
            limit_reached=self.recycle,
            connect=self._connect(),
        )
        self.attend(engine)
        return engine

    def _connect(self) -> Callable[..., Connection]:
        if not any(listener.tls for listener in self.listeners):
            return Connection if self.screen() is None else Screened
        from server_core.engine.secure import connect  # not without need: ssl costs 4 MB

        return connect

    def _errors(self) -> TextIO:
        path = self.settings.logs.errorlog
        if path == "-":
            return sys.stderr
        with told(f"{path} (errorlog)"):
            stream = open_text(path)
        self._error_streams.append((stream.fileno(), os.path.abspath(path)))
        return stream

    def _read_signals(self) -> None:
        signals = self._signals.read()
        if signal.SIGUSR1 in signals:
            self._reopen_logs()
        if signal.SIGTERM in signals:
            self._leave()

    def _reopen_logs(self) -> None:
        """The files have been renamed: go on in new ones; who cannot goes on in the old one, and says so."""
        reopen(self.log)
        try:
            for descriptor, path in self._error_streams:
                follow(descriptor, path)
            if self._access_log is not None:
                self._access_log.reopen()
        except OSError as error:
            words = "A log cannot be opened anew: %s. What was open before is written on."
            self.log.error(words, error)

    def _hear_arbiter(self) -> None:
        """Files have changed: take them up, and tell the arbiter so, or that only a reload will."""
        assert self._serving is not None
        # Several threads may be woken for the same words; another one may have read them.
        with self._hearing:
            there = poll()
            there.register(self.reports, POLLIN)
            if not there.poll(0):
                return
            data = os.read(self.reports, 65536)
            if not data:
                self._serving.remove_reader(self.reports)
            *lines, self._heard = (self._heard + data).split(b"\n")
        for message in map(json.loads, lines):
            stale = [path for path in message["changed"] if not self._refresh(path)]
            report(self.reports, stale=stale[0] if stale else "", number=message["number"])

    def _refresh(self, path: str) -> bool:
        assert self.loaded is not None
        try:
            return self.loaded.refresh is not None and self.loaded.refresh(path)
        except Exception:
            self.log.exception("The framework could not take up a change of %s: a reload has to", path)
            return False

    def _arbiter_is_gone(self) -> None:
        assert self._serving is not None
        self._serving.remove_reader(self.lifeline)
        self.log.error("The arbiter is gone: finishing the running requests, then this worker ends.")
        self._leave()

    def _leave(self) -> None:
        if not self._leaving and self._serving is not None:
            self._leaving = True
            set_title(f"worker {self.slot}, generation {self.generation}, draining", self.name)
            self._serving.drain()
