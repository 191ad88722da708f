"""Knows where we and h11 (a strict parser that others wrote) differ about the same bytes, and why.

h11 plays the server and answers each request, so that it reads on to the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import h11
from grammar import DAMAGED, STREAMS, understood
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from request_corpus import CASES
from request_reader import RequestReader, byte_by_byte, read


@dataclass(frozen=True)
class Seen:
    """What a reader says of one request.  The two fields that h11 rewrites are left out, for the body tells them."""

    method: str
    path: str
    query: str
    fields: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Reading:
    """What a reader says of some bytes: the requests, and whether it then refused, waits for more, or is done."""

    requests: tuple[Seen, ...]
    end: str


REFUSED, WAITS, DONE = "refused", "waits", "done"
REWRITTEN = {"CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"}


def ours(data: bytes) -> Reading:
    outcome = read([data])
    requests = tuple(
        Seen(each.method, each.path, each.query, _without_framing(dict(each.fields)), each.body)
        for each in outcome.requests
    )
    return Reading(requests, REFUSED if outcome.refused else WAITS if outcome.open in ("head", "body") else DONE)


def of_h11(data: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    if data:  # nothing is the end of the connection to h11
        connection.receive_data(data)
    requests: list[Seen] = []
    request, body = None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return Reading(tuple(requests), REFUSED)
        if isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            requests.append(_seen(request, body))
            # To CONNECT and Upgrade this says that the protocol stays HTTP.
            connection.send(h11.Response(status_code=400, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                return Reading(tuple(requests), DONE)
            connection.start_next_cycle()
        else:
            assert event is h11.NEED_DATA
            between = connection.their_state is h11.IDLE and not connection.trailing_data[0]
            return Reading(tuple(requests), DONE if between else WAITS)


def _seen(request: h11.Request, body: bytes) -> Seen:
    """A request as h11 tells it, in our words."""
    before, _, query = request.target.decode("latin-1").partition("?")
    fields = understood([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers])
    if before[:1] in ("/", "*", ""):
        path = before.removeprefix("*")
    else:
        fields["HTTP_HOST"], slash, path = before.partition("://")[2].partition("/")
        path = slash + path or "/"
    return Seen(request.method.decode(), path, query, _without_framing(fields), body)


def _without_framing(fields: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in fields.items() if key not in REWRITTEN))


#: (which way, RFC section, why) -> the cases of the corpus that differ so
ACCEPTS = "h11 accepts, we refuse"
REFUSES = "h11 refuses, we accept"
HESITATES = "h11 waits for more, we refuse"
STOPS = "h11 reads no further, we do"
OTHERWISE = "both accept, and understand something else"

DIFFERENCES: dict[tuple[str, str, str], list[str]] = {
    (
        ACCEPTS,
        "RFC 9112, 2.2",
        "a line ends in CR LF; LF alone may be taken for an end, and readers that differ desync",
    ): [
        "a request line that ends in LF alone",
        "a field line that ends in LF alone",
        "a head that ends in LF alone",
        "a last chunk that ends in LF alone",
        "a trailer with LF alone",
    ],
    (ACCEPTS, "RFC 9112, 5.2", "a server may refuse a folded line, and a proxy in front may not have unfolded it"): [
        "a folded line",
        "a line folded by a tab",
        "a folded trailer",
    ],
    (ACCEPTS, "RFC 9112, 6.3", "Transfer-Encoding beside Content-Length is how requests are smuggled"): [
        "a length as well",
        "a length before it",
    ],
    (ACCEPTS, "RFC 9112, 6.1", "in 1.0 a Transfer-Encoding is faulty framing"): ["chunked in 1.0"],
    (ACCEPTS, "RFC 9112, 6.3", "a list of equal lengths may be refused, and is an attack more often than a fault"): [
        "a length list of equals",
        "two equal lengths",
    ],
    (ACCEPTS, "RFC 9110, 5.3 and 8.3", "Content-Type has one value: two readers could choose differently"): [
        "two content types",
    ],
    (ACCEPTS, "RFC 9112, 7.1", "a chunk size is followed by CR LF or an extension, white space alone by neither"): [
        "a space after the size",
        "white space behind an extension",
    ],
    (ACCEPTS, "RFC 9112, 7.1.1", "h11 skips all between the semicolon and the line's end; we check the grammar"): [
        "an empty extension",
        "an extension without a value",
        "an open quoted extension",
        "CR in an extension",
        "NUL in a quoted extension",
    ],
    (ACCEPTS, "RFC 9112, 7.1", "16 digits are 64 bits: who reads more may overflow; h11 takes 20"): [
        "a size of 17 digits"
    ],
    (ACCEPTS, "RFC 9112, 3.2", "h11 leaves the target to the application; we know the four forms and no fragment"): [
        "a fragment in the target",
        "a target that is no path",
        "GET *",
        "OPTIONS **",
        "an absolute target without an authority",
        "an absolute target with a user",
        "an absolute target with a wrong port",
        "another scheme",
        "a scheme without slashes",
    ],
    (ACCEPTS, "RFC 9110, 9.3.6", "CONNECT asks for a tunnel, which an origin server has not: 501"): [
        "CONNECT",
        "CONNECT to a path",
    ],
    (ACCEPTS, "RFC 9112, 3.2", "h11 counts the Host fields; we also check the value, and want one that names a host"): [
        "an empty Host",
        "a wrong Host in 1.0",
    ],
    (ACCEPTS, "RFC 9112, 2.3", "h11 takes any digits for the version; another major version is another syntax: 505"): [
        "version 0.9",
        "version 3.0",
        "HTTP/2 with prior knowledge",
    ],
    (ACCEPTS, "RFC 9110, 5.5", "control characters in a value are invalid; h11 allows all but NUL and white space"): [
        "DEL in a value",
    ],
    (
        ACCEPTS,
        "RFC 9110, 10.1.1",
        "an expectation that is not known is answered 417; h11 leaves it to the application",
    ): [
        "another expectation",
    ],
    (
        ACCEPTS,
        "RFC 9112, 3",
        "we have limits for method and line of their own (400, 414), h11 one for the whole head",
    ): [
        "a method of 33 characters",
        "a method longer than the longest line",
        "a target longer than the longest line",
    ],
    (REFUSES, "RFC 9112, 2.2", "at least one empty line before a request should be ignored; we allow four"): [
        "empty lines before a request",
        "empty lines between requests",
        "empty lines after the last request wait for one",
    ],
    (REFUSES, "RFC 9112, 7.1.1", "BWS is allowed before the semicolon of an extension"): [
        "extensions with white space"
    ],
    (
        HESITATES,
        "RFC 9112, 3",
        "what cannot begin a method is refused at once; h11 looks for controls and space only",
    ): [
        "a first byte beyond ASCII",
    ],
    (
        HESITATES,
        "RFC 9112, 6.3 and 7.1",
        "what no body here may have (20 digits, or beyond limit_request_body); h11 takes any",
    ): [
        "a length of 20 digits",
        "a size beyond 63 bits",
    ],
    (STOPS, "RFC 9112, 9.3", "a 1.0 client may ask for keep-alive; h11 never grants it"): [
        "1.0 persists when asked to"
    ],
}


def difference(data: bytes) -> str:
    """Which way the two readings of ``data`` differ; "" when they are the same."""
    we, they = ours(data), of_h11(data)
    if we == they:
        return ""
    common = min(len(we.requests), len(they.requests))
    if we.requests[:common] != they.requests[:common]:
        return OTHERWISE
    if we.end == REFUSED and len(they.requests) > common:
        return ACCEPTS
    if they.end == REFUSED and (len(we.requests) > common or we.end != REFUSED):
        return REFUSES
    if they.end == WAITS and we.end == REFUSED:
        return HESITATES
    return STOPS if they.end == DONE and len(we.requests) > common else "the ends differ"


def test_each_difference_over_the_corpus_is_listed_and_each_that_is_listed_is_there():
    found = {name: way for name, data, _ in CASES if (way := difference(data))}
    listed = {name: way for (way, _, _), names in DIFFERENCES.items() for name in names}
    assert found == listed
    assert len(listed) == sum(map(len, DIFFERENCES.values())), "a case is listed twice"


def accepted(data: bytes) -> Iterator[bytes]:
    """The bytes of each request that we accept, without the empty lines before it."""
    reader, begin = RequestReader(), 0
    for index, byte in enumerate(byte_by_byte(data)):
        before = len(reader.outcome.requests)
        reader.feed(byte)
        if len(reader.outcome.requests) > before:
            request, begin = data[begin : index + 1], index + 1
            yield re.sub(rb"\A(?:\r\n)+", b"", request)


def has_white_space_before_an_extension(request: bytes) -> bool:
    """The one class of requests (see DIFFERENCES) that we accept and h11 refuses, empty lines apart."""
    return re.search(rb"\r\n[0-9A-Fa-f]{1,16}[ \t]+;", request) is not None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.one_of(STREAMS, DAMAGED))
def test_what_we_accept_h11_accepts_too_and_understands_alike(data: bytes):
    for request in accepted(data):
        we, they = ours(request), of_h11(request)
        assert len(we.requests) == 1
        assert they.requests == we.requests or (
            they == Reading((), REFUSED) and has_white_space_before_an_extension(request)
        )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=DAMAGED)
def test_as_far_as_both_accept_a_stream_they_see_the_same_requests(data: bytes):
    assert difference(data) != OTHERWISE
