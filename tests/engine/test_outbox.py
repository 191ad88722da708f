"""Knows that what an outbox occupies is counted, and given back, however its files fare."""

from __future__ import annotations

import errno
import socket
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from server_core.engine.budget import Budget
from server_core.engine.outbox import Outbox
from server_core.settings import Timeouts

KB = 1024


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def make_outbox(sock: socket.socket, budget: Budget) -> Outbox:
    return Outbox(sock, 10 * KB, 10_000 * KB, Timeouts(), budget, lambda outbox: nullcontext())


def test_a_file_that_cannot_be_made_occupies_nothing(pair, monkeypatch, tmp_path):
    budget = Budget(10 * KB, 16_000 * KB)
    outbox = make_outbox(pair[0], budget)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        outbox.add(b"x" * 100 * KB)
    assert (budget.memory, budget.space, outbox.size) == (0, 0, 0)
    monkeypatch.undo()
    outbox.add(b"x" * 100 * KB)
    assert budget.space == 100 * KB
    outbox.close()
    assert budget.space == 0


def test_more_than_its_part_of_the_space_is_refused_and_occupies_nothing(pair):
    budget = Budget(10 * KB, 16 * KB)
    outbox = make_outbox(pair[0], budget)
    with pytest.raises(OSError, match="no room for temporary files") as error:
        outbox.add(b"x" * 100 * KB)
    assert error.value.errno == errno.ENOSPC
    assert (budget.memory, budget.space) == (0, 0)


@pytest.mark.parametrize(("count", "could"), [(10 * KB, True), (1000 * KB, True), (1000 * KB + 1, False)])
def test_it_knows_what_could_never_have_room(pair, count, could):
    assert make_outbox(pair[0], Budget(10 * KB, 16_000 * KB)).could_hold(count) is could


def test_what_a_part_keeps_alive_is_counted_as_a_whole(pair):
    """A view of the last bytes of a large answer keeps all of it in memory."""
    budget = Budget(100_000 * KB, 0)
    outbox = make_outbox(pair[0], budget)
    outbox.add(memoryview(b"x" * 2000 * KB)[1000 * KB :])
    assert budget.memory >= 2000 * KB
    while outbox.size > 500 * KB:
        outbox.flush()
        pair[1].recv(100 * KB)
    assert budget.memory >= 2000 * KB, "a part of it is as expensive as the whole"
    outbox.close()
    assert budget.memory == 0


def test_a_small_rest_of_a_large_answer_is_copied_and_counted_as_what_it_is(pair):
    budget = Budget(100_000 * KB, 0)
    make_outbox(pair[0], budget).add(memoryview(b"x" * 2000 * KB)[1900 * KB :])
    assert 100 * KB <= budget.memory < 110 * KB


def test_many_small_pieces_are_counted_with_what_each_costs(pair):
    budget = Budget(10_000 * KB, 0)
    outbox = Outbox(pair[0], 10_000 * KB, 0, Timeouts(), budget, lambda outbox: nullcontext())
    for _ in range(1000):
        outbox.add(b"a,b,c\n")
    assert budget.memory >= 1000 * 200
    while outbox.size:
        outbox.flush()
        pair[1].recv(100 * KB)
    assert budget.memory == 0
