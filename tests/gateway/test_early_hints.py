"""Knows what ``wsgi.early_hints`` sends, when it sends nothing, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateway_client import ask

from server_core.gateway.environ import base_environ

STYLE = ("Link", "</style.css>; rel=preload; as=style")
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"


def hinting(*headers: Any, body: Any = b"hello", status: str = "200 OK") -> Callable[..., Any]:
    """An application that sends these hints, and then its answer."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ["wsgi.early_hints"](list(headers))
        start_response(status, [("Content-Length", "5")])
        return [body]

    return application


def test_they_leave_at_once_before_the_answer():
    told = ask(hinting(STYLE))
    assert told.events[0] == ("hints", HINTS)
    assert told.events[1][1].startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
    assert told.events[1][1].endswith(b"\r\n\r\nhello")
    assert told.keeps_alive
    assert not told.records


def test_an_answer_is_told_by_its_own_status_and_headers():
    told = ask(hinting(STYLE)).response
    assert (told.status, told.headers, told.sent) == ("200 OK", [("Content-Length", "5")], 5)


def test_they_may_be_sent_again_and_again():
    def application(environ: Any, start_response: Any) -> Any:
        for number in range(3):
            environ["wsgi.early_hints"]([("Link", f"</{number}>")])
        start_response("200 OK", [])
        environ["wsgi.early_hints"]([("Link", "</last>")])  # the head has not been sent yet
        return [b""]

    sent = ask(application).sink.sent
    assert sent.count(b"103 Early Hints\r\n") == 4
    assert sent.index(b"</2>") < sent.index(b"</last>") < sent.index(b"200 OK")


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_the_method_does_not_matter(method: str):
    assert ask(hinting(STYLE), method).events[0] == ("hints", HINTS)


def test_a_1_0_client_gets_none():
    told = ask(hinting(STYLE), minor=0)
    assert len(told.events) == 1
    assert told.status == "200 OK"


def test_no_hints_are_no_answer():
    assert len(ask(hinting()).events) == 1


def test_length_and_connection_are_said_by_the_answer_alone():
    told = ask(hinting(("Content-Length", "9"), STYLE, ("Connection", "close"), ("Keep-Alive", "x")))
    assert told.events[0] == ("hints", HINTS)
    assert told.keeps_alive


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize(
    "header",
    [
        ("Link", "</a>\r\nSet-Cookie: a=b"),
        ("Link", "a\nb"),
        ("Link", "\u20ac"),
        ("Li nk", "a"),
        ("Link\r\n\r\nHTTP/1.1 200 OK", "a"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "websocket"),
        ("Content-Length", "five"),
        (b"Link", b"</a>"),
        ("Link", 5),
    ],
)
def test_what_an_answer_may_not_say_hints_may_not(header: Any, minor: int):
    told = ask(hinting(STYLE, header), minor=minor)
    assert told.status == "500 Internal Server Error"
    assert b"103" not in told.sink.sent
    assert "ValueError: " in told.log or "TypeError: " in told.log


def test_hints_that_come_too_late_are_left_out():
    kept: list[Any] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        kept.append(environ["wsgi.early_hints"])
        start_response("200 OK", [])
        yield b"one"
        environ["wsgi.early_hints"]([STYLE])
        yield b"two"

    told = ask(application)
    kept[0]([STYLE])
    assert b"103" not in told.sink.sent
    assert told.body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_they_are_left_out_behind_a_failure_too():
    kept: list[Any] = []

    def application(environ: Any, start_response: Any) -> Any:
        kept.append(environ["wsgi.early_hints"])
        raise RuntimeError("no answer")

    told = ask(application)
    kept[0]([STYLE])
    assert told.status == "500 Internal Server Error"
    assert len(told.events) == 1


def test_an_application_that_fails_after_its_hints_is_a_500():
    told = ask(hinting(STYLE, body=5))
    assert told.events[0] == ("hints", HINTS)
    assert told.events[1][1].startswith(b"HTTP/1.1 500 ")


def test_an_answer_103_is_told_where_hints_are_sent():
    told = ask(hinting(STYLE, status="103 Early Hints"))
    assert "ValueError: '103 Early Hints' is no status of an answer: early hints are sent by environ" in told.log


def test_where_nobody_listens_they_are_sent_to_nobody():
    environ = base_environ("house", "80", "x", multithread=False, multiprocess=False, errors=None)  # type: ignore[arg-type]
    assert environ["wsgi.early_hints"]([STYLE]) is None
