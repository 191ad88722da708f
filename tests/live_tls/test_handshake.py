"""Knows how a connection begins: who shakes hands slowly, not at all, or speaks something else; and behind a proxy."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from live import LiveServer, eventually, receive_all
from tls_client import TlsClient, trusting
from wire import Wire, descriptors, request

Start = Callable[..., LiveServer]


def others_are_served(server: LiveServer, count: int = 5) -> None:
    for number in range(count):
        with Wire(server) as wire:
            assert wire.get(f"/{number}").reply().text == f"hello GET /{number}"


def others_have_a_turn() -> None:
    """The server reads what has been sent so far, most probably: the test holds in either case."""
    time.sleep(0.01)


def hello_of(client: TlsClient) -> bytes:
    """The first bytes of a handshake."""
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    return client.wire_bytes()


class TestSlowHandshakes:
    def test_one_that_comes_byte_by_byte_is_as_good(self, server: LiveServer, silent: TlsClient):
        silent.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in hello_of(silent):
            silent.sock.sendall(bytes([byte]))
        others_are_served(server)
        silent.handshake()
        silent.sendall(request("/slow", "Connection: close"))
        assert silent.makefile().read().endswith(b"hello GET /slow")

    def test_its_last_bytes_may_bring_the_first_request_along(self, server: LiveServer, silent: TlsClient):
        silent.sock.sendall(hello_of(silent))
        while True:
            silent.fill()
            try:
                silent.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        finished = silent.wire_bytes()
        silent.sock.sendall(finished + silent.encrypt(request("/at-once", "Connection: close")))
        assert silent.makefile().read().endswith(b"hello GET /at-once")

    def test_who_is_silent_or_drips_is_closed_in_time_while_others_are_served(self, start: Start):
        server = start("--head-timeout", "1s")
        (worker,) = server.processes()
        others_are_served(server, 1)
        before = eventually(lambda: descriptors(worker))
        began = time.monotonic()
        with ExitStack() as stack:
            clients = [
                stack.enter_context(TlsClient(server.connect_plain(), trusting(), shake=False)) for _ in range(30)
            ]
            hello = hello_of(clients[0])
            for client in clients[10:20]:
                client.sock.sendall(hello[:100])
            for client in clients[20:]:
                client.sock.sendall(hello)  # its next bytes, after the server's, will never come
            drips = list(hello)
            while descriptors(worker) > before:
                assert time.monotonic() - began < 10
                try:
                    clients[0].sock.sendall(bytes([drips.pop(0)]))
                except OSError:
                    pass
                others_are_served(server, 1)
                time.sleep(0.02)  # a drip, not a flood
            assert time.monotonic() - began > 0.8
            for client in clients[1:20]:
                assert receive_all(client.sock) == b"", "nobody asked, nobody is answered"

    def test_who_has_shaken_hands_and_asks_nothing_is_closed_too(self, start: Start):
        server = start("--head-timeout", "1s")
        with Wire(server) as wire:
            assert wire.rest() == b""
            assert wire.sock.said_goodbye

    def test_a_silent_client_does_not_hold_up_the_end(self, start: Start):
        server = start()
        with TlsClient(server.connect_plain(), trusting(), shake=False) as client:
            client.sock.sendall(hello_of(client))
            assert client.sock.recv(1) != b""
            began = time.monotonic()
            server.process.terminate()
            assert server.wait() == 0
            assert time.monotonic() - began < 5

    def test_silent_clients_make_room_for_others(self, start: Start):
        server = start("--worker-connections", "3")
        with ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(TlsClient(server.connect_plain(), trusting(), shake=False))
                client.sock.sendall(hello_of(client)[:50])
            others_are_served(server)


class TestWhoCannotBeTalkedTo:
    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
    def test_tls_1_1_is_refused_with_the_reason(self, silent: TlsClient):
        context = trusting()
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            TlsClient(silent.sock, context)

    @pytest.mark.parametrize(
        "data",
        [b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01\x03\x01", b"\x00" * 100, b"\xff" * 3000, b"\x16\x03\x01\xff\xff"],
    )
    def test_nonsense_is_hung_up_on(self, server: LiveServer, data: bytes):
        with server.connect_plain() as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert b"HTTP" not in receive_all(sock)
        others_are_served(server, 1)

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (request("/", "X-A: b"), b": https://shop.example/"),
            (b"POST /a HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: 100000\r\n\r\nabc", b": https://127.0.0.1:8000/"),
            (b"GET / HTTP/1.1\r\nHost: <script>\r\n\r\n", b""),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b""),
            (b"GET / HT", b""),
            (b"G", b""),
        ],
    )  # fmt: skip
    def test_plain_http_is_told_where_to_go(self, server: LiveServer, data: bytes, told: bytes):
        with server.connect_plain() as sock:
            sock.sendall(data)
            answer = receive_all(sock)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n")
        assert b"\r\nConnection: close" in head
        assert body == b"400 Bad Request: this port speaks https" + told + b"\n"

    def test_it_can_read_that_although_it_goes_on_sending(self, server: LiveServer):
        with server.connect_plain() as sock:
            sock.sendall(request("/", "Content-Length: 3000000", method="POST"))
            for _ in range(30):
                sock.sendall(b"x" * 100_000)
            sock.shutdown(socket.SHUT_WR)
            assert receive_all(sock).endswith(b"this port speaks https: https://shop.example/\n")

    def test_where_there_is_no_room_new_clients_are_hung_up_on(self, start: Start):
        """Nobody can be told anything before the handshake."""
        server = start("--worker-connections", "1", "--full-policy", "refuse")
        with Wire(server) as busy, server.connect_plain() as sock:
            busy.send(request("/echo", "Content-Length: 5", method="POST"))
            busy.send(b"abc")
            assert receive_all(sock) == b""
            assert busy.send(b"de").reply().body == b"abcde"


class TestProxies:
    LINE = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"

    @pytest.fixture
    def proxied(self, start: Start) -> LiveServer:
        # A handshake that nobody looks at would go on at its deadline: let that be later than the test is patient.
        return start("--proxy-protocol", "any", "--proxy-allow-ips", "127.0.0.1", "--head-timeout", "120s")

    def test_their_header_comes_before_the_handshake(self, proxied: LiveServer):
        for cut in (0, 1, 10, 39, 40, 41, 100, 10_000):
            with proxied.connect_plain() as sock, TlsClient(sock, trusting(), shake=False) as client:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                first = self.LINE + hello_of(client)
                sock.sendall(first[:cut])
                others_have_a_turn()
                sock.sendall(first[cut:])
                client.handshake()
                client.sendall(request("/told", "Connection: close"))
                told = json.loads(client.makefile().read().partition(b"\r\n\r\n")[2])
                assert (told["REMOTE_ADDR"], told["REMOTE_PORT"]) == ("192.0.2.7", "4711")
                assert (told["wsgi.url_scheme"], told["HTTPS"]) == ("https", "on")

    def test_plain_http_behind_it_is_told_where_to_go(self, proxied: LiveServer):
        with proxied.connect_plain() as sock:
            sock.sendall(self.LINE + request("/"))
            assert receive_all(sock).endswith(b"this port speaks https: https://shop.example/\n")

    def test_who_leaves_it_out_is_refused(self, proxied: LiveServer):
        with proxied.connect_plain() as sock, pytest.raises((ssl.SSLError, ConnectionResetError)):
            TlsClient(sock, trusting())

    def test_the_scheme_that_a_trusted_proxy_tells_is_the_clients(self, start: Start):
        server = start("--forwarded-allow-ips", "127.0.0.1")
        with Wire(server) as wire:
            told = json.loads(wire.get("/told", "X-Forwarded-Proto: http").reply().body)
            assert told["wsgi.url_scheme"] == "http"
            assert "HTTPS" not in told
            told = json.loads(wire.get("/told").reply().body)
            assert (told["wsgi.url_scheme"], told["HTTPS"]) == ("https", "on")


class TestOtherSockets:
    def test_a_unix_socket_speaks_tls_too(self, serve: Start, with_certificate: list[str], tmp_path: Path):
        command = [sys.executable, "-m", "server_core", "-b", f"unix:{tmp_path}/socket", "-w", "1"]
        server = serve("contract:app", *with_certificate, command=command)
        server.secure = trusting()
        with Wire(server) as wire:
            told = json.loads(wire.get("/told").reply().body)
            assert (told["SERVER_NAME"], told["SERVER_PORT"]) == ("localhost", "443")
            assert (told["wsgi.url_scheme"], told["HTTPS"]) == ("https", "on")

    def test_so_does_an_inherited_descriptor(self, serve: Start, with_certificate: list[str]):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            command = [sys.executable, "-m", "server_core", "-b", f"fd://{listener.fileno()}", "-w", "1"]
            server = serve("contract:app", *with_certificate, command=command, pass_fds=(listener.fileno(),))
            assert server.url == f"https://127.0.0.1:{listener.getsockname()[1]}"
            assert server.get("/x").text == "hello GET /x"
