"""Calls an ASGI 3 application for one request and puts its answer together; knows nothing of sockets and loops' ways.

The rules for answers are those of ``gateway.wsgi.Response``: nothing may be said here that could not be said there.
The source is the ASGI specification, "HTTP & WebSocket ASGI Message Format", 2.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from logging import Logger
from typing import Any
from urllib.parse import unquote

from server_core.gateway.calls import PARTS_AT_ONCE, Answer, Line
from server_core.gateway.environ import Environ
from server_core.gateway.loader import describe
from server_core.http.guard import Heard

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[object]]

#: of the messages that we exchange about requests
SPEC_VERSION = "2.3"

#: so many messages to a client that is gone mean nothing, as 2.3 has it; to whoever goes on, as 2.4 has it, an error:
#: else a stream without end would go on for ever
MOST_TO_NOBODY = 1000

_PHRASES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

#: the last status and headers that an application said, and the same as text
_said: tuple[int, list[Any], str, list[tuple[str, str]]] = (0, [], "", [])


def path_of(path: str, root_path: str) -> tuple[str, bytes]:
    """``path`` and ``raw_path`` of a scope: both begin with ``root_path``, whether the request's did or not."""
    if root_path and path != root_path and not path.startswith(root_path + "/"):
        path = root_path + path
    return (unquote(path) if "%" in path else path), path.encode("ascii")


class ASGI:
    """An application's ``Interface``.

    ``state`` is what its lifespan has put there for requests; ``root_path`` is the path that it is mounted on.
    """

    def __init__(self, application: ASGIApplication, root_path: str = "", state: dict[str, Any] | None = None) -> None:
        self.application = application
        self.root_path = root_path
        self.state: dict[str, Any] = state if state is not None else {}

    def know(
        self, heard: Heard, client: tuple[str, int] | None, server: tuple[str, int | None] | None, scheme: str
    ) -> Scope:
        """The scope, but for what ``aim`` and ``call`` put there."""
        return {
            "type": "http",
            "http_version": "1.1" if heard.minor else "1.0",
            "server": server,
            "client": client,
            "scheme": scheme,
            "method": heard.method,
            "root_path": self.root_path,
            "headers": heard.headers(),
        }

    def aim(self, known: Scope, heard: Heard) -> None:
        """Put path and query into a scope."""
        known["path"], known["raw_path"] = path_of(heard.path, self.root_path)
        known["query_string"] = heard.query.encode("ascii")

    def call(
        self, line: Line, known: Scope, environ: Environ, named: str, answer: Answer, log: Logger, more: bool
    ) -> Call:
        """A call with a scope of its own."""
        scope = {
            **known,
            "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
            "headers": known["headers"].copy(),
            "state": self.state.copy(),
            "extensions": {"http.response.early_hint": {}},
        }
        return Call(self.application, line, scope, environ, named, answer, log, more)

    def forget(self, line: Line) -> None:
        """Nothing is known of connections."""


class Call:
    """One call of an application: its ``receive`` and ``send``; ``answer`` is what it has said so far.

    ``more`` says that the body is not whole yet; pieces of it come by ``feed``.
    """

    __slots__ = tuple(
        (
            "_application _ended _event _line _log _named _parts _pieces _silent _told _was_told accept answer environ "
            "gone more scope size task"
        ).split()
    )

    def __init__(
        self,
        application: ASGIApplication,
        line: Line,
        scope: Scope,
        environ: Environ,
        named: str,
        answer: Answer,
        log: Logger,
        more: bool,
    ) -> None:
        """``environ`` is that of the request, for the log; ``named`` says in messages which one it was."""
        self._application = application
        self._line = line
        self._log = log
        self._named = named
        self._event: asyncio.Event | None = None
        self._pieces: list[bytes] = []
        self._told = False  # the end of the body
        self._ended = False
        self._parts = 0  # of the answer; and those that came after its client had gone
        self.answer = answer
        self.environ = environ
        self.accept: str = environ.get("HTTP_ACCEPT", "")
        self.gone = False  # nobody is there to answer
        self._silent = False  # the client has said all that it ever will
        self._was_told = False  # that, to the application
        self.more = more
        self.scope = scope
        self.task: asyncio.Task[None] | None = None
        self.size = 0  # of the pieces that the application has not taken, in bytes

    # -- what the connection says

    def feed(self, pieces: list[bytes], more: bool) -> None:
        """These bytes of the body have come."""
        self._pieces += pieces
        self.size += sum(map(len, pieces))
        self.more = more
        self._wake()

    def hang_up(self, gone: bool) -> None:
        """The client says nothing more; it is ``gone``, or may still listen."""
        self._silent = True
        if gone and not self.gone:
            self.gone = True
            self._parts = 0
        self._wake()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    # -- what the server calls

    async def run(self) -> None:
        """From the beginning of the application to its end; whatever it raises is logged and answered."""
        answer = self.answer
        try:
            result = await self._application(self.scope, self.receive, self.send)
            if not (answer.ended or self._was_told or self.gone):
                raise RuntimeError("the application returned before its answer was complete")
            if result is not None:
                self._log.error("The application at %s returned %r: it should return None", self._named, result)
        except BaseException as error:
            if self._was_told or self.gone:
                self._log.debug("At %s, after the client had gone: %s", self._named, describe(error))
            else:
                self._log.exception("Error in the application at %s", self._named)
                answer.fail(self.accept)
        if not (answer.ended or self._ended):  # it has heard that the client is gone, and gives up
            self._line.cut()
        self._end()
        self._line.leaves(self)

    def give_up(self) -> None:
        """Nothing that the application may still say counts: nobody is there, or the server has answered for it."""
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._line.ends(self)

    # -- what the application calls

    async def receive(self) -> Message:
        """The next message about the request."""
        while True:
            if self._ended:  # the connection may be about the next request already
                return {"type": "http.disconnect"}
            if self._pieces or not (self.more or self._told):
                body = b"".join(self._pieces)
                self._pieces.clear()
                self.size = 0
                self._told = not self.more
                if body:
                    self._line.received()
                return {"type": "http.request", "body": body, "more_body": self.more}
            if self._silent:
                self._was_told = True
                return {"type": "http.disconnect"}
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            if self.more:
                self._line.continues()
            await self._event.wait()

    async def send(self, message: Message) -> None:
        """Take what the application says.  Raises for what must not be said, so that the error is near."""
        if self._line.congested:
            await self._line.cleared()
        if self.gone:  # and the application may not have heard of it, nor ever wait for anything else
            self._parts += 1
            if self._parts > MOST_TO_NOBODY:
                raise OSError("the client is gone")
            await asyncio.sleep(0)
            return
        kind = message["type"]
        if self._ended:
            raise RuntimeError(f"{kind!r} was sent after the answer was complete")
        if kind == "http.response.body":
            self._send_body(message)
            if not self._ended:
                self._parts += 1
                if not self._parts % PARTS_AT_ONCE:
                    await asyncio.sleep(0)
        elif kind == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
        elif kind == "http.response.early_hint":
            self.answer([("Link", _text(link)) for link in message["links"]])
        else:
            raise RuntimeError(f"{kind!r} is no message that answers a request")

    def _start(self, status: int, headers: Any) -> None:
        global _said
        if type(headers) is not list:
            headers = list(headers)
        if status != _said[0] or headers != _said[1]:
            text = _PHRASES.get(status) or f"{status:d}"
            words = [(_text(name), _text(value)) for name, value in headers]
            # What cannot change: each header may be a list, which the application keeps and changes.
            _said = (status, [(bytes(name), bytes(value)) for name, value in headers], text, words)
        if self.answer.status:
            raise RuntimeError("'http.response.start' was sent twice")
        self.answer.start_response(_said[2], _said[3])
        self._line.begins(self)

    def _send_body(self, message: Message) -> None:
        answer = self.answer
        if not answer.status:
            raise RuntimeError("'http.response.body' was sent before 'http.response.start'")
        body = message.get("body", b"")
        if type(body) is not bytes:
            body = bytes(memoryview(body))
        if message.get("more_body", False):
            answer.add(body)
        else:
            answer.send([body])
        if answer.ended:  # also when there is more than its Content-Length has room for
            self._end()
            self._wake()


def _text(value: Any) -> str:
    if not isinstance(value, (bytes, bytearray)):
        raise TypeError(f"a header is two bytes, not {type(value).__name__}")
    return value.decode("latin-1")
