"""Knows which well-spelt requests are accepted, and how the accepted ones are understood."""

from __future__ import annotations

import pytest

from server_core.errors import ProtocolError
from server_core.http.policy import CHUNKED, Admitted, admit, valid_host


def admitted(
    target: str = "/", method: str = "GET", minor: int = 1, host: str | None = "a", **fields: str
) -> tuple[Admitted, dict[str, str]]:
    named = {"HTTP_HOST": host} if host is not None else {}
    named |= {name if name.startswith("CONTENT_") else f"HTTP_{name}": value for name, value in fields.items()}
    return admit(method, target, minor, named), named


def keeps_alive(minor: int, connection: str | None = None) -> bool:
    fields = {"CONNECTION": connection} if connection is not None else {}
    return admitted(minor=minor, **fields)[0][2]


def length(minor: int = 1, **fields: str) -> int:
    return admitted(method="POST", minor=minor, **fields)[0][3]


def refusal(*arguments: str, **options: object) -> int:
    with pytest.raises(ProtocolError) as caught:
        admitted(*arguments, **options)  # type: ignore[arg-type]
    return caught.value.status


class TestHost:
    @pytest.mark.parametrize(
        "host",
        [
            *("a", "shop.example", "shop.example.", "shop.example:80", "shop.example:", "a:65535", "a:0", "10.0.0.1:8"),
            *("[::1]", "[2001:db8::1]:8000", "[::ffff:10.0.0.1]", "a_b", "xn--caf-dma.example", "%C3%A9.example"),
        ],
    )
    def test_hosts(self, host: str):
        assert valid_host(host)
        assert admitted(host=host)[1]["HTTP_HOST"] == host

    @pytest.mark.parametrize(
        "host",
        [
            *(
                "",
                " ",
                "a b",
                "a/b",
                "a?b",
                "a#b",
                "me@a",
                ":80",
                "a:b",
                "a:65536",
                "a:100000",
                "a:-1",
                "a:+1",
                "a:8:8",
            ),
            *("[::1", "::1", "[::1]x", "[::1]:x", "[::g]", "[1]", "[]", "[fe80::1%eth0]", "a%", "a%4", "a%zz", "a\\b"),
            *('a"b', "a<b>", "\xe9", "a\x00", "http://a", "[:::1]", "[10.0.0.1]", "a\n", "a:1\n"),
        ],
    )
    def test_no_hosts(self, host: str):
        assert not valid_host(host)
        assert refusal(host=host) == 400
        assert refusal(host=host, minor=0) == 400

    def test_a_1_1_request_has_a_host(self):
        assert refusal(host=None) == 400

    def test_a_1_0_request_may_do_without(self):
        assert admitted(host=None, minor=0)[0][:2] == ("/", "")


class TestTarget:
    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            ("/", "/", ""),
            ("/a/b", "/a/b", ""),
            ("/a?", "/a", ""),
            ("/a?b?c", "/a", "b?c"),
            ("//a/b", "//a/b", ""),
            ("/a;b=c", "/a;b=c", ""),
            ("/http://b/", "/http://b/", ""),
        ],
    )
    def test_a_path_is_split_at_the_first_question_mark(self, target: str, path: str, query: str):
        assert admitted(target)[0][:2] == (path, query)

    @pytest.mark.parametrize(
        ("target", "path", "query", "host"),
        [
            ("http://b/", "/", "", "b"),
            ("http://b", "/", "", "b"),
            ("https://b:443/c?d", "/c", "d", "b:443"),
            ("HttP://[::1]/c", "/c", "", "[::1]"),
            ("http://b?c/d", "/", "c/d", "b"),
            ("http://b//c", "//c", "", "b"),
        ],
    )
    def test_the_authority_of_an_absolute_target_replaces_the_host(self, target: str, path: str, query: str, host: str):
        found, fields = admitted(target)
        assert found[:2] == (path, query)
        assert fields["HTTP_HOST"] == host

    def test_an_absolute_target_gives_a_1_0_request_its_host(self):
        assert admitted("http://b/", minor=0, host=None)[1]["HTTP_HOST"] == "b"

    @pytest.mark.parametrize(
        "target", ["a", "*a", "http:/b", "http://", "http:///", "http://me@b/", "http://b:x/", "ftp://b/", "?a", "b:80"]
    )
    def test_other_targets_are_refused(self, target: str):
        assert refusal(target) == 400

    def test_the_asterisk_is_for_options_and_is_the_empty_path(self):
        assert admitted("*", method="OPTIONS")[0][:2] == ("", "")
        assert refusal("*", method="GET") == 400
        assert refusal("*", method="options") == 400

    @pytest.mark.parametrize("target", ["b:443", "/", "http://b/", "*"])
    def test_connect_is_not_for_us(self, target: str):
        assert refusal(target, method="CONNECT") == 501

    def test_connect_in_lower_case_is_a_method_like_any_other(self):
        assert admitted("/", method="connect")[0][0] == "/"
        assert refusal("b:443", method="connect") == 400


class TestConnection:
    @pytest.mark.parametrize(
        "connection",
        [
            None,
            "",
            "keep-alive",
            "Keep-Alive",
            "x",
            "upgrade, keep-alive",
            "closed",
            "close-not",
            '"close"',
            "no close",
        ],
    )
    def test_1_1_persists_unless_told_to_close(self, connection: str | None):
        assert keeps_alive(1, connection)

    @pytest.mark.parametrize(
        "connection", ["close", "Close", "x, close", "close,keep-alive", "keep-alive ,\tCLOSE\t", ",close"]
    )
    def test_close_is_found_wherever_it_stands(self, connection: str):
        assert not keeps_alive(1, connection)
        assert not keeps_alive(0, connection)

    @pytest.mark.parametrize("connection", ["keep-alive", "Keep-Alive", "x,\tkeep-alive"])
    def test_1_0_persists_when_asked_to(self, connection: str):
        assert keeps_alive(0, connection)

    @pytest.mark.parametrize("connection", [None, "", "x", "keep-alives", "keep alive"])
    def test_1_0_does_not_persist_by_itself(self, connection: str | None):
        assert not keeps_alive(0, connection)


class TestLength:
    def test_no_field_is_no_body(self):
        assert length() == 0

    @pytest.mark.parametrize(
        ("value", "expected"), [("0", 0), ("7", 7), ("007", 7), ("9" * 19, 10**19 - 1), ("0" * 19, 0)]
    )
    def test_a_length_is_digits(self, value: str, expected: int):
        assert length(CONTENT_LENGTH=value) == expected
        assert length(0, CONTENT_LENGTH=value) == expected

    @pytest.mark.parametrize(
        "value",
        [
            *("", "1,1", "1, 1", "+1", "-1", "-0", "1.0", "1e1", "0x1", "1_0", "1 0", "a", "1\n", "\n1", "0" * 20),
            *("\xb2", "\xb9", "\xbd", "١", "１", "1;", '"1"'),  # digits to int() or isdigit(), not to HTTP
        ],
    )
    def test_anything_else_is_refused(self, value: str):
        assert refusal(CONTENT_LENGTH=value) == 400
        assert refusal(CONTENT_LENGTH=value, minor=0) == 400

    @pytest.mark.parametrize("field", ["SEC_WEBSOCKET_KEY1", "UPGRADE", "CONTENT_RANGE", "TE"])
    def test_no_other_field_makes_a_body(self, field: str):
        assert length(**{field: "8"}) == 0


class TestTransferEncoding:
    @pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
    def test_chunked_is_chunked(self, coding: str):
        assert length(TRANSFER_ENCODING=coding) == CHUNKED

    @pytest.mark.parametrize("coding", ["gzip, chunked", "GZIP,Chunked", "gzip ,\tdeflate, chunked", "x,chunked"])
    def test_another_coding_before_chunked_is_not_implemented(self, coding: str):
        assert refusal(TRANSFER_ENCODING=coding) == 501

    @pytest.mark.parametrize(
        "coding",
        [
            *("", "identity", "gzip", "chunked, gzip", "chunked,chunked", "chunked, gzip, chunked", ",chunked"),
            *("chunked,", "chunked;a=b", '"chunked"', "x chunked", "chunked x", "chun\tked", "\x0bchunked", "chunkedd"),
            *("chunked\xa0", "gzip;a=b, chunked", "gzip, ,chunked"),
        ],
    )
    def test_anything_else_is_refused(self, coding: str):
        assert refusal(TRANSFER_ENCODING=coding) == 400

    @pytest.mark.parametrize("coding", ["chunked", "identity", "gzip, chunked"])
    def test_1_0_has_no_transfer_codings(self, coding: str):
        assert refusal(TRANSFER_ENCODING=coding, minor=0) == 400

    @pytest.mark.parametrize("value", ["0", "5", "x"])
    def test_both_framings_together_are_refused(self, value: str):
        assert refusal(TRANSFER_ENCODING="chunked", CONTENT_LENGTH=value) == 400


class TestExpect:
    @pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
    @pytest.mark.parametrize("framing", [{"CONTENT_LENGTH": "3"}, {"TRANSFER_ENCODING": "chunked"}])
    def test_a_continue_is_awaited_when_there_is_a_body(self, value: str, framing: dict[str, str]):
        assert admitted(method="POST", EXPECT=value, **framing)[0][4] is True

    def test_nothing_is_awaited_without_a_body(self):
        assert admitted(EXPECT="100-continue")[0][4] is False
        assert admitted(EXPECT="100-continue", CONTENT_LENGTH="0")[0][4] is False

    def test_nothing_is_awaited_by_1_0(self):
        assert admitted(method="POST", minor=0, EXPECT="100-continue", CONTENT_LENGTH="3")[0][4] is False

    @pytest.mark.parametrize("value", ["", "tea", "100-continue, tea", "100", "100-continue;a=b"])
    def test_other_expectations_fail(self, value: str):
        assert refusal(EXPECT=value) == 417
