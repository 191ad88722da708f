"""Runs the whole corpus of requests against the worker class tornado: it must not understand HTTP differently."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from live import LiveServer
from request_corpus import CASES, MORE, Case
from wire import Wire

OPTIONS = ["--workers", "1", "--worker-class", "tornado"]

#: long cases are cut into bytes in the tests of the guard, where that costs nothing
SHORT = [case for case in CASES if len(case[1]) <= 400]


@pytest.fixture(scope="session")
def accountant() -> Iterator[LiveServer]:
    """A server whose application says what it has understood."""
    server = LiveServer("tornado_pages:account", *OPTIONS)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


def expected_of(case: Case) -> tuple[list[str], int]:
    """The requests that reach the application, in the words of the corpus, and the status of the refusal (0: none)."""
    _, data, expected = case
    if isinstance(expected, int):
        # What comes before the fault in the same bytes is answered first.
        return (["GET /1"] if data.startswith(b"GET /1 ") else []), expected
    return [request for request in expected if request != MORE], 0


def check(server: LiveServer, case: Case, pieces: list[bytes]) -> None:
    accepted, refused = expected_of(case)
    with Wire(server) as wire:
        try:
            for piece in pieces:
                wire.send(piece)
            wire.half_close()
        except OSError:
            pass  # the connection has ended, as it should, before the last bytes that nobody reads
        for request in accepted:
            reply = wire.reply()
            if reply.status == 100:
                reply = wire.reply()
            assert reply.status == 200
            head, _, body = request.partition(" ")[2].partition(" ")
            path, _, query = head.partition("?")
            assert json.loads(reply.body) == {
                "method": request.partition(" ")[0],
                "path": path,
                "query": query,
                "body": body,
            }
        last = wire.rest()
        if refused:
            assert last.startswith(b"HTTP/1.1 %d " % refused)
            assert b"\r\nConnection: close\r\n" in last
            assert last.count(b"HTTP/1.1 ") == 1
        else:
            # The end of the connection inside a body is a fault of its own; inside a head it was no request.
            assert last == b"" or last.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_corpus_is_understood_on_the_wire(accountant: LiveServer, case: Case):
    check(accountant, case, [case[1]])


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case[0])
def test_so_it_is_byte_by_byte(accountant: LiveServer, case: Case):
    check(accountant, case, [case[1][position : position + 1] for position in range(len(case[1]))])
