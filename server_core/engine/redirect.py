"""A plain connection on which every request is told to come again by https; no application hears of it."""

from __future__ import annotations

from typing import IO

from server_core.engine.connection import Connection
from server_core.errors import ProtocolError
from server_core.gateway.environ import Request
from server_core.http.framing import Body
from server_core.http.location import https_location


class Redirecting(Connection):
    """Requests are read and judged like all others, up to their head: with the same limits and deadlines."""

    __slots__ = ()

    def _answer(self, request: Request, body: IO[bytes] | None) -> None:
        self._redirect(request)

    def _await_body(self, request: Request, body: Body, expects: bool) -> None:
        self._redirect(request)  # nobody needs the body here

    def _redirect(self, request: Request) -> None:
        """Permanently, with method and body kept (308).  Clients of HTTP/1.0 are older than that status: where nothing
        has to be kept they get 301.  The connection ends, for its client has nothing more to say on it."""
        told = request.template
        host = told.get("HTTP_HOST", "")
        if not host:  # HTTP/1.0
            self._refuse(ProtocolError(400, "no host to redirect to", "this port only redirects to https"), told)
            return
        location = https_location(host, request.target, self._site.redirect_port)
        is_old = not request.http11 and told["REQUEST_METHOD"] in ("GET", "HEAD")
        why = "plain HTTP is only redirected here (redirect_bind)"
        self._refuse(ProtocolError(301 if is_old else 308, why, location=location), told)
