"""From settings to a running arbiter: what can be refused is refused here, before anything runs."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from logging import Logger
from time import monotonic
from typing import TYPE_CHECKING

from server_core import __version__
from server_core.access_log import compile_format
from server_core.arbiter.arbiter import Arbiter
from server_core.arbiter.autoreload import Autoreload
from server_core.arbiter.boot import Boot, Failure
from server_core.arbiter.children import Generation, describe_status
from server_core.arbiter.recycling import Recycling
from server_core.arbiter.renewal import Renewal
from server_core.arbiter.reports import Reports
from server_core.arbiter.touch import Touch
from server_core.certificates import paths_of, read_all
from server_core.config.bindings import DEFAULT_PORTS, Binding
from server_core.config.layers import Resolved
from server_core.errors import AppLoadError, BootError, ConfigError, StartError
from server_core.gateway import static
from server_core.gateway.loader import AppSpec
from server_core.listeners import Listener, judge_binding, open_listener
from server_core.logs import error_log, prepare_files, require_syslog, zone_of
from server_core.process import (
    Account,
    PidFile,
    Terminal,
    adopt_orphans,
    fill_standard_streams,
    find_account,
    resident,
    set_title,
)
from server_core.reload.browser import open_browser
from server_core.reload.standin import stand_in
from server_core.reload.watch import Wanted, Watch, wanted
from server_core.scoreboard import ENDING, SERVING, Scoreboard
from server_core.settings import Settings
from server_core.shelf import Shelf
from server_core.tls import judge
from server_core.workers import find_worker_class, require

if TYPE_CHECKING:
    from server_core.adhoc import Adhoc


class Server:
    """A server that is about to start: what was resolved, what it is called, as whom it runs."""

    def __init__(self, resolved: Resolved, spec: AppSpec) -> None:
        """Judge all that can be judged without touching anything.  Raises ConfigError or StartError."""
        self.settings: Settings = resolved.settings
        self.origins = resolved.origins
        settings = self.settings
        try:
            os.chdir(settings.application.chdir)
        except OSError as error:
            origin = self.origins["chdir"]
            raise ConfigError(f"chdir: cannot change to {settings.application.chdir!r} ({origin}): {error.strerror}.")
        self._directory = os.getcwd()
        self.spec = replace(spec, title=spec.called, path=(*spec.path, self._directory))
        self.title = settings.process.proc_name or self.spec.title
        worker_class = find_worker_class(settings.workers.worker_class, self.origins["worker_class"])
        if settings.workers.threads > 1 and not worker_class.has_threads:
            raise ConfigError(
                f"worker_class {settings.workers.worker_class} ({self.origins['worker_class']}) has no threads, but "
                f"threads is {settings.workers.threads} ({self.origins['threads']}): leave it at 1."
            )
        if worker_class.asgi and settings.asgi.asgi_loop == "uvloop":
            require("uvloop", "asgi", f"asgi_loop uvloop ({self.origins['asgi_loop']})")
        compile_format(settings.logs.access_log_format, self.origins["access_log_format"])
        zone_of(settings.logs, self.origins["log_timezone"])
        if settings.paths.static and settings.paths.static_mounts:
            static.require(self.origins["static_mounts"])
        if settings.speaks_tls:
            judge(settings.tls, self.origins, read_all(settings.tls, self.origins))
        self._adhoc: Adhoc | None = None
        self._shelf: Shelf | None = None
        self._renewal: Renewal | None = None
        if settings.tls.is_adhoc:
            from server_core import adhoc

            adhoc.require(self.origins["certfile"])
        process = settings.process
        self._serves = False
        self.account: Account = find_account(process.user, process.group, (self.origins["user"], self.origins["group"]))
        self._check_directory_for_uploads()
        self._to_watch: Wanted | None = None
        if settings.development.reload:
            self._to_watch = wanted(settings.development, [self._directory, *self.spec.path], self.origins)
        for binding in settings.sockets.bind:
            judge_binding(binding, self.origins["bind"])
        for binding in settings.tls.redirect_bind:
            judge_binding(binding, self.origins["redirect_bind"])
        self._pidfile = PidFile(process.pidfile, self.origins["pidfile"]) if process.pidfile else None
        if self._pidfile is not None:
            self._pidfile.judge()
        require_syslog(settings.logs, self.origins)
        for name in ("max_worker_memory", "max_worker_memory_hard"):
            if getattr(settings.workers, name) and resident(os.getpid()) is None:
                raise ConfigError(
                    f"{name} ({self.origins[name]}): this system does not tell what a process has in memory (there is "
                    "no /proc): leave it out."
                )

    def _check_directory_for_uploads(self) -> None:
        directory = self.settings.limits.tmp_upload_dir
        if directory is None:
            return
        where = f"tmp_upload_dir: {directory} ({self.origins['tmp_upload_dir']})"
        if not os.path.isdir(directory):
            raise ConfigError(f"{where} is no directory: make it, or leave the setting out.")
        status = os.stat(directory)
        as_ourselves = self.account.user == -1
        if not (
            os.access(directory, os.W_OK | os.X_OK)
            if as_ourselves
            else self.account.may_write(status) and self.account.may_enter(status)
        ):
            who = "this account" if as_ourselves else f"{self.account.called} (user)"
            raise ConfigError(f"{where} cannot be written by {who}: give it to that account, or leave the setting out.")

    # -- serving

    def serve(self) -> None:
        """Run until told to end.  Raises StartError, AppLoadError or BootError; then nothing is left running."""
        fill_standard_streams()
        terminal = Terminal()
        log = self._open_log()
        pidfile = self._pidfile
        listeners: list[Listener] = []
        watch: Watch | None = None
        try:
            if self._to_watch is not None:
                watch = Watch(self._to_watch, log)
            # From here on signals are collected: who finds the pid file may send one at once.
            arbiter = self._arbiter(listeners, watch, log)
            if pidfile is not None:
                pidfile.create()
            self._listen(listeners)
            self._make_certificate()
            self._watch_certificates(log)
            adopt_orphans()
            set_title("arbiter", self._name(listeners))
            arbiter.run()
            log.info("Stopped.")
        finally:
            if watch is not None:
                watch.end()
            for listener in listeners:
                listener.socket.close()
                listener.remove_file()
            if pidfile is not None:
                pidfile.remove()
            terminal.restore()

    def _open_log(self) -> Logger:
        prepare_files(self.settings.logs, self.account, self.origins)
        return error_log(self.settings.logs, self.title, self.account)

    def _make_logs(self, log: Logger) -> None:
        """After a rotation: workers may not be allowed to make files where root is."""
        try:
            prepare_files(self.settings.logs, self.account, self.origins)
        except StartError as error:
            log.error("%s. Who has no new file goes on in the old one.", error)

    def _listen(self, listeners: list[Listener]) -> None:
        settings = self.settings
        for binding in settings.sockets.bind:
            listeners.append(self._open(binding, "bind", settings.scheme_of(binding)))
        port = next((each.port for each in listeners if each.scheme == "https" and each.port), DEFAULT_PORTS["https"])
        for binding in settings.tls.redirect_bind:
            listeners.append(self._open(binding, "redirect_bind", "http", port))

    def _open(self, binding: Binding, setting: str, scheme: str, redirect_port: int = 0) -> Listener:
        sockets, origin = self.settings.sockets, self.origins[setting]
        owner = (self.account.user, self.account.group)
        return open_listener(binding, origin, sockets.backlog, sockets.socket_mode, owner, scheme, redirect_port)

    def _make_certificate(self) -> None:
        """Once: all generations have the same, or a browser would ask again at each reload."""
        if self.settings.tls.is_adhoc:
            from server_core import adhoc

            hosts = [binding.host for binding in self.settings.sockets.bind if binding.kind == "tcp"]
            self._adhoc = adhoc.certificate_for(adhoc.names_of(hosts))

    def _watch_certificates(self, log: Logger) -> None:
        tls = self.settings.tls
        if paths_of(tls):
            self._shelf = Shelf()
            self._renewal = Renewal(tls, self.origins, self._adhoc.pem if self._adhoc else b"", self._shelf, log)

    def _look(self, now: float) -> None:
        if self._renewal is not None:
            self._renewal.look(now)

    def _arbiter(self, listeners: list[Listener], watch: Watch | None, log: Logger) -> Arbiter:
        settings = self.settings
        workers = settings.workers.workers
        # Room for scaling up, and for those who leave while others take their place.
        scoreboard = Scoreboard(max(256, 4 * workers))

        def make_boot(generation: int, lifeline: int, reports: int, failure: Failure | None) -> Boot:
            with suppress(OSError):  # it may have been deleted and made anew: a new generation begins in the new one
                os.chdir(self._directory)
            boot = self._boot(generation, listeners, scoreboard, lifeline, reports)
            return boot if failure is None else stand_in(boot, failure)

        def serves(generation: int, stands_in: bool) -> None:
            scoreboard.advance(SERVING)
            self._tell_ready(generation, stands_in, listeners, log)

        def stop_listening() -> None:
            scoreboard.advance(ENDING)
            # New clients are refused as soon as the last worker has taken all that queued before.
            for listener in listeners:
                listener.socket.close()

        return Arbiter(
            workers,
            settings.timeouts,
            scoreboard,
            log,
            make_boot,
            on_ready=serves,
            on_drain=stop_listening,
            on_reopen=lambda: self._make_logs(log),
            on_look=self._look,
            recycling=Recycling(settings.workers, resident, log),
            touched=Touch(settings.process.touch_reload).reason,
            autoreload=Autoreload(watch, log) if watch is not None else None,
            develops=settings.profile.develops,
        )

    def _boot(
        self, generation: int, listeners: Iterable[Listener], scoreboard: Scoreboard, lifeline: int, reports: int
    ) -> Boot:
        return Boot(
            generation,
            self._name(listeners),
            self.settings,
            self.origins,
            self.spec,
            self.account,
            tuple((listener.socket.fileno(), listener.binding, listener.redirect_port) for listener in listeners),
            (scoreboard.slots, scoreboard.descriptor),
            lifeline,
            reports,
            self._adhoc.pem if self._adhoc else b"",
            self._shelf.descriptor if self._shelf else -1,
        )

    def _name(self, listeners: Iterable[Listener]) -> str:
        where = " ".join(listener.url.removeprefix(f"{listener.scheme}://") for listener in listeners)
        return f"{where} {self.title}".strip()

    def _tell_ready(self, generation: int, stands_in: bool, listeners: Iterable[Listener], log: Logger) -> None:
        if not self._serves:
            for line in self._banner(generation, listeners):
                log.info("%s", line)
            if self.settings.development.open_browser:
                open_browser(listeners, self.settings.paths.script_name, log)
        elif not stands_in:
            log.info("Generation %d has taken over.", generation)
        if stands_in:
            log.info("The browser shows why.")
        self._serves = True

    def _banner(self, generation: int, listeners: Iterable[Listener]) -> list[str]:
        workers = self.settings.workers
        implied = self.origins["worker_class"]
        because = f" (because {implied})" if implied == "threads > 1" else ""
        count = f"{workers.workers} worker{'s' if workers.workers > 1 else ''}"
        if find_worker_class(workers.worker_class, implied).is_bound_to_threads:
            count += f" × {workers.threads} thread{'s' if workers.threads > 1 else ''}"
        else:
            count += f" with many requests at once{' in each' if workers.workers > 1 else ''}"
        how = "imported once, then forked" if workers.preload_app else "imported by each worker"
        stop = "Ctrl-C" if sys.stdin is not None and sys.stdin.isatty() else f"kill {os.getpid()}"
        where = " ".join(each.url for each in listeners if not each.redirect_port)
        return [
            f"prefork-serve {__version__} serves {self.spec.title} on {where}",
            *self._about_redirects(listeners),
            f"{count}, worker class {workers.worker_class}{because}, generation {generation}, {how}",
            self._profile(),
            *self._about_certificate(),
            f"Stop: {stop}. Load the application anew: kill -HUP {os.getpid()}.",
        ]

    @staticmethod
    def _about_redirects(listeners: Iterable[Listener]) -> list[str]:
        urls = [each.url for each in listeners if each.redirect_port]
        return [f"Redirects to https: {' '.join(urls)}"] if urls else []

    def _profile(self) -> str:
        settings = self.settings
        profile, origin = settings.profile.profile, self.origins["profile"]
        told = f"Profile {profile}" if origin == "default" else f"Profile {profile}, because of {origin}"
        if settings.development.reload:
            return f"{told}. The application is loaded anew when one of its files changes (reload)."
        return f"{told}."

    def _about_certificate(self) -> list[str]:
        """What a person has to know of one that nobody has signed."""
        if self._adhoc is None:
            return []
        kept = f", kept in {self._adhoc.path}" if self._adhoc.path else ""
        until = f"{self._adhoc.until:%Y-%m-%d}"
        return [f"Certificate of our own (certfile adhoc), until {until}{kept}: a browser asks whether to trust it."]

    # -- checking

    def check(self) -> list[str]:
        """Import the application in a child, look it over, and make nothing.  Returns what is worth telling.

        Raises ConfigError or StartError for what a start would refuse (whether an address or the pid file is free is
        not asked: the server may be running), AppLoadError or BootError for the application.
        """
        found = []
        prepare_files(self.settings.logs, self.account, self.origins, make=False)
        read, write = os.pipe()
        lifeline, end = os.pipe()
        scoreboard = Scoreboard(1)
        started = monotonic()
        boot = self._boot(0, (), scoreboard, lifeline, write)
        settings = self.settings
        logs = replace(settings.logs, errorlog="-", accesslog=None, syslog=False)
        workers = replace(settings.workers, preload_app=True)
        boot = replace(boot, settings=replace(settings, logs=logs, workers=workers))
        generation = Generation(boot, write, Reports(read), started)
        limit = self.settings.timeouts.boot_timeout
        poll = select.poll()
        poll.register(read, select.POLLIN)
        try:
            while not generation.reports.closed:
                left = started + limit - monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    raise BootError(f"the application is still being imported after {limit:g}s (boot_timeout)")
                for message in generation.reports.read():
                    if "failed" in message:
                        raise AppLoadError(message["failed"], message["details"])
                    if "finding" in message:
                        found.append(message["finding"])
                    if "imported" in message:
                        return found
            _, status = os.waitpid(generation.pid, 0)
            generation.pid = 0
            raise BootError(f"the process that imported the application {describe_status(status)}")
        finally:
            os.close(end)
            generation.close()
            if generation.pid:
                os.kill(generation.pid, 9)
                os.waitpid(generation.pid, 0)
