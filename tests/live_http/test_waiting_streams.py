"""Knows that an application that waits for its client, in the middle of an answer, waits at nobody else's expense."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from live import LiveServer, eventually
from test_slow_clients import SMALL, has_greenlets, has_its_threads, others_are_served, threads_in_the_application
from wire import Gate, Wire, request

Start = Callable[..., LiveServer]

#: the application waits as soon as its client is this far behind
WAITS_SOON = ("--response-buffer-size", "64KB", "--response-file-size", "0")


@contextmanager
def reading(wires: list[Wire], pause: float = 0.02) -> Iterator[None]:
    """Takes something of each connection after each pause."""
    stopped = threading.Event()

    def read() -> None:
        while not stopped.wait(pause):
            for wire in wires:
                try:
                    if not wire.sock.recv(16384):
                        return
                except OSError:
                    return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        stopped.set()
        reader.join()


@contextmanager
def endless_streams(server: LiveServer, tmp_path: Path, count: int) -> Iterator[list[Wire]]:
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server, SMALL)) for _ in range(count)]
        for wire in wires:
            wire.get(f"/endless?path={tmp_path / 'closed'}").head()
        yield wires


def idle_share(pid: int) -> float:
    """The part of the next second in which a process does nothing."""
    before, began = processor_seconds(pid), time.monotonic()
    time.sleep(1)  # nothing happens in it, which is what is to be seen
    return 1 - (processor_seconds(pid) - before) / (time.monotonic() - began)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_others_are_served_between_streams_that_all_want_to_go_on(start: Start):
    server = start("--response-buffer-size", "256KB", "--response-file-size", "0")
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server)).get("/crowd/500000000?pause=0.005") for _ in range(8)]
        for wire in wires:
            wire.head()
        stack.enter_context(reading(wires, pause=0.001))
        others_are_served(server, 30)


def test_nobody_is_busy_when_nothing_happens(
    options: list[str], start: Start, gates: Callable[[], Gate], tmp_path: Path
):
    """Neither while all wait for clients, nor with more threads than places after a client has read all."""
    server = start(*WAITS_SOON)
    (worker,) = server.processes()
    for busy in range(threads_in_the_application(options)):
        with ExitStack() as stack:
            parked = stack.enter_context(Wire(server, SMALL)).get("/big/20000000")
            parked.head()
            others_are_served(server, 3)
            waiting = [gates() for _ in range(busy)]
            held = [stack.enter_context(Wire(server)).get(f"/gate?path={gate.path}") for gate in waiting]
            for gate in waiting:
                gate.wait_until_reached()
            assert idle_share(worker) > 0.8
            parked.digest(20000000)
            assert idle_share(worker) > 0.8
            for gate, wire in zip(waiting, held, strict=True):
                gate.open()
                assert wire.reply().status == 200


def test_a_stream_slower_than_the_least_rate_is_cut_off(start: Start, tmp_path: Path):
    server = start(*WAITS_SOON, "--write-timeout", "1s", "--min-data-rate", "100MB")
    with endless_streams(server, tmp_path, 2) as wires, reading(wires):
        eventually(lambda: (tmp_path / "closed").exists() and (tmp_path / "closed").read_text() == "xx")


def test_a_hung_request_is_ended_although_the_clients_of_others_go_on_reading(
    worker_class: str, start: Start, tmp_path: Path, gates: Callable[[], Gate]
):
    """What a waiting thread sends is no sign of life of the one that hangs."""
    server = start("--response-buffer-size", "8MB", "--response-file-size", "0", "--timeout", "2s")
    with endless_streams(server, tmp_path, 2) as wires, reading(wires), Wire(server) as hung:
        gate = gates()
        hung.get(f"/gate?path={gate.path}")
        gate.wait_until_reached()
        if worker_class == "sync":
            server.read_until("shown no sign of life for 2s", patience=7)
            assert hung.rest() == b""
        else:
            others_are_served(server)
            gate.open()
            assert hung.reply().text == "through the gate"


def test_deadlines_are_met_while_streams_go_on(start: Start, tmp_path: Path):
    server = start(*WAITS_SOON, "--keep-alive", "1s")
    with endless_streams(server, tmp_path, 4) as wires, reading(wires), Wire(server) as idle:
        idle.get().reply()
        began = time.monotonic()
        assert idle.rest() == b""
        assert time.monotonic() - began < 5


def test_when_no_further_thread_is_allowed_one_stream_ends_and_the_others_go_on(
    options: list[str], start: Start, tmp_path: Path
):
    if has_greenlets(options):
        pytest.skip("greenlets need no further thread")
    server = start(*WAITS_SOON)
    (worker,) = server.processes()
    eventually(lambda: has_its_threads(worker, options))
    with Wire(server) as wire:
        wire.get("/cramp").reply()
    with ExitStack() as stack:
        for _ in range(4):  # whose heads may be lost with the rest
            stack.enter_context(Wire(server, SMALL)).get(f"/endless?path={tmp_path / 'closed'}")
        server.read_until("An answer whose client reads slowly was cut off: the system allows no further thread")
        others_are_served(server)
    assert server.processes() == [worker]


def test_what_a_substitute_has_begun_is_finished_before_the_worker_ends(start: Start, tmp_path: Path):
    server = start(*WAITS_SOON)
    log = tmp_path / "closed"
    with Wire(server, SMALL) as parked, Wire(server) as last:
        parked.get("/big/3000000").head()
        others_are_served(server)
        last.get(f"/closes?path={log}", "Connection: close")
        assert last.reply().body == b"bye"
        server.process.terminate()
        server.read_until("SIGTERM")
        assert len(parked.rest()) == 3000000
    assert server.wait() == 0
    assert log.read_text() == "closed"


def test_an_answer_for_which_there_can_be_no_room_cuts_off_nobody_else(start: Start):
    server = start("--limit-buffer-memory", "4MB", "--limit-temp-space", "16MB")
    size = 1_500_000
    with ExitStack() as stack:
        slow = [stack.enter_context(Wire(server, SMALL)).get(f"/whole/{size}") for _ in range(2)]
        others_are_served(server)
        huge = stack.enter_context(Wire(server, SMALL)).get("/whole/50000000")
        assert len(huge.rest()) < 50_000_000
        server.read_until("The rest of an answer cannot be kept")
        for wire in slow:
            assert len(wire.reply().body) == size


def test_a_body_that_the_disk_does_not_take_is_answered_503_and_the_worker_serves_on(start: Start):
    most = (100_000, 100_000)
    server = start("--body-buffer-size", "256KB", preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, most))
    (worker,) = server.processes()
    body = b"x" * 400_000
    for _ in range(3):
        with Wire(server) as wire:
            wire.send(request("/digest", f"Content-Length: {len(body)}", method="POST") + body)
            assert wire.reply().status == 503
        others_are_served(server, 3)
    assert server.processes() == [worker]


def test_a_large_upload_is_read_on_while_others_keep_all_threads_busy(start: Start):
    """In the way of waiting for slow applications: who has had a turn is not forgotten for those who come anew."""
    server = start("--body-timeout", "5s")
    body = b"x" * 600_000
    stopped = threading.Event()

    def keep_busy() -> None:
        with Wire(server) as wire:
            while not stopped.is_set():
                wire.get("/nap/3").reply()

    others = [threading.Thread(target=keep_busy) for _ in range(12)]
    for thread in others:
        thread.start()
    try:
        for _ in range(2):
            with Wire(server) as wire:
                wire.send(request("/digest", f"Content-Length: {len(body)}", method="POST") + body)
                assert wire.reply().text.startswith("600000 ")
    finally:
        stopped.set()
        for thread in others:
            thread.join()
