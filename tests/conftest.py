"""What all tests share: a fixture that starts real servers and ends them, whatever happens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from live import LiveServer


@pytest.fixture
def serve() -> Iterator[Callable[..., LiveServer]]:
    """``serve(*arguments, ...)`` starts prefork-serve on a free port, waits until it serves, ends it after the test."""
    servers: list[LiveServer] = []

    def start(*arguments: str, **options: object) -> LiveServer:
        server = LiveServer(*arguments, **options)  # type: ignore[arg-type]
        servers.append(server)
        if options.get("wait", True):
            server.wait_until_serving()
        return server

    yield start
    for server in servers:
        server.end()
