"""Serves an application inside the process of its tests, with the engine that serves it in production; forks nothing.

The tests and the application share memory, so a test can look at what a request did, and databases in memory work.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from threading import Thread
from types import TracebackType

from server_core.config.layers import COMMAND_LINE, layer_from_mapping, resolve
from server_core.engine.site import Site
from server_core.engine.threaded import ThreadedEngine
from server_core.gateway.environ import base_environ
from server_core.gateway.loader import Application
from server_core.gateway.mount import mounted
from server_core.listeners import open_listener

#: how long the last requests may take when the server stops
STOP_SECONDS = 5.0


class LiveServe:
    """A server that runs in threads of this process from the moment it is made until it is stopped.

    ``application`` is any WSGI application.  ``settings`` are the server's, by name, as in a file: ``threads=1``,
    ``limit_request_body="1MB"``; ``bind`` is a free port of 127.0.0.1, and 8 threads, unless they say otherwise.
    ``url`` is where it listens, without a slash at its end.  Raises ConfigError for a wrong setting.
    """

    def __init__(self, application: Application, **settings: object) -> None:
        given = {"bind": "127.0.0.1:0", "threads": 8, **settings}
        resolved = resolve([layer_from_mapping(COMMAND_LINE, given, "{} of live_serve".format)])
        asked = resolved.settings
        paths, threads = asked.paths, asked.workers.threads
        sockets = asked.sockets
        self._listener = open_listener(
            sockets.bind[0], resolved.origins["bind"], sockets.backlog, sockets.socket_mode, (-1, -1)
        )
        self.url = self._listener.url
        self.host, self.port = self._listener.server_name_and_port
        log = logging.getLogger("prefork_serve")
        environ = base_environ(
            self.host, self.port, "prefork-serve", multithread=threads > 1, multiprocess=False, errors=sys.stderr
        )
        self._engine = ThreadedEngine(
            threads,
            mounted(application, paths.script_name),
            [Site(self._listener.socket, environ)],
            asked.limits,
            asked.timeouts,
            asked.proxy,
            log,
            server=asked.responses.server_header,
            hosts=paths.allowed_hosts if paths.check_hosts else (),
        )
        jobs: list[Callable[[], object]] = [*[self._engine.serve] * threads, self._engine.watcher.watch]
        self._threads = [Thread(target=job, name=f"live_serve {self.port}", daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()
        self._stopped = False

    def stop(self) -> None:
        """Answer what has come, then stop listening.  A request that lasts longer than 5 seconds is left alone.

        Once is enough: who stops a server in the middle of a test leaves the fixture nothing to do.
        """
        if self._stopped:
            return
        self._stopped = True
        self._engine.drain(idle_seconds=0.0)
        if _ended(self._threads[:-1]):
            self._give_back()
        else:
            self._engine.stop()
            # Its thread will write to the engine's pipe, which must not be somebody else's file by then.
            Thread(target=self._give_back, name=f"live_serve {self.port}", daemon=True).start()
        self._listener.socket.close()
        self._listener.remove_file()

    def _give_back(self) -> None:
        """Wait for all threads, then for nothing else."""
        self._engine.stop()
        for thread in self._threads:
            thread.join()
        self._engine.join()
        self._engine.close()

    def __enter__(self) -> LiveServe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _ended(threads: Iterable[Thread]) -> bool:
    for thread in threads:
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            return False
    return True
