"""Connections whose requests are screened before the application hears of them; only where a setting asks for that."""

from __future__ import annotations

from math import inf
from typing import IO

from server_core.engine.connection import Connection
from server_core.engine.outlet import ANSWER
from server_core.engine.redirect import Redirecting
from server_core.gateway.environ import Request
from server_core.gateway.wsgi import Response


class Screened(Connection):
    """Probes are answered here.  They are not told to the access log, and count for no limit of requests."""

    __slots__ = ()

    def _answer(self, request: Request, body: IO[bytes] | None) -> None:
        told = request.template
        screen = self._engine.screen
        assert screen is not None
        if screen.asks(told["REQUEST_METHOD"], told["PATH_INFO"]):
            self._answer_probe(request)
        else:
            super()._answer(request, body)

    def _answer_probe(self, request: Request) -> None:
        """When this returns, the claim may be somebody else's already."""
        engine = self._engine
        screen = engine.screen
        assert screen is not None
        self._last_request = None  # a head whose host was not judged is no model for others
        self.state = ANSWER
        self.deadline = inf
        self.requests += 1
        keep_alive = request.keep_alive and engine.keeps_alive and self.requests < engine.most_requests
        response = Response(self, engine.server_lines, engine.log, request.head_only, request.http11, keep_alive)
        screen.answer(request.template["PATH_INFO"], self._socket, response)


class ScreenedRedirecting(Screened, Redirecting):
    """A probe that is sent to https would be content with that."""

    __slots__ = ()
