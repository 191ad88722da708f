"""Knows how an answer is spelt, and what can never be sent."""

from __future__ import annotations

import email.utils
import re
from datetime import datetime, timezone
from http import HTTPStatus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server_core.http import response
from server_core.http.response import (
    ASKS_CLOSE,
    DATE,
    DROPPED,
    HEADER_LINES,
    LENGTH,
    PLAIN,
    SERVER,
    STATUS_LINES,
    http_date,
)


class TestStatusLines:
    @pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "299 ", "200", "599 x", "200 \xdcber\tall"])
    def test_a_status_is_three_digits_and_a_reason(self, status: str):
        space = b" " if status == "200" else b""  # RFC 9112, 4: also where no reason follows
        assert STATUS_LINES[status] == b"HTTP/1.1 " + status.encode("latin-1") + space + b"\r\n"
        assert STATUS_LINES[status] is STATUS_LINES[status]

    @pytest.mark.parametrize(
        "status",
        [
            *("", "OK", "20 OK", "2000 OK", "200OK", " 200 OK", "0200 OK", "+20 OK", "2 0 OK", "600 x", "099 x"),
            *("100 Continue", "101 Switching Protocols", "199 x", "\xb2\xb2\xb2 x", "２００ OK"),
            *("200 O\rK", "200 O\nK", "200 OK\r\nA: b", "200 OK\n", "200 O\x00K", "200 O\x7fK", "200 \u20ac"),
        ],
    )
    def test_anything_else_is_no_final_status(self, status: str):
        with pytest.raises(ValueError, match="is no status"):
            STATUS_LINES[status]

    @pytest.mark.parametrize("status", [200, b"200 OK", None, HTTPStatus.OK])
    def test_a_status_is_a_str(self, status: object):
        with pytest.raises(TypeError, match="a status is a str"):
            STATUS_LINES[status]  # type: ignore[index]


class TestHeaderLines:
    @pytest.mark.parametrize(
        ("name", "value", "line"),
        [
            ("Content-Type", "text/html", b"Content-Type: text/html\r\n"),
            ("x-lower", "", b"x-lower: \r\n"),
            ("X", "a\tb", b"X: a\tb\r\n"),
            ("X", "\xe9\xff\x80", b"X: \xe9\xff\x80\r\n"),
        ],
    )
    def test_a_header_becomes_a_line_of_latin_1(self, name: str, value: str, line: bytes):
        assert HEADER_LINES[name, value] == (line, PLAIN)

    @pytest.mark.parametrize(
        "bad", ["\r", "\n", "\r\n", "\x00", "\x0b", "\x1f", "\x7f", "\u0100", "\u20ac", "\U0001f600"]
    )
    @pytest.mark.parametrize("place", ["{}a", "a{}b", "a{}"])
    def test_what_must_not_be_sent_is_refused_in_names_and_values(self, bad: str, place: str):
        with pytest.raises(ValueError, match="cannot be sent"):
            HEADER_LINES["X-Name", place.format(bad)]
        with pytest.raises(ValueError, match="is no header name"):
            HEADER_LINES[place.format(bad), "value"]

    @pytest.mark.parametrize("name", ["", " ", "a b", "a:", ":", "a\t", "\xe9", "a(b)", '"a"', "a=b", "a/b"])
    def test_a_name_is_a_token(self, name: str):
        with pytest.raises(ValueError, match="is no header name"):
            HEADER_LINES[name, "value"]

    @pytest.mark.parametrize("pair", [(b"A", "b"), ("A", b"b"), ("A", 1), ("A", None), (None, "b")])
    def test_both_are_str(self, pair: tuple[object, object]):
        with pytest.raises(TypeError, match="two str"):
            HEADER_LINES[pair]  # type: ignore[index]

    @pytest.mark.parametrize("header", [("A",), ("A", "b", "c"), "Abc"])
    def test_a_header_is_a_pair(self, header: object):
        with pytest.raises(ValueError, match="unpack"):
            HEADER_LINES[header]  # type: ignore[index]

    @pytest.mark.parametrize(
        "name",
        ["Transfer-Encoding", "TE", "Trailer", "Trailers", "Upgrade", "Proxy-Authenticate", "proxy-authorization"],
    )
    def test_a_hop_by_hop_header_is_refused(self, name: str):
        for spelling in (name, name.lower(), name.upper()):
            with pytest.raises(ValueError, match="hop-by-hop"):
                HEADER_LINES[spelling, "x"]

    @pytest.mark.parametrize(
        ("name", "value", "kind"),
        [
            ("Content-Length", "12", LENGTH),
            ("content-length", "0", LENGTH),
            ("Date", "x", DATE),
            ("SERVER", "x", SERVER),
            ("Connection", "close", ASKS_CLOSE),
            ("connection", " Close ", ASKS_CLOSE),
            ("Connection", "keep-alive", DROPPED),
            ("Connection", "upgrade", DROPPED),
            ("Keep-Alive", "timeout=5", DROPPED),
            ("Content-Lengths", "x", PLAIN),
        ],
    )
    def test_headers_that_the_server_has_a_say_in_are_told_apart(self, name: str, value: str, kind: int):
        assert HEADER_LINES[name, value][1] == kind

    @pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "1_0", "0x1", "a", "1, 1", " 1", "\xb2", "1" * 20])
    def test_a_content_length_is_digits(self, value: str):
        with pytest.raises(ValueError, match="is no number"):
            HEADER_LINES["Content-Length", value]

    @given(name=st.text(max_size=6), value=st.text(max_size=12))
    @example(name="A", value="\x85")
    def test_whatever_passes_is_one_line_and_one_only(self, name: str, value: str):
        try:
            line, _ = HEADER_LINES[name, value]
        except ValueError:
            return
        assert re.fullmatch(rb"[!-9;-~]+: [\t -~\x80-\xff]*\r\n", line)

    def test_lines_that_are_never_said_again_are_not_remembered_for_ever(self):
        for number in range(3 * response._MAX_KNOWN):
            assert HEADER_LINES["X-Number", str(number)][0] == b"X-Number: %d\r\n" % number
        assert len(HEADER_LINES) <= response._MAX_KNOWN
        for number in range(3 * response._MAX_KNOWN):
            assert STATUS_LINES[f"200 {number}"]
        assert len(STATUS_LINES) <= response._MAX_KNOWN

    @pytest.mark.parametrize("header", [("Set-Cookie", "a=b"), ("set-cookie", "c=d"), ("X-Long", "x" * 1000)])
    def test_cookies_and_long_values_are_not_remembered(self, header: tuple[str, str]):
        assert HEADER_LINES[header][0].endswith(b"\r\n")
        assert header not in dict(HEADER_LINES)


class TestDate:
    @given(seconds=st.integers(0, 253402300799))
    @example(seconds=0)
    @example(seconds=951782400)  # 29 February 2000
    def test_a_date_is_that_of_the_email_package(self, seconds: int):
        moment = datetime.fromtimestamp(seconds, timezone.utc)
        assert http_date(seconds) == email.utils.format_datetime(moment, usegmt=True)

    def test_fractions_of_a_second_are_cut_off(self):
        assert http_date(784111777.999) == "Sun, 06 Nov 1994 08:49:37 GMT"
