"""The forkserver process: imports the application once and forks a worker whenever the arbiter asks for one.

One for each generation.  It drops privileges before any code of the application runs, so a broken or hostile import
can hurt nobody but this process.
"""

from __future__ import annotations

import faulthandler
import importlib
import math
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable

# The system's own: a worker class (gevent) may replace what stands in these modules.
from os import fork
from select import POLLIN, poll
from time import monotonic
from typing import TYPE_CHECKING

from server_core.arbiter.boot import Boot, receive_boot, receive_fork
from server_core.certificates import Pair, Piece, read_all
from server_core.errors import AppLoadError, ServeError, StartError
from server_core.gateway.leftovers import Leftovers
from server_core.gateway.loader import Loaded, describe
from server_core.gateway.tls_hook import load_hook
from server_core.listeners import Listener, adopt
from server_core.logs import error_log, prepare_files, reopen
from server_core.process import dead_children, drop_privileges, set_title, tune_collector
from server_core.scoreboard import Scoreboard
from server_core.shelf import Shelf
from server_core.signals import FOR_THE_FAMILY, SignalPipe, let_through, reset
from server_core.tls import Choice, Renewed, context_of, import_early, pass_over_nonsense
from server_core.workers import WORKER_CLASSES, WorkerModule, is_foreign, load_worker_class
from server_core.workers.post import Post, bring_in, report

if TYPE_CHECKING:
    from ssl import SSLContext

    from server_core.config.bindings import Binding

#: how much later than boot_timeout an import ends itself
ALARM_SECONDS = 1.0


def main() -> None:
    """Entry point; the one argument is the descriptor of the channel to the arbiter."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        boot = receive_boot(channel)
    except EOFError:
        os._exit(0)
    sys.argv[1:] = []
    forkserver = ForkServer(channel, boot)
    status = forkserver.run()
    if forkserver.is_worker:
        # What the application registered to run at exit, runs: it may have spans or messages to send.
        raise SystemExit(status)
    os._exit(status)  # in the forkserver it does not: it would take away what workers still use


class ForkServer:
    """The life of one forkserver, and after the fork that of a worker: then ``is_worker`` is set."""

    def __init__(self, channel: socket.socket, boot: Boot) -> None:
        self.is_worker = False
        self._channel = channel
        self._boot = boot
        self._loaded: Loaded | None = None
        worker_class = WORKER_CLASSES.get(boot.settings.workers.worker_class)
        self._leftovers = Leftovers(threads_survive=worker_class is not None and worker_class.threads_survive)
        self._workers: set[int] = set()
        self._has_forked = False
        self._worker_class: WorkerModule
        self._choice: Choice | None = None
        self._renewed: Renewed | None = None

    def run(self) -> int:
        """Import, then fork on demand until the arbiter closes the channel; returns the exit status."""
        boot = self._boot
        # They were inherited; what the application starts (os.system, a daemon) must not hold our sockets open.
        for descriptor in (*boot.descriptors, self._channel.fileno()):
            os.set_inheritable(descriptor, False)
        faulthandler.enable(boot.reports, all_threads=True)
        set_title(f"forkserver, generation {boot.generation}", boot.name)
        for number in FOR_THE_FAMILY:
            signal.signal(number, lambda *_: None)
        let_through()
        # The arbiter ends an import that hangs.  This is for the day when the arbiter is gone before it could.
        signal.setitimer(signal.ITIMER_REAL, boot.settings.timeouts.boot_timeout + ALARM_SECONDS)
        try:
            # Our own code first: it may lie where the account to become cannot read.  And so may, and should, the key.
            name = boot.settings.workers.worker_class
            if not is_foreign(name):
                self._worker_class = load_worker_class(name)
            material = None
            shelf = Shelf(boot.shelf) if boot.shelf >= 0 else None
            seen = shelf.number if shelf is not None else 0  # first: what comes later is newer than what is read here
            if boot.pem or boot.settings.tls.has_files:
                material = read_all(boot.settings.tls, boot.origins, boot.pem)
                import_early()
                importlib.import_module("server_core.engine.secure")
            # A rotation may have taken the logs away, from where only root can make new ones.
            prepare_files(boot.settings.logs, boot.account, boot.origins)
            drop_privileges(boot.account, boot.settings.process.umask)
            if is_foreign(name):
                boot.spec.prepare()
                self._worker_class = load_worker_class(name)
            self._worker_class.prepare()
            self._log = error_log(boot.settings.logs, boot.title)  # with such locks as there are from now on
            if material is not None:
                pass_over_nonsense()
                self._choice = Choice(self._maker_of_contexts(), material)
                if shelf is not None:
                    self._renewed = Renewed(shelf, seen, self._choice, self._log)
            if boot.settings.workers.preload_app:
                with self._leftovers:
                    self._loaded = bring_in(boot.spec, boot.settings, boot.reports, self._log)
        except AppLoadError as error:
            report(boot.reports, failed=str(error), details=error.details)
            return error.exit_code
        except ServeError as error:
            report(boot.reports, failed=str(error), details="")
            return error.exit_code
        except BaseException as error:
            report(boot.reports, failed=f"the forkserver failed: {describe(error)}", details=traceback.format_exc())
            return 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        words = self._leftovers.words()
        if words:
            report(boot.reports, finding=words)
        if boot.settings.workers.tune_gc:
            tune_collector()
        self._signals = SignalPipe([signal.SIGCHLD, signal.SIGUSR1])
        report(boot.reports, imported=True)
        return self._fork_on_demand()

    def _maker_of_contexts(self) -> Callable[[Pair, Piece | None], SSLContext]:
        boot = self._boot
        settings = boot.settings

        def make(pair: Pair, authorities: Piece | None) -> SSLContext:
            return context_of(pair, authorities, settings.tls, boot.origins)

        if settings.tls.ssl_context is None or boot.failure is not None:  # what tells of a failure shall not fail too
            return make
        boot.spec.prepare()
        hook = load_hook(settings.tls.ssl_context, boot.origins["ssl_context"])
        return lambda pair, authorities: hook(settings, lambda: make(pair, authorities))

    def _fork_on_demand(self) -> int:
        """Until the arbiter asks for no more and the last worker is gone; in a worker, until that worker's end."""
        channel, lifeline = self._channel.fileno(), self._boot.lifeline
        events = poll()
        for descriptor in (channel, self._signals.descriptor, lifeline):
            events.register(descriptor, POLLIN)
        closed = False
        deadline = math.inf
        while self._workers or not closed:
            left = deadline - monotonic()
            ready = [descriptor for descriptor, _ in events.poll(None if left == math.inf else max(0.0, left * 1000))]
            if self._signals.descriptor in ready:
                if signal.SIGUSR1 in self._signals.read():
                    reopen(self._log)  # workers get it as it is when they are forked
                self._reap()
            if lifeline in ready:
                # The workers have seen it too and leave; who hangs has nobody but us to end it.
                events.unregister(lifeline)
                deadline = monotonic() + self._boot.settings.timeouts.graceful_timeout
            if monotonic() >= deadline:
                self._kill_workers()
                deadline = math.inf
            if channel in ready:
                request = receive_fork(self._channel)
                if request is None:
                    closed = True
                    events.unregister(channel)
                    self._stop_listening()
                    continue
                status = self._fork(*request)
                if self.is_worker:
                    return status
        return 0

    def _stop_listening(self) -> None:
        """When the last worker has closed them too, new clients are refused at once."""
        for descriptor, _, _ in self._boot.listeners:
            os.close(descriptor)

    def _kill_workers(self) -> None:
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)  # ours and not reaped: the number cannot be another's

    def _fork(self, slot: int, reports: int) -> int:
        """Fork a worker; returns in it too, with its exit status, at the end of its life."""
        os.set_inheritable(reports, False)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # nobody reads it any more, or the application has closed or replaced it
        try:
            pid = fork()
        except OSError as error:
            os.close(reports)
            report(self._boot.reports, unforked=slot, why=f"no process can be forked: {error.strerror}")
            return 0
        if pid:
            os.close(reports)
            self._has_forked = True
            self._workers.add(pid)
            report(self._boot.reports, forked=pid, slot=slot)
            return 0
        self.is_worker = True
        try:
            return self._become_worker(slot, reports)
        except StartError as error:
            report(reports, failed=str(error), details="")
            return error.exit_code
        except BaseException:
            self._log.critical("The worker ended by an error in the server itself", exc_info=True)
            return 1

    def _become_worker(self, slot: int, reports: int) -> int:
        boot = self._boot
        reset([signal.SIGCHLD])
        self._channel.close()
        os.close(boot.reports)
        os.close(self._signals.descriptor)
        post = Post(
            slot=slot,
            generation=boot.generation,
            is_first=not self._has_forked,
            name=boot.name,
            title=boot.title,
            settings=boot.settings,
            spec=boot.spec,
            loaded=self._loaded,
            listeners=[self._listener(*inherited) for inherited in boot.listeners],
            scoreboard=Scoreboard(*boot.scoreboard),
            log=self._log,
            reports=reports,
            lifeline=boot.lifeline,
            worker_class=self._worker_class,
            renewed=self._renewed,
        )
        return post.work()

    def _listener(self, descriptor: int, binding: Binding, redirect_port: int) -> Listener:
        scheme = "http" if redirect_port else self._boot.settings.scheme_of(binding)
        choice = self._choice if scheme == "https" else None
        tls = choice.context if choice is not None else None
        return Listener(adopt(descriptor), binding, scheme, tls, redirect_port)

    def _reap(self) -> None:
        """Tell the arbiter who has died and how.  Children of the application's import are reaped without a word."""
        for pid, status in dead_children():
            self._workers.discard(pid)
            report(self._boot.reports, exited=pid, status=status)
