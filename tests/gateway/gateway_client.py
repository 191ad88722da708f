"""Asks an application through the gateway, with a sink that only writes down what it is told to send."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from server_core.gateway.environ import Request, base_environ
from server_core.gateway.wsgi import ClientGone, Response, ServerLines, respond

Event = tuple[Any, ...]
Application = Callable[..., Any]


@dataclass
class RecordingSink:
    """Keeps what is sent, call by call: ("part", data), ("hints", data), ("file", data), ("last", data, keep_alive),
    ("cut",).

    With ``patience`` calls the client is gone: each further one raises ClientGone.
    """

    patience: int = 10**9
    events: list[Event] = field(default_factory=list)

    def _note(self, *event: Any) -> None:
        if len(self.events) >= self.patience:
            raise ClientGone("the client has closed the connection")
        assert not self.ended, "something was sent behind the end"
        self.events.append(event)

    def send_part(self, data: bytes) -> None:
        assert type(data) is bytes
        self._note("part", data)

    def send_hints(self, data: bytes) -> None:
        self._note("hints", data)

    def send_file(self, descriptor: int, offset: int, count: int) -> None:
        data = os.pread(descriptor, count, offset)
        os.close(descriptor)
        self._note("file", data)

    def send_last(self, data: bytes, keep_alive: bool) -> None:
        assert type(data) is bytes
        self._note("last", data, keep_alive)

    def send_large(self, head: bytes, body: bytes, keep_alive: bool) -> None:
        assert head.endswith(b"\r\n\r\n")
        self.send_last(head + body, keep_alive)

    def cut(self) -> None:
        self._note("cut")

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1][0] in ("last", "cut")

    @property
    def sent(self) -> bytes:
        return b"".join(event[1] for event in self.events if event[0] != "cut")


class Collector(logging.Handler):
    """Keeps log records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@dataclass
class Told:
    """What came of a request: the answer as it went out, and the log."""

    sink: RecordingSink
    response: Response
    records: list[logging.LogRecord]

    @property
    def events(self) -> list[Event]:
        return self.sink.events

    @property
    def status(self) -> str:
        return self.sink.sent.partition(b"\r\n")[0].decode("latin-1").removeprefix("HTTP/1.1 ")

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.sink.sent.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]

    def values(self, name: str) -> list[str]:
        """All values of one header."""
        return [value for each, value in self.headers if each.lower() == name.lower()]

    @property
    def body(self) -> bytes:
        """What follows the head, as it went out."""
        return self.sink.sent.partition(b"\r\n\r\n")[2]

    @property
    def keeps_alive(self) -> bool:
        assert self.events[-1][0] == "last", "the answer did not end well"
        return bool(self.events[-1][2])

    @property
    def was_cut(self) -> bool:
        return self.events[-1] == ("cut",)

    @property
    def log(self) -> str:
        formatter = logging.Formatter()
        return "\n".join(formatter.format(record) for record in self.records)


def server_lines() -> ServerLines:
    """Lines of a server that is called "house"."""
    lines = ServerLines(b"house")
    lines.tick("Sun, 06 Nov 1994 08:49:37 GMT")
    return lines


BASE = base_environ("house.example", "8000", "house/1", multithread=False, multiprocess=True, errors=io.StringIO())


def request(
    method: str = "GET",
    target: str = "/",
    minor: int = 1,
    address: str = "192.0.2.7",
    port: str = "4711",
    scheme: str = "",
    **fields: str,
) -> Request:
    """A request to this house."""
    made = Request(BASE, {"HTTP_HOST": "house.example", **fields}, method, minor, True, address, port, scheme)
    path, _, query = target.partition("?")
    made.aim(target, path, query)
    return made


def environ(*words: Any, body: IO[bytes] | None = None, **options: Any) -> dict[str, Any]:
    """The environ of a request, as the application gets it."""
    made = request(*words, **options).template.copy()
    made["wsgi.input"] = body or io.BytesIO()
    return made


def ask(
    application: Application,
    method: str = "GET",
    target: str = "/",
    *,
    minor: int = 1,
    keep_alive: bool = True,
    sink: RecordingSink | None = None,
    body: IO[bytes] | None = None,
    **options: Any,
) -> Told:
    """One request."""
    sink = sink or RecordingSink()
    log = logging.Logger("gateway")
    collector = Collector()
    log.addHandler(collector)
    response = Response(sink, server_lines(), log, method == "HEAD", bool(minor), keep_alive)
    asked = request(method, target, minor, **options)
    own = {"wsgi.input": body or io.BytesIO(), "wsgi.early_hints": response}
    respond(application, asked, asked.template | own, response, log)
    return Told(sink, response, collector.records)
