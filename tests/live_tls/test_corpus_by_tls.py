"""Runs the corpus of requests by TLS: nothing is understood differently because it was encrypted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live import LiveServer
from request_corpus import CASES, Case
from test_corpus import SHORT, check


@pytest.fixture(scope="session")
def accountant(options: list[str]) -> Iterator[LiveServer]:
    """A server whose application says what it has understood."""
    server = LiveServer("contract:account", *options)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_corpus_is_understood_in_one_record(accountant: LiveServer, case: Case):
    check(accountant, case, [case[1]])


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case[0])
def test_so_it_is_in_records_of_three_bytes(accountant: LiveServer, case: Case):
    check(accountant, case, [case[1][position : position + 3] for position in range(0, len(case[1]), 3)])
