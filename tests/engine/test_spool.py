"""Knows that a body is given back as it came, however it came and wherever it was kept, and that it is counted."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_core.engine import spool as module
from server_core.engine.budget import Budget
from server_core.engine.spool import Pieces, Spool

KB = 1024

steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 40)),
        st.tuples(st.just("readline"), st.integers(-1, 40)),
        st.tuples(st.just("seek"), st.integers(0, 100)),
        st.tuples(st.just("readlines"), st.integers(-1, 40)),
        st.tuples(st.just("peekless"), st.integers(0, 40)),
    ),
    max_size=8,
)


def take(file: io.BufferedIOBase, step: tuple[str, int]) -> object:
    kind, number = step
    if kind == "peekless":
        buffer = bytearray(number)
        return file.readinto(buffer), bytes(buffer)
    return getattr(file, kind)(number)


@given(st.lists(st.binary(min_size=1, max_size=20).map(lambda piece: piece.replace(b"a", b"\n"))), steps)
def test_pieces_read_like_the_whole(pieces, path):
    ours, theirs = io.BufferedReader(Pieces(pieces), 16), io.BufferedReader(io.BytesIO(b"".join(pieces)), 16)
    for step in path:
        assert take(ours, step) == take(theirs, step)
    assert ours.read() == theirs.read()


def test_a_position_before_the_beginning_is_refused():
    with pytest.raises(ValueError, match="negative"):
        Pieces([b"abc"]).seek(-1)


@pytest.mark.parametrize("limit", [0, 100 * KB, 100_000 * KB])
@pytest.mark.parametrize("sizes", [[1] * 3000, [20 * KB] * 7, [300 * KB] * 8, [1, 50 * KB, 1, 1, 1200 * KB], []])
def test_a_body_comes_back_whole_from_memory_or_file_and_everything_is_given_back(limit, sizes):
    budget = Budget(50_000 * KB, 50_000 * KB)
    spool = Spool(limit, budget)
    sent = b"".join(bytes([number % 251]) * size for number, size in enumerate(sizes))
    position = 0
    for size in sizes:
        spool.write(sent[position : position + size])
        position += size
    assert spool.size == len(sent) == budget.memory + budget.space
    file = spool.whole()
    assert file.read() == sent
    assert file.read() == b""
    file.seek(0)
    assert b"".join(iter(lambda: file.read(7 * KB), b"")) == sent
    spool.close()
    assert (budget.memory, budget.space) == (0, 0)
    assert file.closed


def test_many_small_pieces_do_not_cost_more_than_their_bytes():
    """A client may send its body byte by byte; what is counted has to be what is used."""
    spool = Spool(100_000 * KB, Budget(100_000 * KB, 0))
    for _ in range(100_000):
        spool.write(b"x")
    assert len(spool._pieces) <= 100_000 / module.SMALL_PIECE + 1


def test_a_small_body_is_read_by_the_fastest_file_there_is():
    spool = Spool(100 * KB, Budget(100 * KB, 0))
    spool.write(b"x" * 50 * KB)
    assert type(spool.whole()) is io.BytesIO


def test_when_the_memory_of_all_is_used_up_a_body_moves_to_a_file_and_stays_whole():
    budget = Budget(100 * KB, 1000 * KB)
    first, second = Spool(100 * KB, budget), Spool(100 * KB, budget)
    first.write(b"a" * 60 * KB)
    second.write(b"b" * 30 * KB)
    second.write(b"c" * 30 * KB)
    assert (budget.memory, budget.space) == (60 * KB, 60 * KB)
    assert second.whole().read() == b"b" * 30 * KB + b"c" * 30 * KB
    second.close()
    assert (budget.memory, budget.space) == (60 * KB, 0)


def test_no_room_for_a_file_is_an_error_that_occupies_nothing_when_it_is_closed():
    budget = Budget(0, 10 * KB)
    spool = Spool(100 * KB, budget)
    spool.write(b"x" * 8 * KB)
    with pytest.raises(OSError, match="limit_temp_space"):
        spool.write(b"x" * 8 * KB)
    spool.close()
    assert (budget.memory, budget.space) == (0, 0)
