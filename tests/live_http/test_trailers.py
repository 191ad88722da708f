"""Knows that trailers are read and forgotten: whatever they are called, they change neither a request nor the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from live import LiveServer
from wire import Wire

CHUNKED = "Transfer-Encoding: chunked"

#: RFC 9110, 6.5.1: what must not be a trailer, because it frames, routes, authenticates, or says what the content is
FORBIDDEN = {
    "framing": b"Content-Length: 99",
    "more framing": b"Transfer-Encoding: chunked",
    "a route": b"Host: other.example",
    "who asks": b"Authorization: Basic YWxhZGRpbjpzZXNhbWU=",
    "a session": b"Cookie: session=stolen",
    "a type": b"Content-Type: text/html",
    "an expectation": b"Expect: 100-continue",
    "the end": b"Connection: close",
    "another protocol": b"Upgrade: websocket",
    "a client": b"X-Forwarded-For: 192.0.2.66",
    "a scheme": b"X-Forwarded-Proto: https",
    "any field": b"X-Anything: 1",
    "an announced field": b"X-Sum: 1",
}


@pytest.fixture(scope="module")
def trusting(serve_for_all: Callable[..., LiveServer], options: list[str]) -> LiveServer:
    """A server that believes its clients what they say of clients, in fields."""
    return serve_for_all("contract:app", *options, "--forwarded-allow-ips", "127.0.0.1")


@pytest.fixture
def wire(trusting: LiveServer) -> Iterator[Wire]:
    """A connection to it."""
    with Wire(trusting) as wire:
        yield wire


def told(wire: Wire, trailers: bytes) -> dict[str, str]:
    """The environ of a request that ends so."""
    wire.get("/told", CHUNKED, "Trailer: X-Sum", method="POST").send(b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n")
    reply = wire.reply()
    assert reply.status == 200
    assert "connection" not in reply.headers
    environ: dict[str, str] = json.loads(reply.body)
    return environ


def test_the_application_sees_none_of_them(wire: Wire):
    without = told(wire, b"")
    assert without["HTTP_TRAILER"] == "X-Sum"
    for kind, trailer in FORBIDDEN.items():
        assert (kind, told(wire, trailer + b"\r\n")) == (kind, without)
    assert told(wire, b"".join(trailer + b"\r\n" for trailer in FORBIDDEN.values())) == without


def test_the_next_request_is_what_it_is_without_them(wire: Wire):
    """Also when it follows at once, and repeats its head."""
    alone = json.loads(wire.get("/told").reply().body)
    for trailer in FORBIDDEN.values():
        wire.get("/", CHUNKED, method="POST").send(b"0\r\n" + trailer + b"\r\n\r\n").get("/told")
        assert wire.reply().text == "hello POST /"
        assert json.loads(wire.reply().body) == alone


@pytest.mark.parametrize(
    ("trailers", "status"),
    [
        (b"X: a\r\n" * 100, 200),
        (b"X: a\r\n" * 101, 431),
        (b"X: " + b"a" * 8187 + b"\r\n", 200),
        (b"X: " + b"a" * 8188 + b"\r\n", 431),
        ((b"X: " + b"a" * 8000 + b"\r\n") * 5, 431),
        (b" X: a\r\n", 400),
        (b"X: a\r\n b\r\n", 400),
        (b"X: a\x00b\r\n", 400),
        (b"GET /hidden HTTP/1.1\r\n", 400),
    ],
)
def test_they_are_spelt_and_counted_like_fields(wire: Wire, trailers: bytes, status: int):
    wire.get("/", CHUNKED, method="POST").send(b"0\r\n" + trailers + b"\r\n").get("/next")
    assert wire.reply().status == status
    if status == 200:
        assert wire.reply().text == "hello GET /next"
    else:
        assert wire.rest() == b""
