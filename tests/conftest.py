"""What all tests share: a fixture that starts real servers and ends them, whatever happens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from live import LiveServer


@pytest.fixture
def serve() -> Iterator[Callable[..., LiveServer]]:
    """``serve(*arguments, ...)`` starts prefork-serve on a free port, waits until it serves, ends it after the test."""
    with _starting() as start:
        yield start


@pytest.fixture(scope="module")
def serve_for_all() -> Iterator[Callable[..., LiveServer]]:
    """The same for servers that all tests of a module share."""
    with _starting() as start:
        yield start


@contextmanager
def _starting() -> Iterator[Callable[..., LiveServer]]:
    servers: list[LiveServer] = []

    def start(*arguments: str, **options: object) -> LiveServer:
        server = LiveServer(*arguments, **options)  # type: ignore[arg-type]
        servers.append(server)
        if options.get("wait", True):
            server.wait_until_serving()
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.end()
