"""Knows that an offer to change the protocol is not taken up (RFC 9110, 7.8), and how all is read in spite of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from live import LiveServer
from wire import Wire, request

WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
#: a masked text frame that says "hello"; and what begins a connection of HTTP/2 (RFC 9113, 3.4)
FRAME = b"\x81\x85\x37\xfa\x21\x3d\x5f\x9f\x4d\x51\x58"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


@pytest.mark.parametrize("offer", [WEBSOCKET, H2C, ("Connection: upgrade", "Upgrade: TLS/1.0")])
def test_the_application_answers_as_if_there_were_no_offer(wire: Wire, offer: tuple[str, ...]):
    for _ in range(2):
        reply = wire.get("/told", *offer).reply()
        assert reply.status == 200
        assert "upgrade" not in reply.headers
        assert "connection" not in reply.headers
    assert wire.get("/next").reply().text == "hello GET /next"


def test_the_application_sees_the_offer(wire: Wire):
    told = json.loads(wire.get("/told", *WEBSOCKET).reply().body)
    assert told["HTTP_UPGRADE"] == "websocket"
    assert told["HTTP_CONNECTION"] == "Upgrade"
    assert told["HTTP_SEC_WEBSOCKET_VERSION"] == "13"


def test_an_offer_with_close_ends_the_connection(wire: Wire):
    fields = ("Connection: close, Upgrade", *WEBSOCKET[1:])
    assert wire.get("/", *fields).reply().headers["connection"] == "close"
    assert wire.rest() == b""


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_request_with_an_offer_has_its_body(wire: Wire, framing: str):
    """RFC 7540, 3.2 has the whole body in HTTP/1.1 before HTTP/2 begins: it is no part of another protocol."""
    field, body = {
        "length": ("Content-Length: 5", b"hello"),
        "chunked": ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    }[framing]
    data = request("/echo", field, *H2C, method="POST", body=body) + request("/next")
    assert wire.send(data).reply().text == "hello"
    assert wire.reply().text == "hello GET /next"


@pytest.mark.parametrize(("offer", "data", "status"), [(WEBSOCKET, FRAME, 400), (H2C, PREFACE, 505)])
@pytest.mark.parametrize("together", [True, False])
def test_what_follows_is_a_request_or_refused(
    wire: Wire, offer: tuple[str, ...], data: bytes, status: int, together: bool
):
    hidden = request("/hidden")
    if together:
        wire.send(request("/", *offer) + data + hidden)
        assert wire.reply().status == 200
    else:
        assert wire.get("/", *offer).reply().status == 200
        wire.send(data + hidden)
    assert wire.reply().status == status
    assert wire.rest() == b""


@pytest.mark.parametrize("offer", [WEBSOCKET, H2C, ()])
def test_an_application_that_changes_the_protocol_is_told_why_it_cannot(
    start: Callable[..., LiveServer], offer: tuple[str, ...]
):
    """Its client gets 500, and nothing more is read as a request: whatever comes is of the other protocol."""
    server = start()
    with Wire(server) as wire:
        wire.send(request("/status/101", *offer) + request("/hidden"))
        reply = wire.reply()
        assert reply.status == 500
        assert reply.headers["connection"] == "close"
        assert "upgrade" not in reply.headers
        assert wire.rest() == b""
    server.read_until(r"ValueError: '101 Whatever' is no status of an answer: a WSGI application cannot change")
    assert server.get("/next").text == "hello GET /next"
