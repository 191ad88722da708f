"""Lets Django's own live-server tests, and pytest, run on the server that runs in production; starts no process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Event
from typing import Any

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test.testcases import LiveServerThread, _MediaFilesHandler

from server_core.gateway.environ import Environ
from server_core.gateway.loader import Application
from server_core.testing import LiveServe


def project_application(shared: Mapping[str, Any] | None = None) -> Application:
    """The project with its static files and media, as in development.

    ``shared`` are database connections of the test, by alias, as ``django.db.connections["default"]`` is one, for
    databases in memory and for what the test has not committed; each has to be told beforehand that it is shared:
    ``connections["default"].inc_thread_sharing()``.
    """
    return _sharing(StaticFilesHandler(_MediaFilesHandler(WSGIHandler())), shared or {})


def _sharing(application: Application, shared: Mapping[str, Any]) -> Application:
    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        for alias, connection in shared.items():
            connections[alias] = connection  # connections belong to threads, and this one may be new
        return application(environ, start_response)  # type: ignore[no-any-return]

    return answer if shared else application


class _Server:
    """What LiveServerThread takes for a server of wsgiref, and calls in this order."""

    def __init__(
        self,
        address: tuple[str, int],
        handler: object,
        allow_reuse_address: bool = True,
        connections_override: Mapping[str, Any] | None = None,
    ) -> None:
        self._shared = connections_override or {}
        self._ended = Event()
        # It listens at once: until there is an application, clients wait.
        self._application: Application | None = None
        self._server = LiveServe(self._answer, bind=f"{address[0]}:{address[1]}")
        self.server_address = (self._server.host, int(self._server.port))

    def _answer(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        assert self._application is not None
        return self._application(environ, start_response)  # type: ignore[no-any-return]

    def set_app(self, application: Application) -> None:
        self._application = _sharing(application, self._shared)

    def serve_forever(self) -> None:
        self._ended.wait()

    def shutdown(self) -> None:
        self._ended.set()

    def server_close(self) -> None:
        self._server.stop()


class _Thread(LiveServerThread):
    server_class = _Server


class LiveServeMixin:
    """For Django's live-server tests: ``class Tests(LiveServeMixin, LiveServerTestCase)``, or its static sister."""

    server_thread_class = _Thread
