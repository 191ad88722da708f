"""A plain connection on which every request is told to come again by https; no application hears of it."""

from __future__ import annotations

from typing import IO

from server_core.engine.connection import Connection
from server_core.gateway.environ import Request
from server_core.http.framing import Body
from server_core.http.location import redirection


class Redirecting(Connection):
    """Requests are read and judged like all others, up to their head: with the same limits and deadlines."""

    __slots__ = ()

    def _answer(self, request: Request, body: IO[bytes] | None) -> None:
        self._redirect(request)

    def _await_body(self, request: Request, body: Body, expects: bool) -> None:
        self._redirect(request)  # nobody needs the body here

    def _redirect(self, request: Request) -> None:
        """The connection ends, for its client has nothing more to say on it."""
        told = request.template
        method, host = told["REQUEST_METHOD"], told.get("HTTP_HOST", "")
        self._refuse(redirection(method, request.http11, host, request.target, self._site.redirect_port), told)
