"""Knows that websockets work through nginx with the lines that the manual has for them, and requests beside."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import struct
from collections.abc import Callable, Iterator

import pytest
from behind_nginx import CLIENT, Site
from certificates import Authority
from tls_client import trusting
from wire import Wire

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Websocket(Wire):
    """A websocket to nginx (RFC 6455), after its handshake."""

    def __init__(self, site: Site, target: str = "/") -> None:
        super().__init__(site.nginx)  # type: ignore[arg-type]
        try:
            self._shake_hands(target)
        except BaseException:
            self.close()
            raise

    def _shake_hands(self, target: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.get(
            target,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        )
        reply = self.head()
        assert reply.status == 101
        accepted = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        assert base64.b64decode(reply.headers["sec-websocket-accept"]) == accepted

    def say(self, kind: int, data: bytes) -> Websocket:
        """Send a message in one masked frame (5.2)."""
        size = len(data)
        length = (
            bytes([0x80 | size])
            if size < 126
            else struct.pack("!BH" if size < 1 << 16 else "!BQ", 0x80 | (126 if size < 1 << 16 else 127), size)
        )
        self.send(bytes([0x80 | kind]) + length + bytes(4) + data)  # a mask of zeros changes nothing
        return self

    def hear(self) -> tuple[int, bytes]:
        """The next message, or what else comes: its kind, and its bytes."""
        kind, data, last = 0, b"", False
        while not last:
            first, size = self.file.read(2)
            last = bool(first & 0x80)
            kind = first & 15 or kind
            if size >= 126:
                (size,) = struct.unpack("!H" if size == 126 else "!Q", self.file.read(2 if size == 126 else 8))
            data += self.file.read(size)
        return kind, data


@pytest.fixture(scope="module")
def site(build: Callable[..., Site], kind: str) -> Site:
    """An ASGI application behind nginx."""
    return build(kind, ["--worker-class", "asgi", "--workers", "1"], app="websocket_echo:app", websockets=True)


@pytest.fixture
def socket(site: Site) -> Iterator[Websocket]:
    """A websocket that has been told of its client."""
    with Websocket(site) as socket:
        told = json.loads(socket.hear()[1])
        assert told == {"client": CLIENT, "scheme": "ws"}
        yield socket


@pytest.mark.parametrize("size", [0, 5, 125, 126, 65_535, 65_536, 500_000])
@pytest.mark.parametrize("kind_of_message", [TEXT, BINARY])
def test_messages_go_both_ways(socket: Websocket, size: int, kind_of_message: int):
    for _ in range(3):
        assert socket.say(kind_of_message, b"x" * size).hear() == (kind_of_message, b"x" * size)


def test_a_goodbye_is_answered_with_its_code(socket: Websocket):
    kind, data = socket.say(CLOSE, struct.pack("!H", 1000)).hear()
    assert kind == CLOSE
    assert data[:2] == struct.pack("!H", 1000)
    assert socket.rest() == b""


def test_requests_go_on_beside_it(site: Site, socket: Websocket):
    with Wire(site.nginx) as wire:  # type: ignore[arg-type]
        for _ in range(20):
            assert wire.get("/").reply().text == "hello"
    assert socket.say(TEXT, b"still here").hear() == (TEXT, b"still here")


def test_by_https_the_scheme_is_wss(build: Callable[..., Site], kind: str, tmp_path_factory: pytest.TempPathFactory):
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    site = build(
        kind,
        ["--worker-class", "asgi", "--workers", "1"],
        app="websocket_echo:app",
        websockets=True,
        certificate=authority.make("shop"),
        secure=trusting(str(authority.path)),
    )
    with Websocket(site) as socket:
        assert json.loads(socket.hear()[1]) == {"client": CLIENT, "scheme": "wss"}
        assert socket.say(TEXT, b"hello").hear() == (TEXT, b"hello")


def test_a_reload_ends_it_with_a_goodbye_and_the_next_one_is_served(build: Callable[..., Site], kind: str):
    """RFC 6455, 7.4.1: 1001 or 1012, so that a client knows to come again."""
    options = ["--worker-class", "asgi", "--workers", "1", "--graceful-timeout", "5"]
    site = build(kind, options, app="websocket_echo:app", websockets=True)
    with Websocket(site) as socket:
        socket.hear()
        site.server.signal(signal.SIGHUP)
        site.server.read_until("Generation 2 has taken over")
        kind_heard, data = socket.hear()
        assert kind_heard == CLOSE
        assert struct.unpack("!H", data[:2])[0] in (1001, 1012)
    with Websocket(site) as socket:
        socket.hear()
        assert socket.say(TEXT, b"again").hear() == (TEXT, b"again")
