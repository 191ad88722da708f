"""Websockets under the worker class asgi: uvicorn speaks them, and they end with the worker."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from live import LiveServer, eventually
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from wire import Wire

Start = Callable[..., LiveServer]
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def opened(server: LiveServer, path: str, **more: Any) -> ClientConnection:
    host, port = server.address
    return connect(f"ws://{host}:{port}{path}", proxy=None, **more)


def test_what_is_said_is_heard_and_answered(server: LiveServer):
    with opened(server, "/reply/a%20b") as socket:
        for word in ("one", "two", "three" * 10_000):
            socket.send(word)
            assert socket.recv() == f"/reply/a b {word}"


def test_many_at_once(server: LiveServer):
    with ExitStack() as stack:
        sockets = [stack.enter_context(opened(server, f"/reply/{number}")) for number in range(30)]
        for socket in sockets:
            socket.send("hello")
        for number, socket in enumerate(sockets):
            assert socket.recv() == f"/reply/{number} hello"


def test_its_scope_tells_what_we_have_understood(start: Start):
    server = start("--script-name", "/shop", "--forwarded-allow-ips", "127.0.0.1")
    fields = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "Forwarded": "for=5.6.7.8", "X_Real": "a"}
    for path in ("/shop/scope/x", "/scope/x"):
        with opened(server, path, additional_headers=fields) as socket:
            told = json.loads(socket.recv())
        assert (told["client"], told["scheme"]) == (["1.2.3.4", 0], "wss")
        assert (told["path"], told["root_path"]) == ("/shop/scope/x", "/shop")
        assert told["state"] == {"started": "by the lifespan"}
        names = [name for name, _ in told["headers"]]
        assert "x-forwarded-for" in names
        assert not {"forwarded", "x_real"} & {*names}


def test_an_application_can_refuse_it(server: LiveServer):
    with pytest.raises(InvalidStatus) as refusal:
        opened(server, "/unwanted")
    assert refusal.value.response.status_code == 403


def test_the_servers_own_fields_are_in_the_handshake(start: Start):
    with opened(start("--server-header", "mine"), "/reply") as socket:
        assert socket.response is not None
        assert socket.response.headers["Server"] == "mine"
        assert "Date" in socket.response.headers


def test_a_message_that_is_too_large_ends_it(start: Start):
    with opened(start("--websocket-max-message-size", "1000"), "/reply") as socket:
        socket.send("x" * 1000)
        socket.recv()
        socket.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as end:
            socket.recv()
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1009


def test_the_application_hears_the_end(server: LiveServer, tmp_path: Path):
    with opened(server, f"/reply?path={tmp_path}/code"):
        pass
    eventually(lambda: (tmp_path / "code").exists())
    assert (tmp_path / "code").read_text() == "1000"


def test_it_survives_until_drain_and_is_then_told_to_come_back(start: Start, tmp_path: Path):
    server = start("--keep-alive", "0.3", "--head-timeout", "0.3")
    with opened(server, f"/reply?path={tmp_path}/code") as socket, Wire(server) as other:
        assert other.rest() == b""  # whose time was over
        socket.send("still here")
        assert socket.recv() == "/reply still here"
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as end:
            socket.recv()
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1012
    assert server.wait() == 0
    assert (tmp_path / "code").read_text() == "1012"


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


def test_each_has_one_line_in_the_log(start: Start):
    server = start("--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(s)s")
    with opened(server, "/reply"):
        pass
    server.read_until(r"LOG GET /reply 101\n")
    with pytest.raises(InvalidStatus):
        opened(server, "/unwanted")
    server.read_until(r"LOG GET /unwanted 403\n")
    assert server.text.count("LOG ") == 2


def test_a_handshake_that_is_none_is_refused(start: Start):
    server = start("--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(s)s")
    with Wire(server) as wire:
        wire.get("/reply", "Connection: Upgrade", "Upgrade: websocket")
        assert wire.reply().status == 400
        assert wire.rest() == b""
    server.read_until(r"LOG GET /reply 400\n")


def test_an_upgrade_to_something_else_is_an_ordinary_request(server: LiveServer):
    with Wire(server) as wire:
        assert wire.get("/", "Connection: Upgrade", "Upgrade: h2c").reply().text == "hello GET /"
        assert wire.get("/next").reply().text == "hello GET /next"


def frame(text: bytes) -> bytes:
    """A message of a client, masked with zeros (RFC 6455, 5.2)."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def test_who_goes_on_talking_hears_that_the_worker_goes(start: Start):
    server = start()
    with Wire(server) as wire:
        wire.get("/reply", *HANDSHAKE)
        assert wire.reply().status == 101
        server.signal(signal.SIGTERM)
        eventually(lambda: b"draining" in title_of(server))
        for _ in range(50):
            wire.send(frame(b"still talking"))
        assert wire.rest().endswith(b"\x88\x02" + (1012).to_bytes(2, "big"))  # a reset would be an error here
    assert server.wait() == 0


def test_a_client_that_hears_nothing_does_not_hold_up_the_end(start: Start):
    server = start("--graceful-timeout", "20")
    with Wire(server) as wire:
        wire.get("/reply", *HANDSHAKE)
        assert wire.reply().status == 101
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0  # although the client keeps its half open
        assert time.monotonic() - began < 10


def test_an_end_that_the_server_or_the_client_makes_is_no_error_of_the_application(start: Start):
    server = start("--log-level", "debug")
    with opened(server, "/strict"):
        pass
    server.read_until("At websocket /strict, after the client had gone: RuntimeError: the client has gone")
    with opened(server, "/strict") as socket:
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            socket.recv()
    server.read_until("At websocket /strict, after the client had gone: RuntimeError: the client has gone")
    assert server.wait() == 0
    assert "ERROR" not in server.text


def test_an_error_of_the_application_is_told_once_and_with_its_path(start: Start):
    server = start()
    with opened(server, "/strict") as socket:
        socket.send("fail")
        with pytest.raises(ConnectionClosed):
            socket.recv()
    server.read_until("Error in the application at websocket /strict")
    server.read_until("ValueError: on purpose")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.text.count("ERROR") == 1


def test_what_the_library_refuses_has_a_line_in_the_log_too(start: Start):
    server = start("--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(s)s")
    with Wire(server) as wire:
        wire.get("/reply", *HANDSHAKE, "Sec-WebSocket-Extensions: ;;;")
        assert wire.reply().status == 400
    server.read_until(r"LOG GET /reply 400\n")


def title_of(server: LiveServer) -> bytes:
    (worker,) = server.processes()
    return Path(f"/proc/{worker}/cmdline").read_bytes()
