"""Knows when early hints leave, over real connections: at once, behind earlier answers, and never inside an answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live import LiveServer, eventually
from wire import Gate, Wire, request


def test_they_come_before_the_answer_is_made(wire: Wire, gates: Callable[[], Gate]):
    gate = gates()
    wire.get(f"/hints?path={gate.path}")
    interim = wire.head()
    assert interim.status == 103
    assert set(interim.headers) == {"link", "x-hint"}
    gate.wait_until_reached()
    gate.open()
    reply = wire.reply()
    assert (reply.status, reply.framing, len(reply.body)) == (200, "length", 5)
    assert wire.get("/next").reply().text == "hello GET /next"


def test_each_comes_behind_all_earlier_answers(wire: Wire):
    """Also when the requests come at once, whose answers are held until the end of the turn."""
    targets = [f"/hints?{number}" if number % 3 else f"/{number}" for number in range(60)]
    wire.send(b"".join(map(request, targets)))
    for target in targets:
        if target.startswith("/hints"):
            assert wire.hints(1) == [target]
            assert len(wire.reply().body) == 5
        else:
            assert wire.reply().text == f"hello GET {target}"


@pytest.mark.parametrize("size", [32_768, 32_769, 100_000])
def test_a_large_answer_comes_behind_them(wire: Wire, size: int):
    wire.get(f"/hints/{size}")
    wire.hints(1)
    assert len(wire.reply().body) == size
    assert wire.get("/next").reply().text == "hello GET /next"


@pytest.mark.parametrize("size", [5, 200_000])
def test_hints_that_the_client_does_not_read_are_kept_in_their_order(server: LiveServer, size: int):
    """There are more of them than the sockets hold, and the answer is not made before all are kept."""
    with Wire(server, receive_buffer=4096) as wire:
        wire.get(f"/hints/{size}?more=100")
        assert wire.hints(101)[1:] == ["x" * 60_000] * 100
        assert len(wire.reply().body) == size
        assert wire.get("/next").reply().text == "hello GET /next"


def test_inside_a_stream_there_are_none(wire: Wire):
    wire.get("/hints/200000?as=stream")
    assert wire.hints(2)[1] == "before the first block"
    assert len(wire.reply().body) == 200_000
    assert wire.get("/next").reply().text == "hello GET /next"


def test_head_gets_them_too(wire: Wire):
    wire.get("/hints", method="HEAD")
    wire.hints(1)
    assert wire.reply("HEAD").headers["content-length"] == "5"
    assert wire.get("/next").reply().text == "hello GET /next"


def test_they_come_behind_100_continue(wire: Wire):
    wire.get("/hints", "Content-Length: 3", "Expect: 100-continue", method="POST")
    assert wire.head().status == 100
    wire.send(b"abc").hints(1)
    assert wire.reply().status == 200


def test_a_1_0_client_gets_none(wire: Wire):
    reply = wire.get("/hints", "Connection: keep-alive", version="1.0").reply()
    assert (reply.status, len(reply.body)) == (200, 5)


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ((), True),
        (("--forwarded-allow-ips", "192.0.2.1"), True),
        (("--forwarded-allow-ips", "127.0.0.1"), False),
        (("--forwarded-allow-ips", "127.0.0.1", "--proxy-early-hints"), True),
    ],
)
def test_a_proxy_gets_them_when_the_setting_says_that_it_understands_them(
    start: Callable[..., LiveServer], arguments: tuple[str, ...], sent: bool
):
    with Wire(start(*arguments)) as wire:
        wire.get("/hints")
        assert wire.head().status == (103 if sent else 200)


@pytest.mark.parametrize(("arguments", "sent"), [((), False), (("--proxy-early-hints",), True)])
def test_whoever_comes_by_a_unix_socket_is_a_proxy(
    start: Callable[..., LiveServer], tmp_path: Path, arguments: tuple[str, ...], sent: bool
):
    command = [sys.executable, "-m", "server_core", "-b", f"unix:{tmp_path}/s"]
    with Wire(start(*arguments, command=command)) as wire:
        wire.get("/hints")
        assert wire.head().status == (103 if sent else 200)


def test_the_access_log_has_the_answer_alone(start: Callable[..., LiveServer], tmp_path: Path):
    path = tmp_path / "access.log"
    server = start("--access-logfile", str(path), "--access-logformat", "%(r)s %(s)s %(B)s")
    with Wire(server) as wire:
        wire.get("/hints").hints(1)
        assert wire.reply().status == 200
        assert wire.get("/end").reply().status == 200
    lines = eventually(lambda: (found := path.read_text().splitlines()) and len(found) > 1 and found)
    assert lines == ["GET /hints HTTP/1.1 200 5", "GET /end HTTP/1.1 200 14"]


def test_a_client_that_is_gone_is_nobodys_fault(server: LiveServer, worker: int, gates: Callable[[], Gate]):
    gate = gates()
    with Wire(server) as wire:
        wire.get(f"/hints/70000?more=200&path={gate.path}").hints(1)
        gate.wait_until_reached()
        wire.reset()
    gate.open()
    assert server.get("/next").text == "hello GET /next"
    assert "Traceback" not in server.text
    assert server.processes() == [worker]
