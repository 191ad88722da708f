"""What the tests of the worker class asgi share: its loops, and a server with the application that has all pages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "live_tls"))

from live import LiveServer
from wire import Wire

#: the code is the same on both, so one of them can wait for make test-all
EACH = [pytest.param("asyncio", marks=pytest.mark.slow), "uvloop"]


@pytest.fixture(scope="session", params=EACH)
def options(request: pytest.FixtureRequest) -> list[str]:
    """One worker of the class on each of its loops; its options are followed by others."""
    return ["--workers", "1", "--worker-class", "asgi", "--asgi-loop", str(request.param)]


@pytest.fixture(scope="session")
def server(options: list[str]) -> Iterator[LiveServer]:
    """The application with the default settings."""
    server = LiveServer("asgi_pages:app", *options)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


@pytest.fixture
def start(serve: Callable[..., LiveServer], options: list[str]) -> Callable[..., LiveServer]:
    """``start("--keep-alive", "1")``: the application with settings of its own."""

    def start(*arguments: str, app: str = "asgi_pages:app", **more: object) -> LiveServer:
        return serve(app, *options, *arguments, **more)

    return start


@pytest.fixture
def wire(server: LiveServer) -> Iterator[Wire]:
    """A connection to the server."""
    with Wire(server) as wire:
        yield wire
