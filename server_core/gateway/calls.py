"""What a connection on an event loop and a call of the application ask of each other, whichever interface that speaks.

The rules for answers are those of ``gateway.wsgi.Response``: nothing may be said here that could not be said there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from logging import Logger
from typing import Any, Protocol

from server_core.gateway.environ import Environ
from server_core.gateway.wsgi import Response, Sink
from server_core.http.guard import Heard
from server_core.http.response import switching

#: after so many parts of an answer others have their turn, even if its client takes all of them at once
PARTS_AT_ONCE = 16


class Answer(Response):
    """A ``Response`` whose parts come as messages."""

    __slots__ = ()

    @property
    def begun(self) -> bool:
        """Has the head left?"""
        return self._head_sent

    @property
    def ended(self) -> bool:
        """Has all of it been said, or given up?"""
        return self._ended

    def begin(self) -> None:
        """Send the head, if it has been said and not been sent: the body may be a long time coming."""
        if self.status and not self._head_sent and not self._ended:
            self._sink.send_part(self._head(-1))

    def add(self, block: bytes) -> None:
        """Send a part of the body, more of which comes."""
        if block:
            too_long = 0 <= self._left < len(block) and not self._bodyless
            self._send_block(block, whole=too_long)  # which is cut off then, and the answer ends
        else:
            self.begin()

    def give_up(self) -> None:
        """Nothing more is said: the server has answered in its place."""
        self._ended = True

    def is_last(self) -> None:
        """No request follows on this connection; before the head has left."""
        self._keep_alive = False

    @property
    def left(self) -> int:
        """How many bytes of the body are still to come, as its Content-Length states; -1 when that is not stated."""
        return self._left

    def switch(self, protocol: str, headers: list[tuple[str, str]]) -> None:
        """Send 101: from here on the connection speaks ``protocol``.  Raises as ``start_response`` does."""
        lines = switching(protocol, headers)
        said = {name.lower() for name, _ in headers}
        date = b"" if "date" in said else self._server_lines.date
        server = b"" if "server" in said else self._server_lines.server
        self.status, self.headers = "101 Switching Protocols", headers
        self._head_sent = self._ended = True
        self._sink.send_part(b"".join((lines, date, server, b"\r\n")))


class Line(Sink, Protocol):
    """The connection that a call is answered on."""

    congested: bool  # does the client not take what was sent?

    async def cleared(self) -> None:
        """Wait until it does, or is gone."""

    def continues(self) -> None:
        """The application waits for the body."""

    def received(self) -> None:
        """The application has taken what there was of it."""

    def begins(self, call: Call) -> None:
        """The application has said status and headers."""

    def ends(self, call: Call) -> None:
        """The answer is over, and nothing more comes of it."""

    def leaves(self, call: Call) -> None:
        """The application has returned."""


class Call(Protocol):
    """One request that the application answers; pieces of its body come by ``feed``."""

    answer: Answer  # what has been said so far
    environ: Environ  # the request's, for the log
    size: int  # of the pieces that the application has not taken, in bytes
    task: asyncio.Task[None] | None

    def run(self) -> Coroutine[Any, Any, None]:
        """From the beginning of the application to its end; whatever it raises is logged and answered."""

    def feed(self, pieces: list[bytes], more: bool) -> None:
        """These bytes of the body have come."""

    def hang_up(self, gone: bool) -> None:
        """The client says nothing more; it is ``gone``, or may still listen."""

    def give_up(self) -> None:
        """Nothing that the application may still say counts: nobody is there, or the server has answered for it."""


class Interface(Protocol):
    """How an application is called.  What it makes of a head serves for all requests that repeat it."""

    def know(
        self, heard: Heard, client: tuple[str, int] | None, server: tuple[str, int | None] | None, scheme: str
    ) -> Any:
        """What all requests with this head have in common; ``aim`` adds what they ask for."""

    def aim(self, known: Any, heard: Heard) -> None:
        """Put path and query into it."""

    def call(
        self, line: Any, known: Any, environ: Environ, named: str, answer: Answer, log: Logger, more: bool
    ) -> Call:
        """A call for one request; ``line`` is the connection.

        ``named`` says in messages which request it is, ``more`` that its body is not whole yet.
        """

    def forget(self, line: Any) -> None:
        """The connection is closed, or speaks another protocol."""


class Upgrades(Protocol):
    """What becomes of connections that are not about HTTP any more."""

    def __bool__(self) -> bool:
        """Is a client that asks for a websocket one of ``open``'s, or of the application's like any other?"""

    @property
    def connections(self) -> set[Any]:
        """Those that the service does not know."""

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """In which the application runs, and which are waited for."""

    def open(self, service: Any, connection: Any, heard: Heard, known: Any, environ: Environ) -> None:
        """A client asks for a websocket."""

    def look(self, now: float) -> None:
        """Once in a while: meet the deadlines of ``connections``."""

    def shut_down(self) -> None:
        """Close all: the server is restarted."""
