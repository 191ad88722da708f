"""Knows that whatever the grammar makes is understood as it was meant, in any pieces; what is damaged, safely.

Each property is tried on requests that hypothesis makes (``grammar``); ``test_request_corpus`` has those made by hand.
"""

from __future__ import annotations

from grammar import DAMAGED, STREAMS, Written, pipelines
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from request_reader import Outcome, byte_by_byte, cut, read

from server_core.settings import Limits

SLOWLY = [HealthCheck.too_slow, HealthCheck.data_too_large]
some = settings(max_examples=80, deadline=None, suppress_health_check=SLOWLY)
many = settings(max_examples=200, deadline=None, suppress_health_check=SLOWLY)

STATUSES = {400, 413, 414, 417, 431, 501, 505}
# Limits that what is generated can meet.
NARROW = Limits(
    limit_request_line=64,
    limit_request_fields=6,
    limit_request_field_size=64,
    limit_request_head=256,
    limit_request_body=32,
    limit_request_trailers=32,
    limit_chunk_extensions=16,
)
PLACES = st.sets(st.integers(1, 600), max_size=10)


@many
@given(written=pipelines())
def test_what_the_grammar_allows_is_understood_as_it_was_meant(written: list[Written]):
    expected = tuple(each.request for each in written)
    end = "" if expected[-1].keep_alive else "end"
    assert read([b"".join(each.data for each in written)]) == Outcome(expected, 0, end)


@some
@given(written=pipelines())
def test_a_request_in_each_piece_is_the_same_as_all_in_one(written: list[Written]):
    # Here, a head that repeats an earlier one takes a shorter way.
    twice = [each.data for each in written for _ in range(2)]
    assert read(twice) == read([b"".join(twice)])


@some
@given(data=STREAMS, places=PLACES)
def test_no_cuts_of_a_right_stream_make_a_difference(data: bytes, places: set[int]):
    assert read(cut(data, places)) == read(byte_by_byte(data)) == read([data])


@many
@given(data=DAMAGED, places=PLACES, limits=st.sampled_from([Limits(), NARROW]))
@example(data=b"GET /" + b"x" * 51 + b" HTTP/1.1\n", places=set(), limits=NARROW)
def test_of_a_damaged_stream_comes_the_same_in_any_pieces_and_nothing_but_a_refusal(
    data: bytes, places: set[int], limits: Limits
):
    whole = read([data], limits)  # another exception than ProtocolError is not caught there
    assert whole.refused in STATUSES | {0}
    assert read(cut(data, places), limits) == whole
    assert read(byte_by_byte(data), limits) == whole


@some
@given(data=DAMAGED, more=STREAMS)
def test_nothing_is_read_behind_an_error_or_a_last_request(data: bytes, more: bytes):
    whole = read([data])
    if whole.open == "end":
        assert read([data + more]) == whole
        assert read([data, more]) == whole


@some
@given(data=DAMAGED, place=st.integers(0, 600))
def test_what_was_accepted_or_refused_stays_so_whatever_follows(data: bytes, place: int):
    before, after = read([data[:place]]), read([data])
    assert after.requests[: len(before.requests)] == before.requests
    assert not before.refused or after == before
