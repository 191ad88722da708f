"""Knows where a request body ends, and where a chunked one can no longer be trusted."""

from __future__ import annotations

import pytest
from growth import TIMES, is_linear
from hypothesis import given
from hypothesis import strategies as st
from request_reader import byte_by_byte, cut

from server_core.errors import ProtocolError
from server_core.http.framing import MAX_SIZE_LINE, ChunkedBody, LengthBody, begin_body
from server_core.http.policy import CHUNKED
from server_core.settings import Limits

LIMITS = Limits()
NARROW = Limits(limit_request_fields=3, limit_request_field_size=64, limit_request_body=20)


# What chunked bodies are made of.
FRAGMENTS = st.sampled_from(
    [
        b"\r\n",
        b"3\r\nabc\r\n",
        b"9\r\n123456789\r\n",
        b"0\r\n",
        b"0\r\n\r\n",
        b"A: b\r\n",
        b";x",
        b"=",
        b'"',
        b"f",
        b"\n",
    ]
)


def feed(data: bytes, limits: Limits = LIMITS, pieces: list[bytes] | None = None) -> tuple[bytes, bool, bytes]:
    """What a chunked body gives out, whether it is whole, and what it leaves."""
    body = ChunkedBody(limits)
    given_out = []
    rest = b""
    for piece in pieces if pieces is not None else [data]:
        if body.done:
            rest += piece
            continue
        given_out += body.feed(piece)
        rest += body.rest
    return b"".join(given_out), body.done, rest


def refusal(data: bytes, limits: Limits = LIMITS) -> int:
    statuses = set()
    for pieces in ([data], byte_by_byte(data)):
        with pytest.raises(ProtocolError) as caught:
            feed(data, limits, pieces)
        statuses.add(caught.value.status)
    assert len(statuses) == 1, "the way of cutting made a difference"
    return statuses.pop()


class TestLengthBody:
    def test_it_takes_as_many_bytes_as_it_was_told_and_leaves_the_rest(self):
        body = LengthBody(5)
        assert body.feed(b"abc") == [b"abc"]
        assert not body.done
        assert body.feed(b"defg") == [b"de"]
        assert body.done
        assert body.rest == b"fg"

    def test_a_body_that_ends_with_the_data_leaves_nothing(self):
        body = LengthBody(3)
        assert body.feed(b"abc") == [b"abc"]
        assert (body.done, body.rest) == (True, b"")

    @given(data=st.binary(min_size=1, max_size=60), size=st.integers(1, 60), places=st.sets(st.integers(1, 60)))
    def test_any_pieces_give_the_same_body(self, data: bytes, size: int, places: set[int]):
        body = LengthBody(size)
        given_out, rest = [], b""
        for piece in cut(data, places):
            if body.done:
                rest += piece
            else:
                given_out += body.feed(piece)
                rest += body.rest
        assert b"".join(given_out) == data[:size]
        assert rest == data[size:]
        assert body.done == (len(data) >= size)


class TestChunks:
    def test_chunks_are_put_together_and_what_follows_is_left(self):
        assert feed(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\nGET") == (b"abcde", True, b"GET")

    def test_a_piece_is_given_out_before_its_chunk_is_whole(self):
        body = ChunkedBody(LIMITS)
        assert body.feed(b"a\r\n01234") == [b"01234"]
        assert body.feed(b"5678") == [b"5678"]
        assert not body.done

    @pytest.mark.parametrize(
        "data", [b"", b"3", b"3\r", b"3\r\n", b"3\r\nabc", b"3\r\nabc\r", b"0\r\n", b"0\r\n\r", b"0\r\nA: b\r\n"]
    )
    def test_a_body_is_not_whole_before_its_last_line(self, data: bytes):
        assert not feed(data)[1]

    def test_sixteen_digits_are_enough_for_anybody(self):
        assert feed(b"0000000000000001\r\na\r\n0\r\n\r\n")[0] == b"a"
        assert refusal(b"00000000000000001\r\na\r\n0\r\n\r\n") == 400

    @pytest.mark.parametrize("ending", [b"\n", b"\rX", b"X\r\n", b"\n\r", b"  "])
    def test_data_ends_in_cr_lf_and_in_nothing_else(self, ending: bytes):
        assert refusal(b"1\r\na" + ending + b"0\r\n\r\n") == 400

    @given(data=st.lists(st.one_of(FRAGMENTS, st.binary(max_size=3)), max_size=12).map(b"".join))
    def test_any_bytes_are_a_body_or_a_refusal_and_cutting_makes_no_difference(self, data: bytes):
        def outcome(pieces: list[bytes]) -> object:
            try:
                return feed(data, NARROW, pieces)
            except ProtocolError as error:
                return error.status

        assert outcome([data]) == outcome(byte_by_byte(data))


class TestExtensions:
    @pytest.mark.parametrize(
        "extension",
        [
            *(b"", b";a", b";a=b", b";a;b;c", b";a=b;c=d", b" ;a", b"; a", b";a =b", b";a= b", b"\t;\ta\t=\tb"),
            *(b';a=""', b';a="b c;d=e"', b';a="\\""', b';a="\\\\"', b';a="\xe9"', b';a="\\\xe9"', b';a="\t"'),
        ],
    )
    def test_a_well_spelt_extension_is_ignored(self, extension: bytes):
        assert feed(b"1" + extension + b"\r\na\r\n0" + extension + b"\r\n\r\n") == (b"a", True, b"")

    @pytest.mark.parametrize(
        "extension",
        [
            *(
                b";",
                b";;a",
                b";a;",
                b";=b",
                b";a=",
                b";a==b",
                b";a b",
                b" ",
                b"\t",
                b";a ",
                b";a=b c",
                b"a=b,",
                b" a",
                b",a",
            ),
            *(b';a="', b';a="b', b';a="b"c', b'; "a"', b';a="\\"', b';a="\x00"', b';a="\x7f"', b';a="\\\n"'),
            *(b";a\x00", b";a\rb", b";\xe9", b";a=\xe9", b";a=(b)"),
        ],
    )
    def test_an_ill_spelt_extension_is_refused(self, extension: bytes):
        assert refusal(b"1" + extension + b"\r\na\r\n0\r\n\r\n") == 400

    def test_a_size_line_is_not_longer_than_its_limit(self):
        longest = b"1;" + b"a" * (MAX_SIZE_LINE - 4) + b"\r\n"
        assert feed(longest + b"x\r\n0\r\n\r\n")[1]
        assert refusal(longest[:2] + b"a" + longest[2:]) == 400
        assert refusal(b"1;" + b"a" * MAX_SIZE_LINE) == 400

    def test_the_extensions_of_a_body_have_a_limit_together(self):
        chunk = b"1;" + b"a" * 1023 + b"\r\nx\r\n"
        most = LIMITS.limit_chunk_extensions // 1024
        assert feed(chunk * most + b"0\r\n\r\n")[1]
        assert refusal(chunk * (most + 1)) == 400


class TestSize:
    def test_a_stated_length_beyond_the_limit_is_refused_before_the_body_comes(self):
        assert begin_body(20, NARROW).feed(b"x" * 20) == [b"x" * 20]
        with pytest.raises(ProtocolError) as caught:
            begin_body(21, NARROW)
        assert caught.value.status == 413

    def test_chunks_are_counted_together(self):
        chunk = b"A\r\n0123456789\r\n"
        assert feed(chunk * 2 + b"0\r\n\r\n", NARROW) == (b"0123456789" * 2, True, b"")
        assert refusal(chunk * 2 + b"1\r\n", NARROW) == 413

    def test_a_chunk_is_refused_by_its_size_and_not_waited_for(self):
        assert refusal(b"15\r\n", NARROW) == 413
        for size in (b"7fffffffffffffff", b"8000000000000000", b"ffffffffffffffff"):
            assert refusal(size + b"\r\n") == 413

    def test_nothing_but_the_empty_body_fits_into_nothing(self):
        nothing = Limits(limit_request_body=0)
        assert begin_body(0, nothing).done
        assert begin_body(CHUNKED, nothing).feed(b"0\r\n\r\n") == []
        assert refusal(b"1\r\n", nothing) == 413


class TestTrailers:
    def test_trailers_are_read_and_dropped(self):
        assert feed(b"0\r\nA: b\r\nExpires:\r\n\r\nGET") == (b"", True, b"GET")

    @pytest.mark.parametrize(
        "trailer",
        [b"A", b"A : b", b": b", b" A: b", b"A: b\x00", b"A: \x7f", b"A: b\rC: d", b"A: b\n", b"\xe9: b", b"\r"],
    )
    def test_a_trailer_is_spelt_like_a_field(self, trailer: bytes):
        assert refusal(b"0\r\n" + trailer + b"\r\n\r\n") == 400

    def test_as_many_trailers_as_fields_are_allowed(self):
        assert feed(b"0\r\n" + b"A: b\r\n" * 3 + b"\r\n", NARROW)[1]
        assert refusal(b"0\r\n" + b"A: b\r\n" * 4 + b"\r\n", NARROW) == 431

    def test_a_trailer_may_be_as_long_as_a_field(self):
        assert feed(b"0\r\nA: " + b"x" * 61 + b"\r\n\r\n", NARROW)[1]
        assert refusal(b"0\r\nA: " + b"x" * 62 + b"\r\n\r\n", NARROW) == 431
        assert refusal(b"0\r\nA: " + b"x" * 100, NARROW) == 431

    def test_all_trailers_together_have_a_limit(self):
        limits = Limits(limit_request_trailers=256)
        assert feed(b"0\r\n" + (b"A: " + b"x" * 80 + b"\r\n") * 3 + b"\r\n", limits)[1]
        assert refusal(b"0\r\n" + (b"A: " + b"x" * 80 + b"\r\n") * 4 + b"\r\n", limits) == 431


class TestTime:
    def test_many_small_chunks_take_linear_time(self):
        data = b"1\r\na\r\n" * 3000
        assert is_linear(lambda pieces: feed(b"", LIMITS, pieces), [data], [data * TIMES])

    def test_a_chunk_that_drips_in_takes_linear_time(self):
        def drip(size: int) -> None:
            feed(b"", LIMITS, byte_by_byte(b"%x\r\n%s" % (size, b"x" * size)))

        assert is_linear(drip, 1000, 1000 * TIMES)

    @pytest.mark.parametrize(
        "extension", [b";a" + b" " * 3990 + b"!", b';a="' + b"\\" * 3990, b";" + b"a" * 3990 + b"=", b" \t;a" * 990]
    )
    def test_an_extension_does_not_take_the_square_of_its_length(self, extension: bytes):
        def judge(size: int) -> None:
            try:
                feed(b"1" + extension[:size] + extension[-1:] + b"\r\n")
            except ProtocolError:
                pass

        assert is_linear(judge, len(extension) // TIMES, len(extension))


@given(st.lists(FRAGMENTS, max_size=30), st.integers(1, 7))
def test_a_body_read_in_a_few_steps_at_a_time_is_the_same(fragments: list[bytes], most: int):
    def read(steps: float) -> object:
        body = ChunkedBody(LIMITS)
        pieces: list[bytes] = []
        try:
            pieces += body.feed(b"".join(fragments), steps)
            while body.backlog:
                assert not body.done
                pieces += body.feed(b"", steps)
        except ProtocolError as error:
            return error.status
        return b"".join(pieces), body.done, body.rest

    assert read(most) == read(1e9)


def test_so_many_steps_are_not_exceeded_however_small_the_chunks_are():
    body = ChunkedBody(LIMITS)
    assert len(body.feed(b"1\r\nx\r\n" * 1000, 30)) == 10
    assert body.backlog
    assert len(body.feed(b"", 3)) == 1
