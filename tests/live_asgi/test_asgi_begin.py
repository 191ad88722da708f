"""How a connection begins under the worker class asgi: TLS, the PROXY protocol, both, and neither where one is due."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import Authority
from live import LiveServer, receive_all
from tls_client import trusting
from websockets.sync.client import connect
from wire import Wire, request

Start = Callable[..., LiveServer]

V1 = b"PROXY TCP4 1.2.3.4 127.0.0.1 5678 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([1, 2, 3, 4, 127, 0, 0, 1]) + (5678).to_bytes(2, "big") + b"\0\x50"
BEHIND = ["--proxy-protocol", "any", "--proxy-allow-ips", "127.0.0.1", "--head-timeout", "1"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def with_certificate(authority: Authority) -> list[str]:
    certfile, keyfile = authority.make("server")
    return ["--certfile", str(certfile), "--keyfile", str(keyfile)]


@pytest.fixture(scope="module")
def secure(options: list[str], with_certificate: list[str], authority: Authority) -> Iterator[LiveServer]:
    """A server that speaks TLS."""
    server = LiveServer("asgi_pages:app", *options, *with_certificate, "--head-timeout", "1", "--keep-alive", "5")
    server.secure = trusting(str(authority.path))
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


class TestTLS:
    def test_requests_are_https(self, secure: LiveServer):
        with Wire(secure) as wire:
            assert json.loads(wire.get("/told").reply().body)["scheme"] == "https"
            assert wire.get("/next").reply().text == "hello GET /next"

    def test_large_bodies_both_ways(self, secure: LiveServer):
        body = b"x" * 3_000_000
        with Wire(secure) as wire:
            wire.send(request("/echo", f"Content-Length: {len(body)}", method="POST", body=body))
            assert wire.reply().body == body

    def test_the_end_of_an_answer_is_not_lost(self, secure: LiveServer):
        answer = secure.raw(request("/big/1000000", "Connection: close"))
        assert len(answer.partition(b"\r\n\r\n")[2]) == 1_000_000

    def test_a_refusal_is_read(self, secure: LiveServer):
        assert secure.raw(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")

    def test_a_websocket(self, secure: LiveServer):
        port = secure.address[1]
        with connect(
            f"wss://localhost:{port}/scope", ssl=secure.secure, proxy=None, sock=secure.connect_plain()
        ) as socket:
            assert json.loads(socket.recv())["scheme"] == "wss"

    def test_plain_http_is_told_where_to_go(self, secure: LiveServer):
        with secure.connect_plain() as sock:
            sock.sendall(request("/"))
            answer = receive_all(sock)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"this port speaks https: https://shop.example/\n")

    def test_who_does_not_shake_hands_is_closed_in_time(self, secure: LiveServer):
        for first in (b"", b"\x16\x03\x01"):
            with secure.connect_plain() as sock:
                sock.sendall(first)
                began = time.monotonic()
                sock.settimeout(10)
                assert receive_all(sock) == b""
                assert time.monotonic() - began < 5

    def test_a_handshake_that_fails_harms_nobody(self, secure: LiveServer):
        with pytest.raises(ssl.SSLError), secure.connect_plain() as sock:
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
        assert secure.get("/").status == 200


class TestPROXY:
    @pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
    def test_the_proxy_says_who_the_client_is(self, start: Start, header: bytes):
        with Wire(start(*BEHIND)) as wire:
            wire.send(header + request("/told"))
            assert json.loads(wire.reply().body)["client"] == ["1.2.3.4", 5678]
            assert wire.get("/next").reply().text == "hello GET /next"

    @pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
    def test_it_may_come_in_pieces(self, start: Start, header: bytes):
        with Wire(start(*BEHIND)) as wire:
            for byte in header:
                wire.send(bytes([byte]))
                time.sleep(0.005)
            assert json.loads(wire.get("/told").reply().body)["client"] == ["1.2.3.4", 5678]

    def test_without_it_nothing_is_heard(self, start: Start):
        server = start(*BEHIND)
        with Wire(server) as wire:
            wire.get()
            assert wire.reply().status == 400
        with Wire(server) as wire:
            assert wire.send(b"PROXY TCP4 ").rest() == b""

    def test_before_tls(self, start: Start, with_certificate: list[str], authority: Authority):
        server = start(*with_certificate, *BEHIND)
        with socket.create_connection(server.address) as sock:
            sock.sendall(V1)
            with trusting(str(authority.path)).wrap_socket(sock, server_hostname="localhost") as client:
                client.sendall(request("/told", "Connection: close"))
                told = json.loads(receive_all(client).partition(b"\r\n\r\n")[2])
        assert (told["client"], told["scheme"]) == (["1.2.3.4", 5678], "https")


def test_a_server_that_has_not_finished_a_greeting_can_end(start: Start, tmp_path: Path):
    server = start(*BEHIND)
    with Wire(server) as wire:
        wire.send(b"PROXY ")
        server.process.terminate()
        assert server.wait(15) == 0
