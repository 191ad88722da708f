"""The contract that every worker class has to keep: each test here runs against each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import EACH_CLASS, WORKER_CLASSES, LiveServer
from wire import Gate, Wire


@pytest.fixture(scope="session", params=EACH_CLASS)
def worker_class(request: pytest.FixtureRequest) -> str:
    """The name of the worker class."""
    return str(request.param)


@pytest.fixture(scope="session")
def options(worker_class: str) -> list[str]:
    """One worker of the class; its options are followed by others."""
    return ["--workers", "1", *WORKER_CLASSES[worker_class]]


@pytest.fixture(scope="session")
def server(options: list[str]) -> Iterator[LiveServer]:
    """The contract application, with the default settings, but that less of a body is kept in memory."""
    server = LiveServer("contract:app", *options, "--body-buffer-size", "256KB")
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


@pytest.fixture
def start(serve: Callable[..., LiveServer], options: list[str]) -> Callable[..., LiveServer]:
    """``start("--keep-alive", "1")``: the contract application with settings of its own."""

    def start(*arguments: str, app: str = "contract:app", **more: object) -> LiveServer:
        return serve(app, *options, *arguments, **more)

    return start


@pytest.fixture
def worker(server: LiveServer) -> int:
    """The process id of the server's only worker, which outlives the test."""
    (pid,) = server.processes()
    return pid


@pytest.fixture
def wire(server: LiveServer) -> Iterator[Wire]:
    """A connection to the server."""
    with Wire(server) as wire:
        yield wire


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[Callable[[], Gate]]:
    """``gates()`` makes a gate."""
    made: list[Gate] = []

    def make() -> Gate:
        made.append(Gate(tmp_path / f"gate{len(made)}"))
        return made[-1]

    yield make
    for gate in made:
        gate.close()
