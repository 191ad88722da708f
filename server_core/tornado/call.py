"""One request as tornado's interface has it: how the application is told of it, and what becomes of what it says.

The source is the documentation of ``tornado.httputil``: HTTPServerConnectionDelegate, HTTPMessageDelegate and
HTTPConnection.  What ``tornado.web`` asks of a connection besides them is here as well: ``set_close_callback``,
``detach``, ``context``, ``stream``.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from logging import Logger
from types import FrameType
from typing import TYPE_CHECKING, Any

import tornado
from tornado import httputil
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from server_core.asgi.outlet import CLOSED
from server_core.errors import ProtocolError
from server_core.gateway.calls import PARTS_AT_ONCE, Answer
from server_core.gateway.environ import Environ
from server_core.gateway.loader import describe
from server_core.gateway.mount import inside
from server_core.http.guard import Heard
from server_core.tornado.stream import Streams

if TYPE_CHECKING:
    from server_core.asgi.connection import Connection

#: what every handler says unless it is told otherwise: nobody has chosen it, and server_header decides
_SERVER = ("Server", f"TornadoServer/{tornado.version}")
#: the remote address where there is none, as tornado has it
_NOBODY = "0.0.0.0"

#: so many calls lie between a handler's ``send_error`` and ours, with room for a class's own ``finish``
FRAMES = 5

#: the request that the code which runs belongs to
_running: contextvars.ContextVar[Call] = contextvars.ContextVar("prefork_serve_tornado_call")


class Context:
    """Where a request came from; ``HTTPServerRequest`` takes it from here."""

    __slots__ = ("address", "protocol", "remote_ip")

    def __init__(self, address: tuple[str, int] | None, protocol: str) -> None:
        self.address = address
        self.protocol = protocol
        self.remote_ip = address[0] if address else _NOBODY

    def __str__(self) -> str:
        return self.remote_ip


class Known:
    """What all requests with one head have in common."""

    __slots__ = ("context", "headers", "length", "may_switch", "method", "start_line", "version")

    def __init__(self, heard: Heard, context: Context) -> None:
        """Raises HTTPInputError for what tornado would not have accepted."""
        self.context = context
        self.length = heard.length
        self.method = heard.method
        self.version = f"HTTP/1.{1 if heard.minor else 0}"
        self.start_line = httputil.RequestStartLine(heard.method, heard.target, self.version)
        self.headers = httputil.HTTPHeaders()
        for name, value in heard.headers():
            if heard.minor or name != b"upgrade":  # RFC 9110, 7.8: ignored in HTTP/1.0
                self.headers.add(name.decode("ascii"), value.decode("latin-1"))
        self.may_switch = "Upgrade" in self.headers


class Tornado:
    """An application's ``Interface``; ``script_name`` is the path that it is mounted on, which it does not see."""

    def __init__(self, application: httputil.HTTPServerConnectionDelegate, script_name: str, streams: Streams) -> None:
        self.application = application
        self.streams = streams
        self._script_name = script_name
        self._seen: set[Any] = set()
        # Nearly no application wants to hear of connections.
        self._listens = type(application).on_close is not httputil.HTTPServerConnectionDelegate.on_close

    def know(
        self, heard: Heard, client: tuple[str, int] | None, server: tuple[str, int | None] | None, scheme: str
    ) -> Known:
        """Raises ProtocolError 400 for a head that tornado would not have accepted."""
        try:
            return Known(heard, Context(client, scheme))
        except httputil.HTTPInputError as error:
            raise ProtocolError(400, f"tornado: {error}")

    def aim(self, known: Known, heard: Heard) -> None:
        """Put path and query into it."""
        path = inside(heard.path, self._script_name) or ("/" if heard.path else heard.target)
        uri = f"{path}?{heard.query}" if heard.query else path
        known.start_line = httputil.RequestStartLine(known.method, uri, known.version)

    def call(
        self, line: Connection, known: Known, environ: Environ, named: str, answer: Answer, log: Logger, more: bool
    ) -> Call:
        """A call with headers of its own."""
        if self._listens:
            self._seen.add(line)
        return Call(self, line, known, environ, named, answer, log, more)

    def forget(self, line: Connection) -> None:
        """Tell the application, if it has seen the connection."""
        if line in self._seen:
            self._seen.discard(line)
            self.application.on_close(line)


class Stillness:
    """What an application may ask of a connection's stream that it has not taken over."""

    def __init__(self, call: Call, line: Connection) -> None:
        self._call = call
        self._line = line

    def closed(self) -> bool:
        """Is nobody there to answer?"""
        return self._call.gone

    @property
    def socket(self) -> Any:
        """The connection's, or what knows the client's certificate."""
        return self._line.transport.get_extra_info("ssl_object") or self._line.socket

    def set_nodelay(self, value: bool) -> None:
        """It never delays."""


class Call(httputil.HTTPConnection):
    """One request, and the connection that it is answered on."""

    def __init__(
        self,
        interface: Tornado,
        line: Connection,
        known: Known,
        environ: Environ,
        named: str,
        answer: Answer,
        log: Logger,
        more: bool,
    ) -> None:
        """``environ`` is that of the request, for the log; ``named`` says in messages which one it was."""
        self._interface = interface
        self._line = line
        self._may_switch = known.may_switch
        self._start_line = known.start_line
        self._length = max(known.length, 0)
        self._named = named
        self._log = log
        self._headers = known.headers.copy()
        self._delegate: httputil.HTTPMessageDelegate | None = None
        self._close_callback: Callable[[], None] | None = None
        self._handler: object = None
        self._context: contextvars.Context | None = None
        self._event: asyncio.Event | None = None
        self._pieces: list[bytes] = []
        self._came = 0
        self._parts = 0  # of the answer
        self._most = 0  # bytes of body, as the application will have it
        self._ended = False  # it has been told to the log
        self._is_read = False  # the application has been told of all of the request
        self._silent = False  # the client says nothing more
        self._was_told = False  # that, to the application
        self._is_taken = False  # by the application
        self.answer = answer
        self.environ = environ
        self.context = known.context
        self.gone = False  # nobody is there to answer
        self.more = more
        self.no_keep_alive = False  # the application may change that
        self.size = 0
        self.task: asyncio.Task[None] | None = None

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
        self.gone = self.gone or gone
        if self.gone or self._is_read:
            self._tell_soon(self._delegate)
        self._wake()

    def give_up(self) -> None:
        """Nothing that the application may still say counts: nobody is there, or the server has answered for it."""
        self._end()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    # -- what the server calls

    async def run(self) -> None:
        """Tell the application of the request; it answers whenever it likes.  What it raises here is answered."""
        _running.set(self)
        self._context = contextvars.copy_context()
        try:
            if not self._ended:
                await self._tell()
        except (httputil.HTTPInputError, ProtocolError) as error:
            if not (self._ended or self.answer.ended):
                refused = error if isinstance(error, ProtocolError) else ProtocolError(400, f"tornado: {error}")
                self._line.refuse_body(refused)
        except BaseException as error:
            if self.gone:
                self._log.debug("At %s, after the client had gone: %s", self._named, describe(error))
            else:
                self._log.exception("Error in the application at %s", self._named)
                self._fail()
        self._line.leaves(self)

    async def _tell(self) -> None:
        delegate = self._interface.application.start_request(self._line, self)
        waits = delegate.headers_received(self._start_line, self._headers)
        self._delegate = delegate
        await _done(waits)
        self._measure(self._length)
        while not self._is_over:
            if self._pieces:
                body = b"".join(self._pieces)
                self._pieces.clear()
                self.size = 0
                self._came += len(body)
                self._measure(self._came)
                self._line.received()
                await _done(delegate.data_received(body))
            elif self.more:
                await self._more_comes()
            else:
                self._is_read = True
                delegate.finish()
                break
        if (self._silent or not self._is_read) and not self._is_taken:
            self._tell_soon(delegate)

    async def _more_comes(self) -> None:
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        self._line.continues()
        await self._event.wait()

    def _measure(self, size: int) -> None:
        if self._most and size > self._most:
            raise ProtocolError(413, "a body that is larger than the application will have it (set_max_body_size)")

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            # All these know the request, and through it this call.
            self._delegate = self._handler = self._close_callback = self._context = None
            self._line.ends(self)
            self._wake()

    def _tell_soon(self, delegate: httputil.HTTPMessageDelegate | None) -> None:
        """Tell the application that the client says nothing more, but not before what it is doing now."""
        if delegate is not None and not self._was_told:
            self._was_told = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._tell_end, delegate, self._close_callback, context=self._context)

    def _tell_end(self, delegate: httputil.HTTPMessageDelegate, callback: Callable[[], None] | None) -> None:
        try:
            if not self._is_read:
                delegate.on_connection_close()
            elif callback is not None and not self.answer.ended:
                callback()
        except Exception:
            self._log.exception("Error in the application at %s, told that its client is gone", self._named)

    # -- what the application calls

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Take status and headers, and the first part of the body.  Raises for what must not be said: then it is 500.

        The future is done when the client takes what it was sent.
        """
        if self._is_over:
            return _closed()
        assert isinstance(start_line, httputil.ResponseStartLine)
        said = [header for header in headers.get_all() if header != _SERVER]
        try:
            if start_line.code == 101:
                self._switch(said)
                return self._flow()
            self.answer.start_response(f"{start_line.code} {start_line.reason}", said)
            if self.no_keep_alive:
                self.answer.is_last()
            self._line.begins(self)
            body = bytes(chunk or b"")
            if self.answer.left == len(body):
                self.answer.send([body])
            elif body:
                self.answer.add(body)
        except (TypeError, ValueError, RuntimeError):
            self._fail()
            raise
        self._look_whether_ended()
        return self._flow()

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Take a part of the body; the future is that of ``write_headers``."""
        if self._is_over:
            return _closed()
        if not self.answer.status:
            raise RuntimeError("write was called before write_headers")
        if chunk:
            self.answer.add(bytes(chunk))
            self._look_whether_ended()
        return self._flow()

    def finish(self) -> None:
        """All has been said."""
        if _running.get(None) is self:
            self._watch_task()
        if self._is_over:
            return
        if not self.answer.status:
            raise RuntimeError("finish was called before write_headers")
        if _has_failed():
            self._fail()
            return
        self.answer.send(())
        self._look_whether_ended()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call when the client is gone, or says nothing more, before the answer is complete."""
        self._close_callback = callback
        # A handler says here whose connection this is, and nowhere else.
        self._handler = getattr(callback, "__self__", None) or self._handler

    def set_max_body_size(self, max_body_size: int) -> None:
        """So many bytes of body, and no more, as far as limit_request_body allows them."""
        self._most = max_body_size

    def set_body_timeout(self, timeout: float) -> None:
        """body_timeout and min_data_rate say how long a body may take."""

    @property
    def stream(self) -> Stillness:
        """What may be asked of the connection's stream."""
        return Stillness(self, self._line)

    def detach(self) -> IOStream:
        """Take the connection over: from now on nothing is known of it here but its end.

        Raises RuntimeError when there is more to read of the request, or of the answer to send.
        """
        if self._ended:  # the client is gone
            closed = IOStream(socket.socket())
            closed.close()
            return closed
        if self.more or self._pieces:
            raise RuntimeError("detach was called before the body of the request had come")
        if self.answer.begun and self.answer.status[:3] != "101":
            raise RuntimeError("detach was called after the answer had begun")
        self._is_taken = True
        return self._interface.streams.take(self._line, self._handler, self._end)

    # -- how it is done

    @property
    def _is_over(self) -> bool:
        return self._ended or self.answer.ended or self._is_taken

    def fail(self) -> None:
        """The application has failed, and tornado does not answer."""
        if not self._is_over:
            self._fail()

    def _fail(self) -> None:
        self.answer.fail(self.environ.get("HTTP_ACCEPT", ""))
        self._end()

    def _switch(self, said: list[tuple[str, str]]) -> None:
        if not self._may_switch:
            raise RuntimeError("101 is no answer to a client that did not ask for another protocol")
        protocol = next((value for name, value in said if name.lower() == "upgrade"), "")
        self.answer.switch(protocol, [header for header in said if header[0].lower() != "upgrade"])

    def _look_whether_ended(self) -> None:
        if self.answer.ended:
            self._end()

    def _watch_task(self) -> None:
        """A handler may go on after its answer, and is waited for."""
        task = asyncio.current_task()
        tasks = self._interface.streams.tasks
        if task is not None and task is not self.task and task not in tasks:
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def _flow(self) -> asyncio.Future[None]:
        self._parts += 1
        if self._line.congested or not self._parts % PARTS_AT_ONCE:
            future: asyncio.Future[None] = asyncio.ensure_future(self._cleared())
            future.add_done_callback(_look_at)
        else:
            future = asyncio.get_running_loop().create_future()
            future.set_result(None)
        return future

    async def _cleared(self) -> None:
        await self._line.cleared()
        if self.gone or self._line.state == CLOSED:
            raise StreamClosedError()


def fail_for(error: BaseException) -> None:
    """Answer 500 for the handler that ``error`` comes from, if it is one of those that tornado does not answer."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is RequestHandler._execute.__code__:
            call = frame.f_locals["self"].request.connection
            if isinstance(call, Call):
                call.fail()


def _has_failed() -> bool:
    """Does a handler end its answer because it has failed after it had begun?

    tornado ends it then as if it were whole, which it is not; nothing but who calls tells that it does so.
    """
    frame: FrameType | None = sys._getframe(2)
    for _ in range(FRAMES):
        if frame is None or frame.f_code.co_name == "write_error":  # that is a page of its own
            return False
        if frame.f_code is RequestHandler.send_error.__code__:
            return True
        frame = frame.f_back
    return False


def _closed() -> asyncio.Future[None]:
    """Of what nobody will get; whoever does not ask for it has made no error."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(StreamClosedError())
    _look_at(future)
    return future


def _look_at(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


async def _done(result: Awaitable[None] | None) -> None:
    if result is not None:
        await result
