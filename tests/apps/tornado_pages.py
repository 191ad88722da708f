"""A tornado application with a page for each promise of the worker class tornado; its tests are in live_tornado.

A handler is called by its name in small letters: /nap/0.5.  Any other path says hello.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tornado import httputil
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

BLOCK = bytes(range(256)) * 256

seen: ContextVar[str] = ContextVar("seen", default="nothing")
#: those who wait for news
waiting: set[asyncio.Future[str]] = set()


async def appears(path: str) -> None:
    while not os.path.exists(path):
        await asyncio.sleep(0.01)


class Page(RequestHandler):
    """A page; the text after its name is ``argument``."""

    SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS, "PURGE")

    def prepare(self) -> None:
        self.set_header("Content-Type", "text/plain")

    @property
    def path(self) -> str:
        """The file that the test names."""
        return self.get_query_argument("path")

    async def get(self, argument: str = "") -> None:
        await self.page(argument)

    head = post = options = purge = get

    async def page(self, argument: str) -> None:
        raise NotImplementedError


class Hello(Page):
    def compute_etag(self) -> None:
        return None

    async def page(self, argument: str) -> None:
        self.write(f"hello {self.request.method} {self.request.path}")


class Told(Page):
    """What the request was understood to be."""

    async def page(self, argument: str) -> None:
        request = self.request
        self.write(
            {
                "method": request.method,
                "uri": request.uri,
                "path": request.path,
                "query": request.query,
                "version": request.version,
                "headers": sorted(request.headers.get_all()),
                "remote_ip": request.remote_ip,
                "protocol": request.protocol,
                "host": request.host,
                "arguments": {name: self.get_query_arguments(name) for name in request.query_arguments},
            }
        )
        request.headers["X-Spoilt"] = "by the application"


class Echo(Page):
    async def page(self, argument: str) -> None:
        self.write(self.request.body)


class Stream(Page):
    """So many blocks without a length; ``pause`` seconds between them."""

    async def page(self, argument: str) -> None:
        for number in range(int(argument)):
            self.write(f"block {number}\n")
            try:
                await self.flush()
            except StreamClosedError:
                return
            await asyncio.sleep(float(self.get_query_argument("pause", "0")))


class Big(Page):
    """So many bytes; how many of them have been sent stands in the file ``path``."""

    async def page(self, argument: str) -> None:
        size = int(argument)
        self.set_header("Content-Length", argument)
        while size > 0 and self.request.method != "HEAD":
            block = BLOCK[:size]
            size -= len(block)
            self.write(block)
            await self.flush()
            if self.get_query_argument("path", ""):
                Path(self.path).write_text(str(int(argument) - size))


class Begun(Page):
    """Says status and headers, and nothing more until the file ``path`` is there."""

    async def page(self, argument: str) -> None:
        await self.flush()
        await appears(self.path)
        self.write("at last")


class Gate(Page):
    """Waits until the file ``path`` is there."""

    async def page(self, argument: str) -> None:
        await appears(self.path)
        self.write("through the gate")


class News(Page):
    """Waits until somebody tells the news; a long poll.  That its client is gone stands in the file ``path``."""

    async def page(self, argument: str) -> None:
        self.future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting.add(self.future)
        try:
            self.write(await self.future)
        except asyncio.CancelledError:
            if not self.request.connection.stream.closed():
                self.write("nothing")

    def on_connection_close(self) -> None:
        if self.get_query_argument("path", ""):
            Path(self.path).write_text(f"gone, closed {self.request.connection.stream.closed()}")
        waiting.discard(self.future)
        self.future.cancel()


class Waiting(Page):
    """How many wait for the news."""

    async def page(self, argument: str) -> None:
        self.write(str(len(waiting)))


class Tell(Waiting):
    """Tells the news."""

    async def page(self, argument: str) -> None:
        await super().page(argument)
        for future in waiting:
            future.set_result(argument)
        waiting.clear()


class Afterwards(Page):
    """Goes on after its answer until the file ``path`` is there, then leaves another."""

    async def page(self, argument: str) -> None:
        self.finish("more is done")
        await appears(self.path)
        Path(self.path + ".done").write_text("done")


class Variable(Page):
    """What a context variable holds; then it holds the argument."""

    async def page(self, argument: str) -> None:
        self.write(seen.get())
        seen.set(argument)


class Nap(Page):
    async def page(self, argument: str) -> None:
        await asyncio.sleep(float(argument))
        self.write("slept")


class Fail(Page):
    async def page(self, argument: str) -> None:
        raise RuntimeError("this page always fails")


class Refused(Page):
    async def page(self, argument: str) -> None:
        raise HTTPError(int(argument), reason=self.get_query_argument("reason", None))


class Late(Page):
    async def page(self, argument: str) -> None:
        self.write("so far so good")
        await self.flush()
        raise RuntimeError("this page always fails too late")


class Flushed(Page):
    """Fails when its head has been said, but has not left."""

    async def page(self, argument: str) -> None:
        self.flush()
        raise RuntimeError("this page always fails a little late")


class ErrorStream(Page):
    """Has an error page of its own, in two parts."""

    async def page(self, argument: str) -> None:
        raise HTTPError(503)

    def write_error(self, status_code: int, **more: Any) -> None:
        self.write("we are ")
        self.flush()
        self.finish("sorry")


class Last(Page):
    """Is the last answer of its connection."""

    async def page(self, argument: str) -> None:
        self.request.connection.no_keep_alive = True
        self.write("goodbye")


class Length(Page):
    """States a length, and says six bytes in two parts."""

    async def page(self, argument: str) -> None:
        self.set_header("Content-Length", argument)
        for part in ("abc", "def"):
            self.write(part)
            await self.flush()


class Header(Page):
    """Says a header, as it is in the query, past what tornado checks."""

    async def page(self, argument: str) -> None:
        name, value = (self.get_query_argument(key, strip=False) for key in ("name", "value"))
        headers = httputil.HTTPHeaders({"Content-Length": "0"})
        headers.get_all = lambda: [("Content-Length", "0"), (name, value)]  # type: ignore[method-assign]
        self._headers = headers


class Status(Page):
    async def page(self, argument: str) -> None:
        self.set_status(int(argument))


class Pid(Page):
    async def page(self, argument: str) -> None:
        self.write(str(os.getpid()))


@stream_request_body
class Upload(Page):
    """Takes the body piece by piece: says its size, and how many pieces; ``most`` is how many bytes it wants."""

    def prepare(self) -> None:
        super().prepare()
        self.size = self.pieces = 0
        if most := self.get_query_argument("most", ""):
            self.request.connection.set_max_body_size(int(most))

    async def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.pieces += 1
        await asyncio.sleep(float(self.get_query_argument("pause", "0")))

    async def page(self, argument: str) -> None:
        self.write(f"{self.size} {self.pieces > 1}")

    post = put = page

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self.get_query_argument("path", ""):
            Path(self.path).write_text(f"gone after {self.size}")


@stream_request_body
class Early(Page):
    """Answers before it has the body."""

    def prepare(self) -> None:
        self.finish("I did not look")

    def data_received(self, chunk: bytes) -> None:
        pass


class Takes(Page):
    """Takes the connection over, and speaks a protocol of its own: says each line in capitals."""

    async def page(self, argument: str) -> None:
        stream = self.detach()
        await stream.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while line := await stream.read_until(b"\n"):
                await stream.write(line.upper())
        except StreamClosedError:
            if self.get_query_argument("path", ""):
                Path(self.path).write_text("closed")


class Reply(WebSocketHandler):
    """Says again what it hears, with the path that it was opened with in front of it.

    What it was closed with stands in the file ``path``.
    """

    def get(self, argument: str = "") -> Any:
        return super().get()

    def check_origin(self, origin: str) -> bool:
        return True

    async def open(self) -> None:
        if nap := self.get_query_argument("nap", ""):
            await asyncio.sleep(float(nap))

    async def on_message(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self.write_message(message * 100, binary=True)
        else:
            await self.write_message(f"{self.request.path} {message}")

    def on_close(self) -> None:
        if path := self.get_query_argument("path", ""):
            Path(path).write_text(str(self.close_code))


class Slow(Reply):
    """Opens after a moment."""

    async def prepare(self) -> None:
        await appears(self.get_query_argument("path"))


class Unwanted(Reply):
    def prepare(self) -> None:
        raise HTTPError(403)


class Scheme(Reply):
    async def open(self) -> None:
        await self.write_message(json.dumps([self.request.protocol, self.request.remote_ip]))


class Endless(Page):
    """Sends for ever, and waits for nothing but that it leaves."""

    async def page(self, argument: str) -> None:
        while True:
            self.write(BLOCK)
            await self.flush()


class Exits(Page):
    """Wants to end the process."""

    async def page(self, argument: str) -> None:
        raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[argument]


PAGES = [
    *(Told, Echo, Stream, Big, Begun, Gate, News, Waiting, Tell, Afterwards, Variable, Nap, Fail, Refused, Late),
    *(Flushed, Endless, Exits, ErrorStream, Last, Length, Header, Status, Pid, Upload, Early),
    *(Takes, Reply, Slow, Unwanted, Scheme),
]


def make(**settings: Any) -> Application:
    """A factory."""
    pages: list[Any] = [(rf"/{page.__name__.lower()}(?:/(.*))?", page) for page in PAGES]
    return Application([*pages, (r".*", Hello)], **settings)


app = make()


class Account(Page):
    """What was understood of a request: for the corpus, whose targets name no pages."""

    async def page(self, argument: str) -> None:
        request = self.request
        told = {
            "method": request.method,
            "path": request.path.removeprefix("*"),
            "query": request.query,
            "body": request.body.decode("latin-1"),
        }
        self.write(told)

    def __getattr__(self, name: str) -> Any:
        if name == self.request.method.lower():
            return self.get
        raise AttributeError(name)


class AnyMethod(tuple[str, ...]):
    """A collection that has everything."""

    def __contains__(self, item: object) -> bool:
        return True


Account.SUPPORTED_METHODS = AnyMethod()
account = Application([(r".*", Account)])


class Plain(httputil.HTTPServerConnectionDelegate, httputil.HTTPMessageDelegate):
    """An application of tornado without tornado.web."""

    def start_request(self, server_conn: object, request_conn: httputil.HTTPConnection) -> httputil.HTTPMessageDelegate:
        self.connection = request_conn
        return self

    def finish(self) -> None:
        start = httputil.ResponseStartLine("HTTP/1.1", 200, "OK")
        self.connection.write_headers(start, httputil.HTTPHeaders({"Content-Length": "5"}), b"plain")
        self.connection.finish()

    def on_close(self, server_conn: object) -> None:
        if notes := os.environ.get("NOTES"):
            Path(notes).write_text("closed")


class Picky(Plain):
    """It does not like what it is asked."""

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> None:
        raise httputil.HTTPInputError("I cannot read this")


plain, picky = Plain(), Picky()
