"""Connections whose requests are screened before the application hears of them: probes, and what goes to https."""

from __future__ import annotations

from server_core.asgi.connection import Connection
from server_core.asgi.outlet import ANSWER, REST
from server_core.gateway.wsgi import Response
from server_core.http.guard import Heard
from server_core.http.location import redirection


class Screened(Connection):
    """Probes are not told to the access log, and count for no limit of requests."""

    __slots__ = ()

    screens = True

    def _is_answered(self, heard: Heard) -> bool:
        assert self._request is not None
        screen = self._service.screen
        path = self._request.template["PATH_INFO"]
        if screen is not None and screen.asks(heard.method, path):
            self._answer_probe(path)
            return True
        if self._site.redirect_port:
            host = heard.fields.get("HTTP_HOST", "")
            raise redirection(heard.method, heard.minor > 0, host, heard.target, self._site.redirect_port)
        return False

    def _answer_probe(self, path: str) -> None:
        service, request = self._service, self._request
        assert request is not None
        assert service.screen is not None
        self.state = ANSWER
        self.requests += 1
        self._counted = False
        keep_alive = request.keep_alive and service.keeps_alive and self.requests < service.most_requests
        response = Response(self, service.server_lines, service.log, request.head_only, request.http11, keep_alive)
        service.screen.answer(path, self.socket, response)
        if self.state == REST and self._guard.held:  # it came with a body
            self._drop_body(b"")
