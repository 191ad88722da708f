"""Knows that whoever reads by the guard understands what everybody here understands, however the bytes are cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from request_corpus import CASES, Case
from request_reader import Outcome, Request, byte_by_byte, cut, read

from server_core.errors import ProtocolError
from server_core.http.guard import Guard, Heard, spelt
from server_core.http.head import HeadLimits
from server_core.settings import Limits

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


def guard(hosts: tuple[str, ...] = (), **limits: int) -> Guard:
    found = Limits(**limits)
    return Guard(found, HeadLimits(found), hosts)


def guarded(pieces: Iterable[bytes], most: float = float("inf")) -> Outcome:
    """What comes of these bytes by way of a guard."""
    guard_of_all = guard()
    requests: list[Request] = []
    heard: Heard | None = None
    body: list[bytes] = []
    refused = 0
    ended = False

    def accept() -> None:
        nonlocal heard, ended
        assert heard is not None
        told = (heard.method, heard.path, heard.query, heard.minor, heard.keep_alive, heard.expects)
        requests.append(Request(*told, tuple(sorted(heard.fields.items())), b"".join(body)))
        ended = not heard.keep_alive
        body.clear()
        heard = None

    for data in pieces:
        if ended:
            break
        try:
            while not ended:
                if heard is None:
                    heard, data = guard_of_all.head(data), b""
                    if heard is None:
                        break
                if not guard_of_all.whole:
                    body += guard_of_all.body(data, most)
                    data = b""
                    while guard_of_all.backlog:
                        body += guard_of_all.body(b"", most)
                    if not guard_of_all.whole:
                        break
                accept()
                if not guard_of_all.held:
                    break
        except ProtocolError as error:
            refused = error.status
            ended = True
    state = "end" if ended else "body" if heard is not None else "head" if guard_of_all.held else ""
    return Outcome(tuple(requests), refused, state)


@pytest.mark.parametrize("case", CASES, ids=[name for name, _, _ in CASES])
class TestCorpus:
    def test_what_comes_whole_means_what_it_means_elsewhere(self, case: Case):
        assert guarded([case[1]]) == read([case[1]])

    def test_byte_by_byte_makes_no_difference(self, case: Case):
        assert guarded(byte_by_byte(case[1])) == read([case[1]])

    def test_few_steps_at_once_make_no_difference(self, case: Case):
        assert guarded([case[1]], most=2) == read([case[1]])


@given(cases=st.lists(st.sampled_from(CASES), max_size=3), places=st.sets(st.integers(1, 600), max_size=12))
def test_no_cuts_make_a_difference(cases: list[Case], places: set[int]):
    data = b"".join(data for _, data, _ in cases)
    assert guarded(cut(data, places)) == read([data])


@given(data=st.binary(max_size=200), places=st.sets(st.integers(1, 200), max_size=6))
def test_nothing_but_a_refusal_comes_of_random_bytes(data: bytes, places: set[int]):
    assert guarded(cut(data, places)) == read([data])


def heard_of(data: bytes, asked: Guard | None = None) -> Heard:
    found = (asked or guard()).head(data)
    assert found is not None
    return found


def test_a_client_that_repeats_its_head_is_not_read_again():
    asked = guard()
    first = heard_of(GET % b"1", asked)
    assert heard_of(GET % b"1", asked) is first
    assert heard_of(GET % b"2?x", asked) is first
    assert (first.path, first.query, first.target) == ("/2", "x", "/2?x")


def test_what_is_taken_out_of_the_fields_is_in_no_header():
    heard = heard_of(b"GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1.2.3.4\r\nX_Name: b\r\nProxy: c\r\nAccept: d\r\n\r\n")
    del heard.fields["HTTP_X_REAL_IP"]
    assert heard.headers() == [(b"host", b"a"), (b"accept", b"d")]


def test_repeated_fields_stay_apart_and_bytes_stay_bytes():
    heard = heard_of(b"GET / HTTP/1.1\r\nHost: a\r\nX-Name: \xe9\r\nx-name: b\r\n\r\n")
    assert heard.headers() == [(b"host", b"a"), (b"x-name", b"\xe9"), (b"x-name", b"b")]


def test_the_host_of_an_absolute_target_is_the_one_that_counts():
    heard = heard_of(b"GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert heard.headers() == [(b"host", b"b.example")]
    assert heard.path == "/x"


def test_hosts_that_are_not_allowed_are_refused():
    with pytest.raises(ProtocolError, match="check_hosts"):
        guard(hosts=("b",)).head(GET % b"")
    assert heard_of(GET % b"", guard(hosts=("a",))).path == "/"


def test_what_is_known_of_a_refused_request_can_be_told():
    asked = guard(limit_request_body=3)
    with pytest.raises(ProtocolError):
        asked.head(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
    assert asked.told["REQUEST_METHOD"] == "POST"
    assert asked.told["RAW_URI"] == "/x"
    assert asked.told["HTTP_HOST"] == "a"


UPGRADE = b"Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
HANDSHAKE = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def test_a_websocket_is_asked_for_by_a_get_without_a_body():
    assert heard_of(b"GET / HTTP/1.1\r\n" + UPGRADE + HANDSHAKE + b"\r\n").asks_for_websocket()


@pytest.mark.parametrize(
    "handshake",
    [
        b"",
        HANDSHAKE.replace(b"13", b"8"),
        HANDSHAKE.replace(b"==", b"="),
        HANDSHAKE.partition(b"\r\n")[2],
        HANDSHAKE.partition(b"\r\n")[0] + b"\r\n",
    ],
)
def test_who_asks_in_a_wrong_way_is_refused(handshake: bytes):
    heard = heard_of(b"GET / HTTP/1.1\r\n" + UPGRADE + handshake + b"\r\n")
    with pytest.raises(ProtocolError) as refusal:
        heard.asks_for_websocket()
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\n" + UPGRADE,
        b"GET / HTTP/1.0\r\n" + UPGRADE,
        b"GET / HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n",
    ],
)
def test_anything_else_asks_for_none(head: bytes):
    assert not heard_of(head + b"\r\n").asks_for_websocket()


def test_what_follows_a_head_is_kept_for_another_protocol():
    asked = guard()
    heard = heard_of(b"GET / HTTP/1.1\r\n" + UPGRADE + b"\r\n\x81\x00", asked)
    assert asked.rest() == b"\x81\x00"
    assert asked.held == 0
    assert spelt("GET", "/", heard.headers()[:1]) == b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def test_a_probe_may_name_any_host_and_is_no_model_for_other_requests():
    found = Limits()
    reader = Guard(found, HeadLimits(found), ("shop.example",), ("/live",))
    for _ in range(2):
        heard = reader.head(GET % b"live")
        assert heard is not None
        assert heard.path == "/live"
    with pytest.raises(ProtocolError):
        reader.head(GET % b"alive")
    with pytest.raises(ProtocolError):
        reader.head(b"POST /live HTTP/1.1\r\nHost: a\r\n\r\n")
