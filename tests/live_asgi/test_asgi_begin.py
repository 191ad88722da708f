"""How a connection begins under the worker class asgi: TLS, the PROXY protocol, both, and neither where one is due."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from certificates import Authority
from live import LiveServer, eventually, receive_all
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


class TestSlowAndSilentByTLS:
    """The deadlines and limits of plain connections hold."""

    @pytest.fixture
    def start_secure(self, start: Start, with_certificate: list[str]) -> Start:
        def start_secure(*arguments: str) -> LiveServer:
            return start(*with_certificate, *arguments)

        return start_secure

    @pytest.mark.parametrize("begins", [b"", b"\x16", b"\x16\x03\x01\x02\x00"])
    def test_who_does_not_shake_hands_makes_room_for_others(self, start_secure: Start, begins: bytes):
        server = start_secure("--worker-connections", "5")
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(server.connect_plain()).sendall(begins)
            began = time.monotonic()
            assert server.get("/").status == 200
            assert time.monotonic() - began < 10, "head_timeout is 30 seconds"

    @pytest.mark.parametrize("begins", [b"", b"\x16", b"\x16\x03\x01\x02\x00"])
    def test_who_does_not_shake_hands_does_not_hold_up_the_end(self, start_secure: Start, begins: bytes):
        server = start_secure()
        with server.connect_plain() as sock:
            sock.sendall(begins)
            assert server.get("/").status == 200  # so the other has been accepted
            assert seconds_to_end(server) < 5

    def test_who_does_not_answer_our_goodbye_does_not_hold_up_the_end(self, start_secure: Start):
        server = start_secure()
        with Wire(server) as wire:
            assert wire.get("/").reply().status == 200
            assert seconds_to_end(server) < 5
        assert "SIGABRT" not in server.text

    def test_who_does_not_answer_our_goodbye_keeps_no_descriptor(self, start_secure: Start):
        server = start_secure("--keep-alive", "500ms")
        (worker,) = server.processes()
        with Wire(server) as first:
            assert first.get("/").reply().status == 200
        before = descriptors(worker)
        with ExitStack() as stack:
            for _ in range(20):
                assert stack.enter_context(Wire(server)).get("/").reply().status == 200
            eventually(lambda: descriptors(worker) <= before, patience=10)

    @pytest.mark.parametrize("field", ["Connection: close", "Connection: keep-alive"])
    def test_a_slow_client_gets_all_of_a_large_answer(self, start_secure: Start, field: str):
        server = start_secure("--write-timeout", "1", "--keep-alive", "1")
        size, received = 6_000_000, 0
        with server.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            # answered in one piece, which waits in the transport
            client.sendall(request("/echo", field, f"Content-Length: {size}", method="POST", body=b"x" * size))
            while received < size:
                data = client.recv(16384)
                assert data, f"cut after {received} bytes"
                received += len(data)
                time.sleep(len(data) / 1_500_000)

    def test_who_has_said_goodbye_gets_the_answer_to_what_it_has_asked(self, start_secure: Start):
        server = start_secure()
        with server.connect() as client:
            client.sendall(request("/nap/0.3", "Connection: close"))
            client.say_goodbye()
            assert receive_all(client).endswith(b"slept")
            assert client.said_goodbye


def seconds_to_end(server: LiveServer) -> float:
    """Of a server that is told to end."""
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait(60) == 0
    return time.monotonic() - began


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


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


def test_why_tls_has_failed_is_said_with_log_level_debug(
    start: Start, with_certificate: list[str], authority: Authority
):
    authorities = ["--ca-certs", str(authority.path), "--cert-reqs", "required"]
    server = start(*with_certificate, *authorities, *BEHIND, "--log-level", "debug")
    with socket.create_connection(server.address) as sock:
        sock.sendall(V1)
        with (
            pytest.raises(ssl.SSLError, match="certificate required"),
            trusting(str(authority.path)).wrap_socket(sock, server_hostname="localhost") as client,
        ):
            client.recv(1)
    server.read_until(r"\[DEBUG\] TLS with 1\.2\.3\.4 has failed: peer did not return a certificate\n")


def test_a_server_that_has_not_finished_a_greeting_can_end(start: Start, tmp_path: Path):
    server = start(*BEHIND)
    with Wire(server) as wire:
        wire.send(b"PROXY ")
        server.process.terminate()
        assert server.wait(15) == 0
