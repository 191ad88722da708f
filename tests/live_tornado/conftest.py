"""What the tests of the worker class tornado share: a server with the application that has all pages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "live_tls"))

from live import LiveServer, eventually
from wire import Wire

OPTIONS = ["--workers", "1", "--worker-class", "tornado"]


@pytest.fixture(scope="session")
def server() -> Iterator[LiveServer]:
    """The application with the default settings."""
    server = LiveServer("tornado_pages:app", *OPTIONS)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


@pytest.fixture
def start(serve: Callable[..., LiveServer]) -> Callable[..., LiveServer]:
    """``start("--keep-alive", "1")``: the application with settings of its own."""

    def start(*arguments: str, app: str = "tornado_pages:app", **more: object) -> LiveServer:
        return serve(app, *OPTIONS, *arguments, **more)

    return start


@pytest.fixture
def wire(server: LiveServer) -> Iterator[Wire]:
    """A connection to the server."""
    with Wire(server) as wire:
        yield wire


@pytest.fixture
def drains() -> Callable[[LiveServer], None]:
    """``drains(server)``: its workers have begun to answer no more than what has come."""

    def is_draining(pid: int) -> bool:
        return b"draining" in Path(f"/proc/{pid}/cmdline").read_bytes()

    return lambda server: eventually(lambda: all(map(is_draining, server.processes())))
