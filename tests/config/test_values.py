"""Knows how values of every kind are written, right and wrong; knows no setting."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_core.config import values
from server_core.config.bindings import Binding
from server_core.config.schema import SETTINGS
from server_core.config.values import Kind

NUMBER = values.integer(0, 100)
SPAN = values.duration("0", "24h")
SIZE = values.size("0", "1TB")
NAMES = values.list_of(values.text(), "list of texts")
PAIRS = values.pairs("header", "NAME: VALUE", frozenset({"host"}))
REQUIRED = values.choice("none", "optional", "required", numbered=True)
HOSTS = values.certificates_by_name()
ADDRESSES = values.list_of(values.address(), "list of addresses")


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (values.text(), "  www ", "www"),
        (values.path(), Path("run/app.pid"), "run/app.pid"),
        (values.choice("debug", "info"), " INFO ", "info"),
        (values.choice("TLSv1.2", "TLSv1.3"), "tlsV1.3", "TLSv1.3"),
        (REQUIRED, " Required", "required"),
        (REQUIRED, "1", "optional"),
        (REQUIRED, 0, "none"),
        (REQUIRED, ssl.CERT_REQUIRED, "required"),  # so it stands in Gunicorn's files
        (values.secret(5), " ä\n ", " ä\n "),
        (values.matching("[a-z]+", "word", "WORD", "is no word"), "abc", "abc"),
        (values.account("user"), "www-data", "www-data"),
        (values.account("user"), "1000", 1000),
        (values.account("user"), 0, 0),
        (NUMBER, "7", 7),
        (NUMBER, " +7 ", 7),
        (NUMBER, 100, 100),
        (values.boolean(), True, True),
        (values.boolean(), "1", True),
        (values.boolean(), "True", True),
        (values.boolean(), "yes", True),
        (values.boolean(), "ON", True),
        (values.boolean(), "0", False),
        (values.boolean(), "false", False),
        (values.boolean(), "No", False),
        (values.boolean(), "off", False),
        (SPAN, "30", 30.0),
        (SPAN, "0.25", 0.25),
        (SPAN, 30, 30.0),
        (SPAN, 2.5, 2.5),
        (SPAN, "30s", 30.0),
        (SPAN, "1m30s", 90.0),
        (SPAN, "500ms", 0.5),
        (SPAN, "2h", 7200.0),
        (SPAN, "1.5M", 90.0),
        (SPAN, "1h1m1s1ms", 3661.001),
        (SIZE, "65536", 65536),
        (SIZE, 65536, 65536),
        (SIZE, "64K", 65536),
        (SIZE, "64kb", 65536),
        (SIZE, "64KiB", 65536),
        (SIZE, "10MB", 10 * 1024**2),
        (SIZE, "1GiB", 1024**3),
        (SIZE, "1TB", 1024**4),
        (SIZE, "1.5 KB", 1536),
        (SIZE, "12B", 12),
        (values.octal_mode("660"), "660", 0o660),
        (values.octal_mode("660"), "0o660", 0o660),
        (values.octal_mode("660"), "0027", 0o027),
        (values.octal_mode("660"), 0o660, 0o660),
        (values.octal_mode("660"), 0, 0),
        (values.pattern(), " docs/*.txt ", "docs/*.txt"),
        (NAMES, "a, b,,c", ("a", "b", "c")),
        (NAMES, ["a", "b,c"], ("a", "b", "c")),
        (NAMES, ("a",), ("a",)),
        (NAMES, "", ()),
        (NAMES, [], ()),
        (ADDRESSES, [":80", "unix:x"], (Binding("tcp", "0.0.0.0", 80), Binding("unix", path="x"))),
        (values.networks(), "", ()),
        (values.networks(), "*", values.EVERYONE),
        (values.networks(), ["*"], values.EVERYONE),
        (values.networks(), "10.0.0.1, ::1", (ipaddress.ip_network("10.0.0.1"), ipaddress.ip_network("::1"))),
        (values.networks(), ["10.0.0.0/8"], (ipaddress.ip_network("10.0.0.0/8"),)),
        (PAIRS, "X-Scheme: https, X-Ssl:on", (("x-scheme", "https"), ("x-ssl", "on"))),
        (PAIRS, ["X-Url: http://a"], (("x-url", "http://a"),)),
        (PAIRS, {"X-Scheme": "https"}, (("x-scheme", "https"),)),
        (PAIRS, "", ()),
        (HOSTS, "A.example = a.pem, *.b=c.pem : d", (("a.example", "a.pem", ""), ("*.b", "c.pem", "d"))),
        (HOSTS, {"a": "b:c"}, (("a", "b", "c"),)),
        (HOSTS, {"a": Path("b")}, (("a", "b", ""),)),
        (HOSTS, "", ()),
        (values.optional(NUMBER), None, None),
        (values.optional(NUMBER), " ", None),
        (values.optional(NUMBER), "5", 5),
    ],
)
def test_a_right_value_is_read(kind: Kind[Any], raw: object, value: object) -> None:
    parsed = kind.parse(raw)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "raw", "phrase"),
    [
        (values.text(), 5, "is not text"),
        (values.text(), None, "is not text"),
        (values.text(), "  ", "is empty"),
        (values.text(), "a\nb", "more than one line"),
        (values.path(), "a\0b", "more than one line"),
        (values.path(), 5, "is not text"),
        (values.path(), b"a", "is not text"),
        (values.pattern(), "a{b", "has braces"),
        (values.pattern(), "", "is empty"),
        (values.choice("debug", "info"), "loud", "is none of debug, info"),
        (values.choice("debug", "info"), 1, "is none of debug, info"),
        (REQUIRED, 3, "is none of none, optional, required"),
        (REQUIRED, True, "is none of none"),
        (REQUIRED, "-1", "is none of none"),
        (values.secret(5), "ääa1", "is longer than 5 bytes"),
        (values.secret(5), 12345, "is not text"),
        (HOSTS, "a", "names no certificate"),
        (HOSTS, "a=:b", "names no certificate"),
        (HOSTS, "a.*=b", "begins with no name of a host"),
        (HOSTS, "a=b,A=c", "has two certificates for a"),
        (HOSTS, {"a": {"b": "c"}, "": "d"}, "begins with no name of a host"),
        (values.matching("[a-z]+", "word", "WORD", "is no word"), "a1", "is no word"),
        (values.account("user"), "-1", "is not the number of a user"),
        (values.account("user"), 2**32 - 1, "is not the number of a user"),
        (values.account("group"), True, "name or number of a group"),
        (values.account("group"), 1.0, "name or number of a group"),
        (values.account("group"), "", "is empty"),
        (NUMBER, True, "is not a whole number"),
        (NUMBER, 4.0, "is not a whole number"),
        (NUMBER, "4.0", "is not a whole number"),
        (NUMBER, "1_0", "is not a whole number"),
        (NUMBER, "٤", "is not a whole number"),
        (NUMBER, "1" * 5000, "is not a whole number"),
        (NUMBER, "", "is not a whole number"),
        (NUMBER, None, "is not a whole number"),
        (NUMBER, -1, "from 0 to 100"),
        (NUMBER, "101", "from 0 to 100"),
        (values.boolean(), 1, "neither true nor false"),
        (values.boolean(), "maybe", "neither true nor false"),
        (values.boolean(), None, "neither true nor false"),
        (SPAN, "soon", "is not a duration"),
        (SPAN, "", "is not a duration"),
        (SPAN, "30 s", "is not a duration"),
        (SPAN, "30s1m", "is not a duration"),
        (SPAN, "-1", "is not a duration"),
        (SPAN, "1e3", "is not a duration"),
        (SPAN, "nan", "is not a duration"),
        (SPAN, True, "is not a duration"),
        (SPAN, float("nan"), "is not a duration"),
        (SPAN, float("inf"), "is not a duration"),
        (SPAN, -0.5, "from 0 to 24h"),
        (SPAN, 10**400, "from 0 to 24h"),
        (SPAN, -(10**400), "from 0 to 24h"),
        (SPAN, "9" * 400, "from 0 to 24h"),
        (SPAN, "25h", "from 0 to 24h"),
        (values.duration("1ms", "24h"), 0, "from 1ms to 24h"),
        (SIZE, "many", "is not a size"),
        (SIZE, "", "is not a size"),
        (SIZE, "-1", "is not a size"),
        (SIZE, "0.5", "is not a size"),
        (SIZE, 1.0, "is not a size"),
        (SIZE, True, "is not a size"),
        (SIZE, "1" * 5000, "is not a size"),
        (SIZE, "2TB", "from 0 to 1TB"),
        (SIZE, -1, "from 0 to 1TB"),
        (values.octal_mode("660"), "888", "is not a file mode"),
        (values.octal_mode("660"), 660, "is not a file mode"),
        (values.octal_mode("660"), "1777", "is not a file mode"),
        (values.octal_mode("660"), "-1", "is not a file mode"),
        (values.octal_mode("660"), False, "is not a file mode"),
        (values.octal_mode("027"), "8", 'is not a file mode: write "027" as text or 0o027 as a number'),
        (NAMES, 5, "is not text"),
        (NAMES, ["a", 5], "holds 5, which is not text"),
        (NAMES, {"a": 1}, "is not text"),
        (values.list_of(values.path(), "paths"), [Path("a,b")], "comma separates"),
        (ADDRESSES, "a:80,b:c", 'holds "b:c", which has no port number'),
        (ADDRESSES, ["a:80", "b:c"], 'holds "b:c", which has no port number'),
        (ADDRESSES, "b:c", "^has no port number"),
        (ADDRESSES, ["b:c"], "^has no port number"),
        (ADDRESSES, ("b:c",), "^has no port number"),
        (ADDRESSES, 8000, "is not text"),
        (values.networks(), "10.0.0.1/8", "write 10.0.0.0/8"),
        (values.networks(), "proxy.local", "is not an IP address"),
        (values.networks(), "10.0.0.1,*", "is everyone"),
        (values.networks(), 5, "is not text"),
        (PAIRS, "X-Scheme", "is no header: write NAME: VALUE"),
        (PAIRS, "X-Scheme:", "is no header"),
        (PAIRS, "Host: x", "for another purpose"),
        (PAIRS, "X_Scheme: https", "is no header"),
        (PAIRS, 5, "is not text"),
        (values.optional(NUMBER), "x", "is not a whole number"),
    ],
)
def test_a_wrong_value_is_refused_with_a_phrase_that_says_what_is_right(
    kind: Kind[Any], raw: object, phrase: str
) -> None:
    with pytest.raises(ValueError, match=phrase):
        kind.parse(raw)


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (SPAN, 0.0, "0"),
        (SPAN, 7200.0, "2h"),
        (SPAN, 60.0, "1m"),
        (SPAN, 75.0, "75s"),
        (SPAN, 0.5, "500ms"),
        (SPAN, 2.5, "2.5s"),
        (SPAN, 1e-7, "0.0000001s"),
        (SIZE, 0, "0"),
        (SIZE, 8190, "8190"),
        (SIZE, 65536, "64KB"),
        (SIZE, 1024**3, "1GB"),
        (values.octal_mode("660"), 0o27, "027"),
        (values.boolean(), True, "true"),
        (values.networks(), (), ""),
        (values.networks(), values.EVERYONE, "*"),
        (values.networks(), (ipaddress.ip_network("10.0.0.1"), ipaddress.ip_network("::/8")), "10.0.0.1,::/8"),
        (PAIRS, (("x-scheme", "https"), ("x-ssl", "on")), "x-scheme: https,x-ssl: on"),
        (values.optional(SPAN), None, ""),
    ],
)
def test_a_value_is_shown_as_a_person_would_write_it(kind: Kind[Any], value: object, shown: str) -> None:
    assert kind.show(value) == shown


_words = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=20).map(str.strip)
_word = _words.filter(bool)
_item = _word.map(lambda word: word.replace(",", "").strip()).filter(bool)
_network = (st.ip_addresses() | st.none()).flatmap(
    lambda ip: st.builds(
        lambda prefix: ipaddress.ip_network((ip or "10.0.0.0", prefix), strict=False),
        st.integers(0, ip.max_prefixlen if ip else 32),
    )
)
_values_of_a_kind = st.one_of(
    st.tuples(st.just(values.text()), _word),
    st.tuples(st.just(values.path()), _word),
    st.tuples(st.just(values.account("user")), st.integers(0, 2**32 - 2)),
    st.tuples(st.just(values.integer(-(10**6), 10**6)), st.integers(-(10**6), 10**6)),
    st.tuples(st.just(values.boolean()), st.booleans()),
    st.tuples(st.just(SPAN), st.floats(0, 86400)),
    st.tuples(st.just(SPAN), st.integers(0, 86_400_000).map(lambda milliseconds: milliseconds / 1000)),
    st.tuples(st.just(SIZE), st.integers(0, 1024**4)),
    st.tuples(st.just(SIZE), st.builds(lambda n, unit: n * 1024**unit, st.integers(0, 1024), st.integers(0, 3))),
    st.tuples(st.just(values.octal_mode("660")), st.integers(0, 0o777)),
    st.tuples(st.just(NAMES), st.lists(_item).map(tuple)),
    st.tuples(st.just(values.networks()), st.lists(_network, max_size=4).map(tuple)),
    st.tuples(st.just(PAIRS), st.lists(st.tuples(st.from_regex(r"[a-z0-9-]+", fullmatch=True), _item)).map(tuple)),
    st.tuples(st.just(values.optional(values.text())), st.none() | _word),
)


@settings(deadline=None)
@given(_values_of_a_kind)
def test_what_is_shown_reads_back_as_the_same_value(kind_and_value: tuple[Kind[Any], object]) -> None:
    kind, value = kind_and_value
    assert kind.parse(kind.show(value)) == value


@settings(deadline=None)
@given(st.sampled_from(list(SETTINGS.values())), st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_no_raw_value_gets_more_than_a_refusal_and_an_accepted_one_can_be_shown(setting: Any, raw: object) -> None:
    try:
        value = setting.kind.parse(raw)
    except ValueError:
        return
    if value is None:  # which is said by leaving the setting out
        assert setting.kind.show(value) == ""
    else:
        assert setting.kind.parse(setting.kind.show(value)) == value


def test_a_raw_value_in_a_message_is_one_short_printable_line() -> None:
    assert values.quote("a") == '"a"'
    assert values.quote(5) == "5"
    assert values.quote("a\x1b[31m\n") == '"a\\x1b[31m\\n"'
    assert len(values.quote("a" * 1000)) == 100
