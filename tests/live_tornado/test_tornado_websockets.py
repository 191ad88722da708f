"""Websockets of tornado: the application takes the connection over, and they end with the worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from live import LiveServer, eventually, receive_all
from tls_client import trusting
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from wire import Wire

Start = Callable[..., LiveServer]
Drains = Callable[[LiveServer], None]

LOG = ["--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(s)s"]


def opened(server: LiveServer, path: str, **more: Any) -> ClientConnection:
    host, port = server.address
    return connect(f"ws://{host}:{port}{path}", proxy=None, **more)


def test_what_is_said_is_heard_and_answered(server: LiveServer):
    with opened(server, "/reply/a%20b") as socket:
        for word in ("one", "two", "three" * 10_000):
            socket.send(word)
            assert socket.recv() == f"/reply/a%20b {word}"


def test_large_messages_both_ways(server: LiveServer):
    message = bytes(range(256)) * 2000
    with opened(server, "/reply", max_size=None, compression=None) as socket:
        socket.send(message)
        assert socket.recv() == message * 100


def test_a_client_that_does_not_read_does_not_hold_up_others(server: LiveServer):
    with opened(server, "/reply", max_size=None, compression=None) as slow:
        slow.send(b"x" * 500_000)
        assert server.get("/").status == 200
        assert slow.recv() == b"x" * 50_000_000


def test_many_at_once(server: LiveServer):
    with ExitStack() as stack:
        sockets = [stack.enter_context(opened(server, f"/reply/{number}")) for number in range(30)]
        for socket in sockets:
            socket.send("hello")
        for number, socket in enumerate(sockets):
            assert socket.recv() == f"/reply/{number} hello"


def test_the_handshake_has_the_servers_fields_and_says_nothing_of_a_body(start: Start):
    with opened(start("--server-header", "mine"), "/reply") as socket:
        assert socket.response is not None
        headers = socket.response.headers
        assert (headers["Server"], headers["Upgrade"], headers["Connection"]) == ("mine", "websocket", "Upgrade")
        assert not {"content-length", "transfer-encoding"} & {name.lower() for name in headers}
        assert len(headers.get_all("Date")) == 1


def test_what_is_sent_with_the_handshake_is_not_lost(server: LiveServer):
    with Wire(server) as wire:
        wire.send(handshake("/reply/early") + masked(b"first") + masked(b"second"))
        assert wire.head().status == 101
        for word in (b"first", b"second"):
            assert wire.file.read(2 + 13 + len(word))[2:] == b"/reply/early " + word


def handshake(path: str, version: str = "1.1", *fields: str) -> bytes:
    lines = (
        f"GET {path} HTTP/{version}",
        "Host: shop.example",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *fields,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def masked(text: bytes) -> bytes:
    """A text message of a client whose mask changes nothing."""
    return b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text


def test_it_may_follow_another_request(server: LiveServer):
    with Wire(server) as wire:
        wire.get("/nap/0.1").send(handshake("/reply/x") + masked(b"y"))
        assert wire.reply().text == "slept"
        assert wire.head().status == 101
        assert wire.file.read(12)[2:] == b"/reply/x y"


def test_http_1_0_knows_no_upgrade(server: LiveServer):
    with Wire(server) as wire:
        assert wire.send(handshake("/reply", "1.0")).reply().status == 400


def test_what_only_looks_like_a_handshake_is_tornados_to_answer(server: LiveServer):
    with Wire(server) as wire:
        assert wire.get("/reply", "Connection: Upgrade", "Upgrade: h2c").reply().status == 400
        assert wire.get("/", "Connection: Upgrade", "Upgrade: h2c").reply().text == "hello GET /"
        assert wire.send(handshake("/reply").replace(b"Version: 13", b"Version: 5")).reply().status == 426
        assert wire.get("/next").reply().text == "hello GET /next"


def test_an_application_can_refuse_it(server: LiveServer):
    with pytest.raises(InvalidStatus) as refusal:
        opened(server, "/unwanted")
    assert refusal.value.response.status_code == 403


def test_the_application_hears_the_end(server: LiveServer, tmp_path: Path):
    with opened(server, f"/reply?path={tmp_path}/code"):
        pass
    eventually(lambda: (tmp_path / "code").exists())
    assert (tmp_path / "code").read_text() == "1000"


def test_so_it_does_when_the_client_vanishes(server: LiveServer, tmp_path: Path):
    for number, leave in enumerate((Wire.reset, Wire.close)):
        wire = Wire(server).send(handshake(f"/reply?path={tmp_path}/{number}"))
        assert wire.head().status == 101
        leave(wire)
        eventually(lambda number=number: (tmp_path / str(number)).exists())


def test_it_survives_until_drain_and_is_then_told_to_come_back(start: Start, tmp_path: Path):
    server = start("--keep-alive", "0.3", "--head-timeout", "0.3", "--write-timeout", "0.3", "--body-timeout", "0.3")
    with opened(server, f"/reply?path={tmp_path}/code") as socket, Wire(server) as other:
        assert other.rest() == b""  # whose time was over
        socket.send("still here")
        assert socket.recv() == "/reply still here"
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as end:
            socket.recv()
        assert end.value.rcvd is not None
        assert (end.value.rcvd.code, end.value.rcvd.reason) == (1012, "service restart")
    assert server.wait() == 0
    assert (tmp_path / "code").read_text() == "1012"
    assert "pending" not in server.text


def test_one_that_is_opened_while_the_worker_drains_is_told_too(start: Start, drains: Drains, tmp_path: Path):
    server = start()
    with Wire(server) as wire:
        wire.send(handshake(f"/slow?path={tmp_path}/go"))
        server.get("/")
        server.signal(signal.SIGTERM)
        drains(server)
        (tmp_path / "go").touch()
        assert wire.head().status == 101
        assert wire.file.read(4) == b"\x88\x11\x03\xf4"
    assert server.wait() == 0


def test_a_reload_moves_it_to_the_new_worker(start: Start):
    server = start()
    with opened(server, "/reply") as socket:
        server.signal(signal.SIGHUP)
        with pytest.raises(ConnectionClosed) as end:
            socket.recv()
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1012
    with opened(server, "/reply") as socket:
        socket.send("again")
        assert socket.recv() == "/reply again"


def test_who_goes_on_talking_makes_no_error(start: Start, drains: Drains):
    server = start()
    with Wire(server) as wire:
        wire.send(handshake("/reply"))
        assert wire.head().status == 101
        server.signal(signal.SIGTERM)
        drains(server)
        for _ in range(20):
            wire.send(masked(b"still talking"))
        assert b"\x88\x11\x03\xf4service restart" in wire.rest()
    assert server.wait() == 0
    assert "WebSocketClosedError" not in server.text


def test_a_client_that_does_not_answer_the_close_is_not_waited_for(start: Start):
    server = start("--graceful-timeout", "20")
    with Wire(server) as wire:
        wire.send(handshake("/reply"))
        assert wire.head().status == 101
        server.signal(signal.SIGTERM)
        assert server.wait(15) == 0


def test_each_has_one_line_in_the_log_when_it_ends(start: Start):
    server = start(*LOG)
    with opened(server, "/reply") as socket:
        socket.send("hello")
        socket.recv()
        server.get("/")
        server.read_until(r"LOG GET / 200\n")
        assert "LOG GET /reply" not in server.text
    server.read_until(r"LOG GET /reply 101\n")
    with pytest.raises(InvalidStatus):
        opened(server, "/unwanted")
    server.read_until(r"LOG GET /unwanted 403\n")
    assert server.text.count("LOG ") == 3


def test_they_count_as_connections_and_as_requests(start: Start):
    server = start("--worker-connections", "2", "--full-policy", "refuse", "--max-requests", "1000")
    with opened(server, "/reply"), opened(server, "/reply"), Wire(server) as refused:
        assert refused.reply().status == 503
    eventually(lambda: server.get("/").status == 200)


class TestOtherProtocols:
    def test_an_application_may_speak_its_own(self, server: LiveServer, tmp_path: Path):
        with Wire(server) as wire:
            wire.get(f"/takes?path={tmp_path}/closed").send(b"one\n")
            assert wire.head().status == 200
            assert wire.file.readline() == b"ONE\n"
            assert wire.send(b"two\n").file.readline() == b"TWO\n"
        eventually(lambda: (tmp_path / "closed").exists())

    def test_its_end_is_told(self, start: Start):
        server = start(*LOG)
        with Wire(server) as wire:
            wire.get("/takes").head()
            wire.half_close()
            assert wire.rest() == b""
        server.read_until(r"LOG GET /takes -\n")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(start: Start, authority: Authority) -> LiveServer:
    certfile, keyfile = authority.make("server")
    server = start("--certfile", str(certfile), "--keyfile", str(keyfile), wait=False)
    server.secure = trusting(str(authority.path))
    server.wait_until_serving()
    return server


class TestTLS:
    def test_a_websocket(self, secure: LiveServer):
        with connect(
            f"wss://localhost:{secure.address[1]}/scheme",
            ssl=secure.secure,
            proxy=None,
            sock=secure.connect_plain(),
        ) as socket:
            assert json.loads(socket.recv()) == ["https", "127.0.0.1"]

    def test_large_messages(self, secure: LiveServer):
        message = bytes(range(256)) * 500
        with connect(
            f"wss://localhost:{secure.address[1]}/reply",
            ssl=secure.secure,
            proxy=None,
            sock=secure.connect_plain(),
            max_size=None,
            compression=None,
        ) as socket:
            socket.send(message)
            assert socket.recv() == message * 100
            secure.signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as end:
                socket.recv()
            assert end.value.rcvd is not None
            assert end.value.rcvd.code == 1012

    def test_requests_are_https(self, secure: LiveServer):
        with Wire(secure) as wire:
            assert json.loads(wire.get("/told").reply().body)["protocol"] == "https"

    def test_the_end_of_an_answer_is_not_lost(self, secure: LiveServer):
        answer = secure.raw(b"GET /big/1000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert len(answer.partition(b"\r\n\r\n")[2]) == 1_000_000

    def test_plain_http_is_told_where_to_go(self, secure: LiveServer):
        with secure.connect_plain() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            assert receive_all(sock).startswith(b"HTTP/1.1 400 ")
