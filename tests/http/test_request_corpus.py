"""Knows that the same bytes mean the same however they are cut, and that nothing but a refusal can come of bad ones."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from request_corpus import CASES, CODINGS, MORE, Case
from request_reader import Outcome, byte_by_byte, cut, read

from server_core.settings import Limits

# Limits that random bytes can meet.
NARROW = Limits(limit_request_line=64, limit_request_fields=4, limit_request_field_size=64, limit_request_head=256)


def told(outcome: Outcome) -> int | list[str]:
    """An outcome as the corpus writes it."""
    if outcome.refused:
        return outcome.refused
    requests = []
    for request in outcome.requests:
        target = request.path + ("?" + request.query if request.query else "")
        body = " " + request.body.decode("latin-1") if request.body else ""
        requests.append(f"{request.method} {target}{body}")
    return requests + [MORE] * (outcome.open in ("head", "body"))


def test_the_corpus_names_each_case_once():
    names = [name for name, _, _ in CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", CASES, ids=[name for name, _, _ in CASES])
class TestCorpus:
    def test_a_request_that_comes_whole_is_understood_or_refused(self, case: Case):
        _, data, expected = case
        assert told(read([data])) == expected

    def test_byte_by_byte_makes_no_difference(self, case: Case):
        _, data, _ = case
        assert read(byte_by_byte(data)) == read([data])

    def test_no_single_cut_makes_a_difference(self, case: Case):
        _, data, _ = case
        whole = read([data])
        assert [place for place in range(1, len(data)) if read(cut(data, [place])) != whole] == []


@given(case=st.sampled_from(CASES), places=st.sets(st.integers(1, 300), max_size=12))
def test_no_cuts_make_a_difference(case: Case, places: set[int]):
    _, data, _ = case
    assert read(cut(data, places)) == read([data])


def test_what_was_accepted_before_an_error_stays_accepted():
    good = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    outcome = read([good % 1 + good % 2 + b"\x00" + good % 3])
    assert [request.path for request in outcome.requests] == ["/1", "/2"]
    assert (outcome.refused, outcome.open) == (400, "end")


def test_a_length_and_a_chunked_body_give_the_application_the_same_bytes():
    by_length = read([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef"])
    in_chunks = read(
        [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n4;x\r\ncdef\r\n0\r\n\r\n"]
    )
    assert by_length.requests[0].body == in_chunks.requests[0].body == b"abcdef"


# Bytes that are more often nearly right than plain random ones are.
WORDS = st.sampled_from(
    [
        *(b"GET", b"POST", b" ", b"/", b"*", b"http://a/", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n", b"\r", b"\n"),
        *(b"Host: a\r\n", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"Connection: close\r\n", b":"),
        *(b"Expect: 100-continue\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"0", b"3", b"abc", b";", b"=", b'"', b"\\"),
        *(b"0\r\n\r\n", b"3\r\nabc\r\n", b"\t", b"\x00", b"\x7f", b"\x80", b"\xff", b"x" * 60, b"y" * 70, b"a:b\r\n"),
    ]
)
NEARLY = st.lists(st.one_of(WORDS, st.binary(max_size=4)), max_size=24).map(b"".join)


@settings(max_examples=400)
@given(data=st.one_of(st.binary(max_size=200), NEARLY), places=st.sets(st.integers(1, 400), max_size=8))
@example(data=b"GET /" + b"x" * 50 + b" HTTP/1.1\r\nHost: a\r\n\r\n", places={65})
@example(data=b"\x16" + b"x" * 100, places={1})
def test_any_bytes_give_the_same_outcome_in_any_pieces_and_no_other_exception(data: bytes, places: set[int]):
    whole = read([data], NARROW)
    assert read(cut(data, places), NARROW) == whole
    assert read(byte_by_byte(data), NARROW) == whole
    assert whole.refused in (0, 400, 414, 417, 431, 501, 505)


@settings(max_examples=300)
@given(
    case=st.sampled_from(CASES),
    place=st.integers(0, 300),
    damage=st.sampled_from(
        [b"", b"\x00", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b";", b",", b"\xff", b"0", b"\x0b"]
    ),
    eaten=st.integers(0, 3),
)
def test_a_damaged_request_is_still_the_same_in_any_pieces(case: Case, place: int, damage: bytes, eaten: int):
    _, data, _ = case
    place = min(place, len(data))
    data = data[:place] + damage + data[place + eaten :]
    assert read(byte_by_byte(data)) == read([data])


PARTS = [
    st.sampled_from(["", "\r\n", "\r\n\r\n"]),
    st.sampled_from(["GET ", "PUT ", "GET", "GE", "OPTIONS ", "\r\nGE", "GET  "]),
    st.sampled_from(["/", "/a?b", "/aa", "*", "http://b/", "/\x7f", "/ ", "", "/b#c", "/" + "x" * 39, "/" + "x" * 60]),
    st.sampled_from([" HTTP/1.1\r\n", " HTTP/1.0\r\n", "a HTTP/1.1\r\n", " HTTP/1.1\n", "HTTP/1.1\r\n"]),
    st.sampled_from(["Host: a\r\n", "Host: a\r\nX: " + "y" * 55 + "\r\n", "", "Host: a\r\nContent-Length: 0\r\n"]),
    st.sampled_from(["\r\n", "\r\n\r\n", "\n", "Y: " + "z" * 55 + "\r\n\r\n"]),
]


@st.composite
def similar_heads(draw: st.DrawFn) -> list[bytes]:
    """Heads of which each differs from the one before in a part or two."""
    parts = ["", "GET ", "/", " HTTP/1.1\r\n", "Host: a\r\n", "\r\n"]
    heads = []
    for _ in range(draw(st.integers(2, 4))):
        for index in draw(st.sets(st.integers(0, len(parts) - 1), max_size=2)):
            parts[index] = draw(PARTS[index])
        heads.append("".join(parts).encode("latin-1"))
    return heads


@settings(max_examples=600)
@given(heads=similar_heads())
@example(heads=[b"\r\nGET /abc HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\nGE/xbc HTTP/1.1\r\nHost: a\r\n\r\n"])
@example(
    heads=[
        b"GET %s HTTP/1.1\r\nHost: a\r\nX: %s\r\nY: %s\r\n\r\n" % (target, b"y" * 60, b"z" * 60)
        for target in (b"/", b"/" + b"x" * 40)
    ]
)
def test_a_head_that_repeats_an_earlier_one_is_judged_like_any_other(heads: list[bytes]):
    narrow = Limits(limit_request_line=64, limit_request_field_size=64, limit_request_head=160)
    assert read(heads, narrow) == read(byte_by_byte(b"".join(heads)), narrow)


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    extension=st.sampled_from([b"", b";a", b";a=b", b' ; a = "b\\"c"']),
    trailers=st.sampled_from([b"", b"X-Sum: 1\r\n"]),
    places=st.sets(st.integers(1, 400), max_size=6),
)
def test_a_chunked_body_is_the_sum_of_its_chunks(
    pieces: list[bytes], extension: bytes, trailers: bytes, places: set[int]
):
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    following = b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    outcome = read(cut(head + chunks + b"0\r\n" + trailers + b"\r\n" + following, places))
    assert [(request.path, request.body) for request in outcome.requests] == [
        ("/", b"".join(pieces)),
        ("/after", b""),
    ]


def test_every_refusal_of_a_chunked_body_is_a_client_error():
    assert {expected for _, _, expected in CODINGS if isinstance(expected, int)} <= {400, 413, 431, 501}
