"""Knows how a request head is read: its parts, its limits, and which refusal each fault is worth."""

from __future__ import annotations

import pytest
from growth import TIMES, is_linear
from hypothesis import given
from hypothesis import strategies as st
from request_reader import byte_by_byte, read

from server_core.errors import ProtocolError
from server_core.http.head import HeadLimits, check_open_line, parse, split_block
from server_core.settings import Limits

LIMITS = HeadLimits(Limits())
TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ", min_size=1, max_size=20)
VALUE = st.text(st.sampled_from([chr(code) for code in (9, *range(32, 127), *range(128, 256))]), max_size=30)


def refusal(text: str, limits: HeadLimits = LIMITS) -> int:
    def judge() -> None:
        found = parse(text, limits)
        assert found is not None, "the head was taken for an unfinished one"
        split_block(found[3], limits)

    with pytest.raises(ProtocolError) as caught:
        judge()
    return caught.value.status


def head(line: str = "GET / HTTP/1.1", *fields: str) -> str:
    return "".join(f"{each}\r\n" for each in (line, *fields)) + "\r\n"


class TestParts:
    def test_a_head_is_method_target_minor_version_block_and_length(self):
        text = "POST /a?b HTTP/1.0\r\nHost: a\r\nX: y\r\n\r\n"
        assert parse(text + "body", LIMITS) == ("POST", "/a?b", 0, "Host: a\r\nX: y\r\n", len(text))

    def test_the_length_of_a_head_counts_the_empty_lines_before_it(self):
        text = "\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        assert parse(text + "GET", LIMITS) == ("GET", "/", 1, "", len(text))

    @pytest.mark.parametrize(("version", "minor"), [("1.0", 0), ("1.1", 1), ("1.2", 1), ("1.9", 1)])
    def test_every_minor_version_above_0_is_1(self, version: str, minor: int):
        found = parse(head(f"GET / HTTP/{version}"), LIMITS)
        assert found is not None
        assert found[2] == minor

    @pytest.mark.parametrize(
        ("line", "field"),
        [
            ("A: b", ("A", "b")),
            ("A:b", ("A", "b")),
            ("A: \t b \t ", ("A", "b")),
            ("A:", ("A", "")),
            ("A: \t ", ("A", "")),
            ("A: b \t c", ("A", "b \t c")),
            ("A: b:c: d", ("A", "b:c: d")),
            ("A: \xa0b\x85", ("A", "\xa0b\x85")),
            ("A: \xe9", ("A", "\xe9")),
        ],
    )
    def test_a_value_loses_the_spaces_and_tabs_round_it_and_nothing_else(self, line: str, field: tuple[str, str]):
        assert split_block(f"{line}\r\n", LIMITS) == [field]

    @given(fields=st.lists(st.tuples(TOKEN, VALUE), max_size=10))
    def test_the_fields_that_were_written_are_the_fields_that_are_read(self, fields: list[tuple[str, str]]):
        text = head("GET / HTTP/1.1", *(f"{name}: {value}" for name, value in fields))
        found = parse(text, LIMITS)
        assert found is not None
        assert split_block(found[3], LIMITS) == [(name, value.strip(" \t")) for name, value in fields]

    @pytest.mark.parametrize("text", ["", "\r", "\r\n", "G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nA: b\r\n\r"])
    def test_what_is_not_whole_is_neither_a_head_nor_an_error(self, text: str):
        assert parse(text, LIMITS) is None


class TestLimits:
    """A line may be as long as its limit says, and not a byte longer; its CR LF is not counted."""

    LIMITS = HeadLimits(
        Limits(limit_request_line=80, limit_request_fields=3, limit_request_field_size=100, limit_request_head=300)
    )

    def request_line(self, size: int) -> str:
        return "GET /" + "x" * (size - len("GET / HTTP/1.1")) + " HTTP/1.1"

    def field(self, size: int, name: str = "A") -> str:
        return f"{name}: " + "x" * (size - len(name) - 2)

    def test_a_request_line_at_its_limit_is_read(self):
        assert parse(head(self.request_line(80)), self.LIMITS) is not None

    def test_a_request_line_above_its_limit_is_414(self):
        assert refusal(head(self.request_line(81)), self.LIMITS) == 414

    def test_a_request_line_that_has_not_ended_is_414_as_soon_as_it_is_too_long(self):
        assert parse("GET /" + "x" * 75, self.LIMITS) is None
        assert refusal("GET /" + "x" * 76, self.LIMITS) == 414

    def test_a_long_method_is_a_wrong_method_and_not_a_long_line(self):
        assert refusal(head("M" * 33 + " / HTTP/1.1")) == 400

    def test_a_field_at_its_limit_is_read(self):
        assert parse(head("GET / HTTP/1.1", self.field(100)), self.LIMITS) is not None

    def test_a_field_above_its_limit_is_431(self):
        assert refusal(head("GET / HTTP/1.1", self.field(101)), self.LIMITS) == 431

    def test_a_field_that_has_not_ended_is_431_as_soon_as_it_is_too_long(self):
        assert parse("GET / HTTP/1.1\r\n" + self.field(100), self.LIMITS) is None
        assert refusal("GET / HTTP/1.1\r\n" + self.field(101), self.LIMITS) == 431

    def test_as_many_fields_as_the_limit_are_read(self):
        found = parse(head("GET / HTTP/1.1", "A: b", "A: b", "A: b"), self.LIMITS)
        assert found is not None
        assert len(split_block(found[3], self.LIMITS)) == 3
        assert parse("GET / HTTP/1.1\r\n" + "A: b\r\n" * 3, self.LIMITS) is None

    @pytest.mark.parametrize("ending", ["", "\r\n"])
    def test_more_fields_than_the_limit_are_431(self, ending: str):
        text = "GET / HTTP/1.1\r\n" + "A: b\r\n" * 4
        limits = self.LIMITS if ending else HeadLimits(Limits(limit_request_fields=3, limit_request_field_size=64))
        assert refusal(text + ending, limits) == 431

    def test_a_head_above_its_limit_is_431_although_each_line_is_short(self):
        limits = HeadLimits(Limits(limit_request_field_size=100, limit_request_head=256))
        assert refusal(head("GET / HTTP/1.1", *[self.field(80)] * 3), limits) == 431

    def test_a_head_that_has_not_ended_is_431_as_soon_as_it_is_too_long(self):
        limits = HeadLimits(Limits(limit_request_field_size=100, limit_request_head=256))
        assert refusal(head("GET / HTTP/1.1", *[self.field(80)] * 3)[:-4], limits) == 431

    @pytest.mark.parametrize("size", [79, 80, 81, 82])
    def test_a_line_is_measured_alike_before_and_after_its_cr_lf_has_come(self, size: int):
        data = head(self.request_line(size), "Host: a").encode()
        limits = Limits(limit_request_line=80)
        assert read(byte_by_byte(data), limits) == read([data], limits)

    @pytest.mark.parametrize("more", range(-4, 2))
    def test_a_head_is_measured_alike_before_and_after_its_end_has_come(self, more: int):
        data = head("GET / HTTP/1.1", "Host: a", *[self.field(80)] * 3).encode()
        limits = Limits(limit_request_field_size=100, limit_request_head=len(data) + more)
        assert read(byte_by_byte(data), limits) == read([data], limits)

    def test_the_empty_lines_before_a_request_count_for_no_limit(self):
        assert parse("\r\n" * 4 + head(self.request_line(80)), self.LIMITS) is not None
        longest = head("GET / HTTP/1.1", *[self.field(100)] * 2)
        limits = HeadLimits(Limits(limit_request_field_size=100, limit_request_head=len(longest) - 2))
        assert parse("\r\n" * 4 + longest, limits) is not None


class TestOpenLine:
    """``check_open_line`` refuses what can never become right, without reading the whole head again."""

    def test_an_open_line_within_its_limit_passes(self):
        check_open_line(bytearray(b"GET / HTTP/1.1\r\nA: " + b"x" * 100), LIMITS)

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GET /" + b"x" * 8190, 414),
            (b"GET / HTTP/1.1\r\nA: " + b"x" * 8190, 431),
            (b"\x00", 400),
            (b"\x80\x80", 400),
        ],
    )
    def test_what_is_too_long_or_no_beginning_is_refused(self, data: bytes, status: int):
        with pytest.raises(ProtocolError) as caught:
            check_open_line(bytearray(data), LIMITS)
        assert caught.value.status == status

    def test_a_dripping_head_is_refused_at_its_limit(self):
        outcome = read(byte_by_byte(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 9000))
        assert outcome.refused == 431


# Heads of which every part was once a way to make some server's parser slow.
SLOW = {
    "spaces round a value": lambda size: head("GET / HTTP/1.1", "A:" + " " * size + "x" + " " * size),
    "tabs and a control character": lambda size: head("GET / HTTP/1.1", "A:" + "\t" * size + "\x01"),
    "a long name without a colon": lambda size: head("GET / HTTP/1.1", "a" * size),
    "many short fields": lambda size: head("GET / HTTP/1.1", *["a:"] * (size // 4)),
    "a field without an end": lambda size: "GET / HTTP/1.1\r\nA:" + "\r" * size,
    "a long target and a fault": lambda size: head("GET /" + "%" * size + "\x7f HTTP/1.1"),
    "empty lines": lambda size: "\r\n" * size,
    "carriage returns": lambda size: "\r" * size,
}


@pytest.mark.parametrize("name", SLOW)
def test_no_head_takes_more_than_its_share_of_time(name: str):
    wide = HeadLimits(
        Limits(
            limit_request_line=10**6,
            limit_request_fields=10**6,
            limit_request_field_size=10**6,
            limit_request_head=10**6,
        )
    )

    def judge(text: str) -> None:
        try:
            found = parse(text, wide)
            if found is not None:
                split_block(found[3], wide)
        except ProtocolError:
            pass

    assert is_linear(judge, SLOW[name](2000), SLOW[name](2000 * TIMES))


def test_a_head_that_drips_in_does_not_take_the_square_of_its_length():
    def drip(count: int) -> None:
        text = head("GET / HTTP/1.1", "Host: a", *["A: " + "x" * 400] * count)
        assert read(byte_by_byte(text.encode()), Limits(limit_request_head=10**6)).requests

    # Read again once for each line, not for each byte: with lines 16 times as long, 16 times as much.
    assert is_linear(drip, 2, 2 * TIMES)
