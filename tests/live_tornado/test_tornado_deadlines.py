"""Slow, silent and too many clients of the worker class tornado: each has its deadline, and nobody waits for them."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

import pytest
from live import LiveServer, eventually
from wire import Wire, descriptors, request

Start = Callable[..., LiveServer]

SHORT = ["--head-timeout", "0.5", "--body-timeout", "0.5", "--keep-alive", "0.5", "--write-timeout", "0.5"]


@pytest.fixture(scope="module")
def hasty():
    """A server that waits for nobody longer than half a second."""
    server = LiveServer(
        "tornado_pages:app", "--workers", "1", "--worker-class", "tornado", *SHORT, "--access-logfile", "-"
    )
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


def test_a_head_that_does_not_come_is_not_waited_for(hasty: LiveServer):
    with Wire(hasty) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost:")
        assert wire.reply().status == 408
        assert wire.rest() == b""


def drip(wire: Wire, data: bytes, seconds: float) -> None:
    """Send byte by byte until the server says something."""
    for byte in data:
        wire.send(bytes([byte]))
        if select.select([wire.sock], [], [], seconds)[0]:
            return
    raise AssertionError("it was waited for all of it")


def test_bytes_now_and_then_do_not_help(hasty: LiveServer):
    with Wire(hasty) as wire:
        drip(wire, request("/" + "a" * 200), 0.02)
        assert wire.reply().status == 408


def test_who_says_nothing_is_closed_without_a_word(hasty: LiveServer):
    with Wire(hasty) as wire:
        assert wire.rest() == b""


def test_a_kept_connection_is_closed_when_it_brings_nothing(hasty: LiveServer):
    with Wire(hasty) as wire:
        assert wire.get().reply().status == 200
        began = time.monotonic()
        assert wire.rest() == b""
        assert 0.3 < time.monotonic() - began < 3


def test_a_body_that_does_not_come_is_not_waited_for(hasty: LiveServer):
    with Wire(hasty) as wire:
        wire.send(request("/echo", "Content-Length: 5", method="POST", body=b"ab"))
        assert wire.reply().status == 408
        assert wire.rest() == b""
    hasty.read_until(r'"POST /echo HTTP/1.1" 408 ')


def test_a_body_that_drips_is_not_waited_for(start: Start):
    server = start("--body-timeout", "0.5", "--min-data-rate", "1000")
    with Wire(server) as wire:
        wire.send(request("/echo", "Content-Length: 500", method="POST"))
        drip(wire, b"x" * 100, 0.04)
        assert wire.reply().status == 408


def test_the_time_of_an_application_that_is_busy_with_a_piece_is_not_the_clients(hasty: LiveServer):
    with Wire(hasty) as wire:
        wire.send(request("/upload?pause=1.5", "Content-Length: 5", method="POST", body=b"ab"))
        assert hasty.get("/nap/1.2").text == "slept"
        assert wire.send(b"cde").reply().text == "5 True"


def test_who_takes_nothing_of_an_answer_is_cut_off(hasty: LiveServer):
    with Wire(hasty, 8192) as wire:
        wire.get("/big/50000000")
        hasty.read_until(r'"GET /big/50000000 HTTP/1.1" 200 ', patience=10)


def test_deadlines_do_not_meet_an_application_that_waits(hasty: LiveServer):
    with Wire(hasty) as wire:
        assert wire.get("/nap/1.5").reply().text == "slept"


class TestTooMany:
    def test_the_idle_go_for_those_who_come(self, start: Start):
        server = start("--worker-connections", "5")
        wires = [Wire(server).get() for _ in range(5)]
        for wire in wires:
            assert wire.reply().status == 200
        assert server.get("/").status == 200
        closed = [wire for wire in wires if not alive(wire)]
        assert len(closed) == 1
        for wire in wires:
            wire.close()

    def test_who_finds_no_room_waits(self, start: Start):
        server = start("--worker-connections", "3")
        wires = [Wire(server).get("/nap/0.5") for _ in range(3)]
        with Wire(server) as waiting:
            assert waiting.get().reply().text == "hello GET /"
        assert "Cannot accept a connection: all connections of this worker are busy" in server.text
        for wire in wires:
            assert wire.reply().text == "slept"
            wire.close()

    def test_or_is_told_so(self, start: Start):
        server = start("--worker-connections", "3", "--full-policy", "refuse")
        wires = [Wire(server).get("/nap/2") for _ in range(3)]
        with Wire(server) as refused:
            reply = refused.reply()
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        for wire in wires:
            assert wire.reply().text == "slept"
            wire.close()


def alive(wire: Wire) -> bool:
    """Is this kept connection still good for a request?"""
    try:
        return wire.get().reply().status == 200
    except (OSError, AssertionError):
        return False


def test_no_descriptor_is_left_of_clients_that_are_gone(start: Start):
    server = start("--body-timeout", "1", "--write-timeout", "1", "--head-timeout", "1")
    (worker,) = server.processes()
    server.get("/")
    before = descriptors(worker)
    for data in (
        b"",
        b"GET / HT",
        request("/nap/0.3"),
        request("/big/5000000"),
        request("/echo", "Content-Length: 5", method="POST", body=b"ab"),
        request("/stream/100?pause=0.01"),
        b"\0",
        request("/a") * 300,
    ):
        for leave in (Wire.close, Wire.reset):
            leave(Wire(server, 8192).send(data))
        silent = Wire(server, 8192).send(data)
        assert server.get("/").status == 200
        silent.half_close()
        silent.close()
    eventually(lambda: descriptors(worker) <= before, patience=15)
    assert server.processes() == [worker]
