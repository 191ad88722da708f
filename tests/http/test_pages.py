"""Knows what the server's own answers look like, and how a client chooses their form."""

from __future__ import annotations

import json

import pytest
from growth import TIMES, is_linear
from hypothesis import given
from hypothesis import strategies as st

from server_core.http.pages import error_page

STATUSES = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


def page(status: int = 400, accept: str = "", head_only: bool = False) -> tuple[list[str], str]:
    """Head lines and body."""
    text = error_page(status, b"Date: now\r\n", accept=accept, head_only=head_only).decode("ascii")
    head, _, body = text.partition("\r\n\r\n")
    return head.split("\r\n"), body


def media_type(accept: str) -> str:
    return page(accept=accept)[0][1].removeprefix("Content-Type: ").partition(";")[0]


@pytest.mark.parametrize("status", STATUSES)
def test_a_page_says_the_status_and_nothing_else(status: int):
    head, body = page(status)
    assert body == f"{status} {STATUSES[status]}\n"
    assert [line for line in head if not line.startswith("Retry-After")] == [
        f"HTTP/1.1 {status} {STATUSES[status]}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Date: now",
        "Connection: close",
    ]


def test_only_a_page_about_something_that_passes_says_when_to_come_again():
    assert [status for status in STATUSES if "Retry-After: 5" in page(status)[0]] == [503]


@pytest.mark.parametrize("accept", ["", "text/html", "application/json"])
def test_the_answer_to_head_has_the_length_but_not_the_body(accept: str):
    head = page(500, accept)[0]
    assert page(500, accept, head_only=True) == (head, "")


def test_a_page_for_programs_is_json():
    head, body = page(413, "application/json")
    assert json.loads(body) == {"status": 413, "title": "Content Too Large"}
    assert f"Content-Length: {len(body)}" in head
    assert page(413, "application/problem+json")[1] == body


def test_a_page_for_people_is_html():
    assert page(413, "text/html")[1] == (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        "<title>413 Content Too Large</title><h1>413 Content Too Large</h1></html>\n"
    )


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("image/png", "text/plain"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/html;q=0.5, application/json;q=0.4", "text/html"),
        ("TEXT/HTML; Q=0.5 ,text/plain;q=0.1", "text/html"),
        ("application/json;q=0, text/html;q=0.1", "text/html"),
        ("application/json;q=0", "text/plain"),
        ("application/json;charset=utf-8;q=0.9", "application/json"),
        ("application/problem+json", "application/problem+json"),
        ("application/*", "application/json"),
        ("text/*", "text/plain"),
        (",;,;q=,", "text/plain"),
    ],
)
def test_the_form_that_is_liked_best_is_taken(accept: str, expected: str):
    assert media_type(accept) == expected


@given(st.text("text/htmlapplicationjson*;,q=01. ", max_size=80))
def test_any_accept_field_leads_to_some_form(accept: str):
    assert media_type(accept) in ("text/plain", "text/html", "application/json", "application/problem+json")


@pytest.mark.parametrize("piece", [",", ";", "q=", " ", "a/b;q=1,", "text/html;q=0.1"])
def test_no_accept_field_takes_the_square_of_its_length(piece: str):
    turn = iter(range(10**9))  # the answer to a field that was seen before is remembered

    def read(size: int) -> None:
        error_page(400, b"", accept=piece * (size // len(piece)) + str(next(turn)))

    assert is_linear(read, 1000, 1000 * TIMES)
