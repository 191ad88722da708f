"""Knows how field lines become one mapping with CGI names."""

from __future__ import annotations

import pytest
from growth import TIMES, is_linear
from hypothesis import given
from hypothesis import strategies as st

from server_core.errors import ProtocolError
from server_core.http import fields as fields_module
from server_core.http.fields import combine


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Accept", "HTTP_ACCEPT"),
        ("accept", "HTTP_ACCEPT"),
        ("X-Request-Id", "HTTP_X_REQUEST_ID"),
        ("Content-Length", "CONTENT_LENGTH"),
        ("content-TYPE", "CONTENT_TYPE"),
        ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
        ("!#$%&'*+.^`|~9", "HTTP_!#$%&'*+.^`|~9"),
        ("HTTP-Host", "HTTP_HTTP_HOST"),
    ],
)
def test_a_name_becomes_the_key_that_cgi_gave_it(name: str, key: str):
    assert combine([(name, "v")]) == {key: "v"}


@pytest.mark.parametrize(
    "name", ["X_Forwarded_For", "Content_Length", "a_b", "_", "Proxy", "PROXY", "pRoXy", "X-Forwarded_For"]
)
def test_a_name_that_could_pass_for_another_is_dropped(name: str):
    assert combine([("A", "1"), (name, "x"), ("B", "2")]) == {"HTTP_A": "1", "HTTP_B": "2"}


def test_dropped_names_do_not_hide_repeated_ones():
    assert combine([("A", "1"), ("a_b", "x"), ("a", "2"), ("Proxy", "y")]) == {"HTTP_A": "1,2"}


def test_names_that_begin_like_a_dropped_one_stay():
    assert combine([("Proxy-Authorization", "x")]) == {"HTTP_PROXY_AUTHORIZATION": "x"}


def test_repeated_fields_are_joined_in_their_order():
    lines = [("Accept", "a, b"), ("Via", "1.1 x"), ("accept", "c"), ("ACCEPT", "")]
    assert combine(lines) == {"HTTP_ACCEPT": "a, b,c,", "HTTP_VIA": "1.1 x"}


def test_cookies_are_joined_as_cookies_are():
    assert combine([("Cookie", "a=1"), ("Cookie", "b=2; c=3")]) == {"HTTP_COOKIE": "a=1; b=2; c=3"}


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Content-Type"])
def test_a_field_that_may_come_once_is_refused_the_second_time(name: str):
    with pytest.raises(ProtocolError) as caught:
        combine([(name, "1"), ("Accept", "a"), (name.upper(), "1")])
    assert caught.value.status == 400
    assert name in str(caught.value)


def test_no_fields_are_an_empty_mapping():
    assert combine([]) == {}


@given(names=st.lists(st.text("abAB-", min_size=1, max_size=4), max_size=8))
def test_no_value_is_lost_and_none_invented(names: list[str]):
    lines = [(name, str(number)) for number, name in enumerate(names)]
    fields = combine(lines)
    assert sorted(",".join(fields.values()).split(",")) == sorted(value for _, value in lines) or not lines
    assert len(fields) == len({name.upper() for name in names})


def test_names_that_clients_invent_are_not_remembered_for_ever():
    for number in range(5000):
        assert combine([(f"X-{number}", "v")]) == {f"HTTP_X_{number}": "v"}
    assert len(fields_module._KEYS) <= fields_module._MAX_KNOWN_NAMES


def test_many_lines_of_one_name_are_joined_in_linear_time():
    assert is_linear(combine, [("A", "xyz")] * 2000, [("A", "xyz")] * 2000 * TIMES)
