"""Knows that slow, silent and vanishing clients hold up nobody, and lose nothing that was promised to them."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import inf
from pathlib import Path

import pytest
from live import LiveServer, eventually
from wire import Gate, Wire, descriptors, request

MB = 1 << 20
BLOCK = bytes(range(256)) * 256
SMALL = 8192  # a receive buffer that is full at once


def others_are_served(server: LiveServer, count: int = 10) -> None:
    """Several requests, each on a connection of its own."""
    for number in range(count):
        with Wire(server) as wire:
            assert wire.get(f"/{number}").reply().text == f"hello GET /{number}"


@pytest.fixture
def no_descriptor_is_left(server: LiveServer, worker: int):
    """After the test the worker has no more descriptors open than before."""
    others_are_served(server, 1)
    before = eventually(lambda: descriptors(worker))
    yield
    eventually(lambda: descriptors(worker) <= before, patience=10)
    assert server.processes() == [worker]


class TestSlowReaders:
    @pytest.mark.parametrize("page", ["big", "chunked", "whole"])
    def test_50_mb_arrive_whole_although_the_client_stops_for_a_while(self, server: LiveServer, page: str):
        size = 50 * MB
        expected = hashlib.sha256(BLOCK * (size // len(BLOCK))).hexdigest()
        with Wire(server, SMALL) as slow:
            slow.get(f"/{page}/{size}", "X-Slow: yes")
            assert slow.head().status == 200
            others_are_served(server)
            if page == "chunked":
                found = hashlib.sha256()
                while chunk := slow.chunk():
                    found.update(chunk)
                assert found.hexdigest() == expected
            else:
                assert slow.digest(size) == expected
            assert slow.get("/next").reply().text == "hello GET /next"

    @pytest.mark.usefixtures("no_descriptor_is_left")
    def test_a_file_arrives_whole_although_the_client_stops_for_a_while(self, server: LiveServer, tmp_path: Path):
        path = tmp_path / "data"
        data = os.urandom(MB) * 20
        path.write_bytes(data)
        with Wire(server, SMALL) as slow:
            slow.get(f"/file?path={path}")
            head = slow.head()
            assert int(head.headers["content-length"]) == len(data)
            others_are_served(server)
            path.unlink()
            assert slow.digest(len(data)) == hashlib.sha256(data).hexdigest()
            assert slow.get("/next").reply().text == "hello GET /next"

    def test_several_slow_clients_at_once(self, server: LiveServer):
        size = 8 * MB
        expected = hashlib.sha256(BLOCK * (size // len(BLOCK))).hexdigest()
        with ExitStack() as stack:
            slow = [stack.enter_context(Wire(server, SMALL)) for _ in range(20)]
            for number, wire in enumerate(slow):
                wire.get(("/big/", "/whole/")[number % 2] + str(size))
            others_are_served(server)
            for wire in slow:
                wire.head()
                assert wire.digest(size) == expected

    def test_pipelined_large_answers_arrive_in_their_order(self, server: LiveServer):
        pages = ("whole", "big", "chunked") * 3
        with Wire(server, SMALL) as slow:
            slow.send(b"".join(request(f"/{page}/{MB + 7}") + request(f"/{page}-done") for page in pages))
            others_are_served(server)
            for page in pages:
                assert len(slow.reply().body) == MB + 7
                assert slow.reply().text == f"hello GET /{page}-done"

    def test_the_last_answer_arrives_whole_although_the_client_goes_on_sending(self, server: LiveServer):
        """To close a connection with something unread would reset it, and destroy what is still on its way."""
        size = 3 * MB
        with Wire(server, SMALL) as slow:
            slow.send(request(f"/whole/{size}", "Connection: close") + b"x" * 150_000)
            others_are_served(server)
            assert len(slow.reply().body) == size

    @pytest.mark.parametrize("limit", [0, 4])
    def test_what_is_kept_for_a_slow_client_stays_within_its_limit(self, start: Callable[..., LiveServer], limit: int):
        """However much passes through the temporary file, it takes no more room than twice the limit."""
        server = start("--response-buffer-size", "64KB", "--response-file-size", f"{limit}MB")
        (worker,) = server.processes()
        before = deleted_bytes(worker)
        left = 50 * MB
        largest = 0
        with Wire(server, SMALL) as slow:
            slow.get(f"/big/{left}").head()
            while left:
                left -= len(slow.file.read(min(left, 65536)))
                largest = max(largest, deleted_bytes(worker) - before)
        assert largest <= 2 * limit * MB
        assert bool(largest) == bool(limit)

    def test_streams_to_clients_that_do_not_read_hold_up_nobody_and_arrive_whole(
        self, options: list[str], start: Callable[..., LiveServer]
    ):
        """With no file to keep them in the application itself has to wait, and others run it meanwhile: no more of them
        at once than the worker class allows."""
        server = start("--response-buffer-size", "64KB", "--response-file-size", "0")
        (worker,) = server.processes()
        allowed = inf if has_greenlets(options) else threads_in_the_application(options)
        size = 6 * MB
        expected = hashlib.sha256(BLOCK * (size // len(BLOCK))).hexdigest()
        with ExitStack() as stack:
            slow = [stack.enter_context(Wire(server, SMALL)) for _ in range(12)]
            for wire in slow:
                wire.get(f"/crowd/{size}").head()
            others_are_served(server)
            with ThreadPoolExecutor(len(slow)) as pool:
                assert set(pool.map(lambda wire: wire.digest(size), slow)) == {expected}
            others_are_served(server)
            for wire in slow:
                assert wire.get("/next").reply().text == "hello GET /next"
            assert 1 <= int(slow[0].get("/crowded").reply().text) <= allowed
        eventually(lambda: has_its_threads(worker, options))
        assert server.processes() == [worker]

    def test_a_client_that_never_reads_its_stream_is_given_up_and_so_is_its_thread(
        self, options: list[str], start: Callable[..., LiveServer], tmp_path: Path
    ):
        server = start("--response-buffer-size", "64KB", "--response-file-size", "0", "--write-timeout", "1s")
        (worker,) = server.processes()
        closed = tmp_path / "closed"
        with ExitStack() as stack:
            for _ in range(12):
                stack.enter_context(Wire(server, SMALL)).get(f"/endless?path={closed}").head()
            others_are_served(server)
            eventually(lambda: closed.exists() and closed.read_text() == "x" * 12)
        others_are_served(server)
        eventually(lambda: has_its_threads(worker, options))


def threads_in_the_application(options: list[str]) -> int:
    """How many of them the worker class allows, if that is what it counts."""
    return int(options[-1]) if "--threads" in options else 1


def has_greenlets(options: list[str]) -> bool:
    """Do requests that wait need no thread?"""
    return "gevent" in options or "eventlet" in options


def one_after_the_other(options: list[str]) -> str:
    """The page that keeps a thread of the worker from other requests for as long as is said."""
    return "busy" if has_greenlets(options) else "nap"


def has_its_threads(worker: int, options: list[str]) -> bool:
    """And no others: one more than run the application watches, unless greenlets do it all."""
    threads = len(os.listdir(f"/proc/{worker}/task"))
    return threads == 1 if has_greenlets(options) else threads == threads_in_the_application(options) + 1


def deleted_bytes(pid: int) -> int:
    """The size of all files without a name that a process has open."""
    sizes: dict[int, int] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        link = f"/proc/{pid}/fd/{name}"
        try:
            if os.readlink(link).endswith("(deleted)"):
                found = os.stat(link)
                sizes[found.st_ino] = found.st_size
        except OSError:
            pass  # closed meanwhile
    return sum(sizes.values())


class TestBusyTimes:
    def test_a_burst_of_ordinary_requests_is_not_taken_for_a_hang(
        self, options: list[str], start: Callable[..., LiveServer]
    ):
        """Together they take longer than ``timeout``, and none of them does."""
        page = one_after_the_other(options)
        server = start("--timeout", "2s")
        (worker,) = server.processes()
        with ExitStack() as stack:
            wires = [stack.enter_context(Wire(server)) for _ in range(80)]
            for wire in wires:
                wire.get().reply()
            for wire in wires:
                wire.get(f"/{page}/60")
            for wire in wires:
                assert wire.reply().text == "slept 60 ms"
        assert server.processes() == [worker]

    def test_signals_are_heard_in_the_middle_of_a_burst(self, options: list[str], start: Callable[..., LiveServer]):
        server = start()
        page = one_after_the_other(options)
        nap = 60 * threads_in_the_application(options)  # all together more than 3 s, whatever the number of threads
        with ExitStack() as stack:
            wires = [stack.enter_context(Wire(server)) for _ in range(60)]
            for wire in wires:
                wire.get(f"/{page}/{nap}")
            wires[0].reply()
            server.process.terminate()
            replies = [wire.reply() for wire in wires[1:]]
            assert [reply.text for reply in replies] == [f"slept {nap} ms"] * 59
            assert "close" in [reply.headers.get("connection") for reply in replies]
        assert server.wait() == 0

    def test_chunks_of_one_byte_hold_up_nobody(self, start: Callable[..., LiveServer]):
        server = start()
        small = b"1\r\nx\r\n" * 60_000
        with ExitStack() as stack:
            for _ in range(6):
                wire = stack.enter_context(Wire(server))
                wire.get("/digest", "Transfer-Encoding: chunked", method="POST").sock.settimeout(0.2)
                try:
                    wire.sock.sendall(small)
                except TimeoutError:
                    pass
            began = time.monotonic()
            others_are_served(server, 5)
            assert time.monotonic() - began < 2

    def test_what_a_client_sends_behind_its_last_request_does_not_destroy_the_answer(self, server: LiveServer):
        size = 100_000
        for _ in range(3):
            with Wire(server, SMALL) as wire:
                wire.get(f"/tardy/{size}", "Connection: close").send(b"\r\n")
                assert len(wire.reply().body) == size


class TestStreams:
    def test_a_block_arrives_before_the_next_one_is_made(self, wire: Wire, gates: Callable[[], Gate]):
        gate = gates()
        wire.get(f"/blocks?path={gate.path}").head()
        assert wire.chunk() == b"first"
        gate.open()
        assert wire.chunk() == b"second"
        assert wire.chunk() == b""

    def test_no_finished_answer_waits_behind_a_slow_request(self, server: LiveServer, gates: Callable[[], Gate]):
        """Three requests are ready at once; the second of them takes its time."""
        before, slow = gates(), gates()
        with Wire(server) as first, Wire(server) as second, Wire(server) as third:
            for wire in (first, second, third):
                wire.get().reply()
            first.get(f"/gate?path={before.path}")
            before.wait_until_reached()
            second.get("/quick")
            third.get(f"/gate?path={slow.path}")
            before.open()
            assert first.reply().text == "through the gate"
            slow.wait_until_reached()
            assert second.reply().text == "hello GET /quick"
            slow.open()
            assert third.reply().text == "through the gate"

    def test_threads_serve_others_while_some_are_in_the_application(
        self, worker_class: str, server: LiveServer, gates: Callable[[], Gate]
    ):
        if worker_class == "sync":
            pytest.skip("sync runs one request at a time")
        waiting = [gates() for _ in range(3)]
        with ExitStack() as stack:
            slow = [stack.enter_context(Wire(server)) for _ in waiting]
            for wire, gate in zip(slow, waiting, strict=True):
                wire.get(f"/gate?path={gate.path}")
            for gate in waiting:
                gate.wait_until_reached()
            others_are_served(server, 20)
            for wire, gate in zip(slow, waiting, strict=True):
                gate.open()
                assert wire.reply().text == "through the gate"


class TestChangingPace:
    """With several threads the way of waiting changes with the pace of the application."""

    def test_nobody_is_forgotten_when_quick_and_slow_requests_alternate(self, server: LiveServer):
        def talk(number: int) -> list[str]:
            answers = []
            with Wire(server) as wire:
                for turn in range(30):
                    slow = f"/nap/{(number + turn) % 4}" if turn % 10 < 5 else "/quick"
                    wire.send(request("/first") + request(slow))
                    answers.append(wire.reply().text)
                    wire.get("/last")
                    answers.extend(wire.reply().text for _ in range(2))
            return answers

        with ThreadPoolExecutor(12) as clients:
            for number, answers in enumerate(clients.map(talk, range(12))):
                for turn in range(30):
                    quick = turn % 10 >= 5
                    assert answers[3 * turn : 3 * turn + 3] == [
                        "hello GET /first",
                        "hello GET /quick" if quick else f"slept {(number + turn) % 4} ms",
                        "hello GET /last",
                    ]


@pytest.mark.usefixtures("no_descriptor_is_left")
class TestClientsThatGo:
    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_the_iterable_is_closed_when_its_client_is_gone(self, server: LiveServer, tmp_path: Path, how: str):
        log = tmp_path / "closed"
        for count in range(1, 6):
            wire = Wire(server)
            wire.get(f"/endless?path={log}").head()
            assert wire.chunk() == BLOCK
            getattr(wire, how)()
            eventually(lambda count=count: log.exists() and log.read_text() == "x" * count)
        others_are_served(server)

    def test_a_client_that_goes_while_a_file_is_sent(self, server: LiveServer, tmp_path: Path):
        path = tmp_path / "data"
        path.write_bytes(BLOCK * 400)
        for _ in range(5):
            wire = Wire(server, SMALL)
            wire.get(f"/file?path={path}").head()
            wire.reset()
        others_are_served(server)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"GET / HTTP",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            request("/echo", "Content-Length: 1000000", method="POST", body=b"abc"),
            request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"3\r\na"),
            request("/echo", "Expect: 100-continue", "Content-Length: 5", method="POST"),
            request("/"),
            request("/") * 100,
            request("/whole/3000000"),
            request("/big/30000000"),
            request("/late"),
            request("/fail"),
            b"NONSENSE\r\n\r\n",
        ],
    )
    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_they_leave_nothing_behind(self, server: LiveServer, data: bytes, how: str):
        for _ in range(5):
            wire = Wire(server)
            wire.send(data)
            getattr(wire, how)()
        others_are_served(server, 3)

    def test_a_client_that_goes_before_its_request_is_run(self, server: LiveServer, gates: Callable[[], Gate]):
        gate = gates()
        with Wire(server) as first:
            first.get(f"/gate?path={gate.path}")
            gate.wait_until_reached()
            for _ in range(10):
                gone = Wire(server)
                gone.get("/whole/100000")
                gone.reset()
            gate.open()
            assert first.reply().status == 200
        others_are_served(server)


class TestCrowds:
    def test_500_idle_connections_disturb_nobody(self, server: LiveServer):
        with ExitStack() as stack:
            idle = [stack.enter_context(Wire(server)) for _ in range(500)]
            for number, wire in enumerate(idle):
                if number % 3 == 0:
                    wire.get("/idle").reply()
                elif number % 3 == 1:
                    wire.send(b"GET /half HTTP/1.1\r\nHo")
            others_are_served(server, 50)
            for wire in idle[::3]:
                assert wire.get("/again").reply().text == "hello GET /again"
            for wire in idle[1::3]:
                assert wire.send(b"st: a\r\n\r\n").reply().text == "hello GET /half"
            for wire in idle[2::3]:
                assert wire.get("/first").reply().text == "hello GET /first"

    def test_100_dripping_bodies_disturb_nobody(self, server: LiveServer):
        with ExitStack() as stack:
            slow = [stack.enter_context(Wire(server)) for _ in range(100)]
            for wire in slow:
                wire.send(request("/echo", "Content-Length: 5", method="POST"))
            for byte in b"abcd":
                for wire in slow:
                    wire.send(bytes([byte]))
                others_are_served(server, 3)
            for wire in slow:
                assert wire.send(b"e").reply().body == b"abcde"


class TestDeadlines:
    """Each with a limit of one second; the server looks about once a second."""

    @pytest.fixture
    def hasty(self, start: Callable[..., LiveServer]) -> LiveServer:
        return start(
            *("--head-timeout", "1", "--body-timeout", "1", "--write-timeout", "1", "--keep-alive", "1"),
        )

    def test_each_kind_of_waiting_has_an_end(self, hasty: LiveServer):
        """All at the same time, since each takes a second or two."""
        (worker,) = hasty.processes()
        with Wire(hasty) as wire:
            wire.get().reply()
        before = eventually(lambda: descriptors(worker))
        with ExitStack() as stack:

            def connect(receive_buffer: int = 0) -> Wire:
                return stack.enter_context(Wire(hasty, receive_buffer))

            half_head = connect().send(b"GET / HTTP/1.1\r\nHost: ")
            second_head = connect().get()
            second_head.reply()
            second_head.send(b"GET / HT")
            half_length = connect().send(request("/echo", "Content-Length: 5", method="POST", body=b"abc"))
            half_chunk = connect().send(request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"3\r\na"))
            expecting = connect().send(request("/echo", "Expect: 100-continue", "Content-Length: 5", method="POST"))
            assert expecting.head().status == 100
            silent = connect()
            idle = connect().get()
            assert idle.reply().status == 200
            unread = [connect(SMALL).get(f"/{page}/30000000") for page in ("whole", "big", "chunked")]
            for wire in (half_head, second_head, half_length, half_chunk, expecting):
                reply = wire.reply()
                assert (reply.status, reply.headers["connection"]) == (408, "close")
                assert wire.rest() == b""
            for wire in (silent, idle):
                assert wire.rest() == b"", "nobody asked, nobody is answered"
            eventually(lambda: descriptors(worker) <= before, patience=10)
            for wire in unread:
                assert len(wire.rest()) < 30000000

    def test_who_goes_on_is_not_cut(self, worker_class: str, hasty: LiveServer, gates: Callable[[], Gate]):
        """A request under way is no idle connection, however long the application takes."""
        gate = gates()
        with Wire(hasty) as busy, Wire(hasty, SMALL) as idle:
            idle.get().reply()
            busy.get(f"/blocks?path={gate.path}").head()
            assert busy.chunk() == b"first"
            gate.wait_until_reached()
            if worker_class != "sync":  # whose only thread is at the gate, and looks at no deadline
                assert idle.rest() == b"", "the deadlines have passed"
            gate.open()
            assert busy.chunk() == b"second"


def test_a_server_that_drains_answers_who_is_there_and_ends(
    start: Callable[..., LiveServer], gates: Callable[[], Gate]
):
    server = start()
    gate = gates()
    with Wire(server) as busy, Wire(server) as idle, Wire(server) as half:
        idle.get().reply()
        half.send(b"GET /half HTTP/1.1\r\nHo")
        others_are_served(server, 1)
        busy.get(f"/blocks?path={gate.path}").head()
        gate.wait_until_reached()
        server.process.terminate()
        server.read_until("SIGTERM")
        gate.open()
        assert [busy.chunk() for _ in range(3)] == [b"first", b"second", b""]
        assert half.send(b"st: a\r\n\r\n").reply().text == "hello GET /half"
        assert idle.rest() == b""
    assert server.wait() == 0


def test_a_client_gone_in_a_stream_does_not_keep_the_server_from_ending(
    start: Callable[..., LiveServer], tmp_path: Path
):
    server = start()
    log = tmp_path / "closed"
    wire = Wire(server)
    wire.get(f"/endless?path={log}").head()
    wire.reset()
    eventually(log.exists)
    server.process.terminate()
    assert server.wait(10) == 0


def test_a_connection_that_the_kernel_gave_up_is_no_error(server: LiveServer, worker: int):
    """Clients that are gone before they are accepted."""
    for _ in range(50):
        sock = socket.create_connection(server.address)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    others_are_served(server)
    assert server.processes() == [worker]
