"""How the workers share new connections: evenly while all take some, and without waiting for one that does not."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack

import pytest
from live import PATIENCE, eventually
from scenes import BOTH, ask, at_work

from server_core.engine.clients import AT_ONCE, SPREAD, Clients
from server_core.scoreboard import Score, Scoreboard

REQUEST = b"GET / HTTP/1.1\r\nHost: house\r\n\r\n"


def answered_by(visitor: socket.socket) -> int:
    """Ask on a kept connection; the process that answers says its number."""
    visitor.sendall(REQUEST)
    return receive_answer(visitor)


def receive_answer(visitor: socket.socket) -> int:
    answer = b""
    while b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"):
        data = visitor.recv(4096)
        assert data, f"the connection ended after {answer!r}"
        answer += data
    return int(answer.rpartition(b"\r\n\r\n")[2])


# -- what the workers know of each other


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard(8)


def test_who_is_alone_has_nobody_to_compare_with(board: Scoreboard):
    share = board.share(1)
    share.tell(100)
    assert share.fewest() is None


def test_the_fewest_are_those_of_another_worker_that_takes_connections(board: Scoreboard):
    shares = [board.share(slot) for slot in (1, 2, 3)]
    for share, connections in zip(shares, (5, 7, 0), strict=True):
        share.tell(connections)
    assert [share.fewest() for share in shares] == [0, 0, 5]
    shares[2].retire()
    assert [share.fewest() for share in shares] == [7, 5, 5]
    board.clear(1)
    assert shares[1].fewest() is None


def test_signs_of_life_and_connections_do_not_touch_each_other(board: Scoreboard):
    board.share(2).tell(2**32 - 2)
    board.write(2, Score(1, 2.0, 3.0, 4))
    board.write(3, Score(2**40, 2.0, 3.0, 2**50))
    assert board.share(1).fewest() == 2**32 - 2
    board.share(1).tell(0)
    assert board.read(2) == (1, 2.0, 3.0, 4)


def test_a_worker_takes_the_more_the_fewer_it_has(board: Scoreboard):
    other, clients = board.share(1), Clients(1000, board.share(2))
    assert clients.next_share() == AT_ONCE  # there is no other
    other.tell(0)
    assert clients.next_share() == SPREAD
    other.tell(10)
    assert clients.next_share() == SPREAD + 11
    other.tell(500)
    assert clients.next_share() == AT_ONCE
    other.retire()
    assert clients.next_share() == AT_ONCE


def test_who_has_retired_is_compared_with_no_more_whatever_it_still_tells(board: Scoreboard):
    one, other = board.share(1), board.share(2)
    other.tell(3)
    other.retire()
    other.tell(2)
    assert one.fewest() is None


# -- on real workers


def test_connections_that_come_together_are_shared_by_all_workers(serve):
    server = serve("-w", "2", "simple:app")
    eventually(lambda: len({server.get().text for _ in range(8)}) == 2)  # both are ready
    with ExitStack() as stack:
        visitors = [stack.enter_context(server.connect()) for _ in range(64)]
        held = Counter(answered_by(visitor) for visitor in visitors)
    assert sorted(held) == sorted(at_work(server))
    assert max(held.values()) <= 64 / 2 * 1.2, held


@BOTH
def test_idle_workers_take_turns_also_with_threads(serve, kind):
    """Each client has had its answer before the next one comes, so none of the workers is busy."""
    server = serve("-w", "3", *kind, "simple:app")
    eventually(lambda: len({server.get().text for _ in range(12)}) == 3)  # all are ready
    with ExitStack() as stack:
        held = Counter(answered_by(stack.enter_context(server.connect())) for _ in range(45))
    assert sorted(held) == sorted(at_work(server))
    assert max(held.values()) <= 45 / 3 + SPREAD, held


def test_a_worker_that_takes_none_holds_up_nobody(serve, gate):
    """It hangs in a request, and has far fewer connections than the other."""
    server = serve("-w", "2", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    stuck = gate.wait()
    with ExitStack() as stack:
        began = time.monotonic()
        visitors = [stack.enter_context(server.connect()) for _ in range(200)]
        assert stuck not in {answered_by(visitor) for visitor in visitors}
        assert time.monotonic() - began < 3
    gate.open()
    assert answer.result().text == str(stuck)


def test_newcomers_are_served_soon_by_a_busy_worker_while_another_one_hangs(serve, gate):
    """Turns of the busy one take a third of a second; it has many more connections than the one that hangs."""
    server = serve("-w", "2", "gate:app", env=gate.env)
    ask(server, "/gate")
    gate.wait()
    done = threading.Event()
    with ExitStack() as stack:
        kept = [stack.enter_context(server.connect()) for _ in range(30)]

        def keep_busy() -> None:
            while not done.is_set():
                for visitor in kept:
                    visitor.sendall(b"GET /nap HTTP/1.1\r\nHost: house\r\n\r\n")
                for visitor in kept:
                    receive_answer(visitor)

        thread = threading.Thread(target=keep_busy)
        thread.start()
        try:
            newcomers = [stack.enter_context(server.connect()) for _ in range(20)]
            began = time.monotonic()
            for newcomer in newcomers:
                newcomer.sendall(REQUEST)
            for newcomer in newcomers:
                receive_answer(newcomer)
            assert time.monotonic() - began < 3
        finally:
            done.set()
            thread.join()
    gate.open()


def test_a_worker_with_two_listeners_and_no_room_drains(serve):
    """Whoever is closed to make room for late clients must not bring back a listener that is closed already."""
    server = serve("-w", "1", "-b", "127.0.0.1:0", "--worker-connections", "8", "gate:app")  # a second address
    first, second = (int(port) for port in dict.fromkeys(re.findall(r"http://127\.0\.0\.1:(\d+)", server.text)))
    with ExitStack() as stack:

        def visit(port: int, path: str) -> socket.socket:
            visitor = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            visitor.sendall(f"GET {path} HTTP/1.1\r\nHost: house\r\n\r\n".encode())
            return visitor

        for visitor in [visit(first, "/") for _ in range(7)]:
            receive_answer(visitor)
        busy = visit(first, "/long_nap")
        eventually(lambda: "long nap" in server.text)
        server.signal(signal.SIGTERM)
        server.read_until("Received SIGTERM")
        for visitor in [visit(second, "/") for _ in range(6)]:
            receive_answer(visitor)
        receive_answer(busy)
    assert server.wait() == 0
    assert "CRITICAL" not in server.text
