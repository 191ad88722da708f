"""Servers of every worker class that can be probed, with an application of the kind that it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import ALIKE, WORKER_CLASSES, LiveServer
from spin import Spin

KINDS = {name: ("probed:wsgi", options) for name, options in WORKER_CLASSES.items()} | {
    "asgi": ("probed:asgi", ["--worker-class", "asgi"]),
    "tornado's own": ("probed:tornado()", ["--worker-class", "tornado"]),
}
PROBES = ["--health-path", "/-/live,/-/ready"]


@pytest.fixture(
    scope="session", params=[pytest.param(kind, marks=[pytest.mark.slow] if kind in ALIKE else []) for kind in KINDS]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def command(kind: str) -> list[str]:
    """The application and its worker class, with one worker."""
    app, options = KINDS[kind]
    return [app, *options, "--workers", "1", *PROBES]


@pytest.fixture(scope="session")
def at_once(kind: str) -> int:
    """How many requests that compute leave the worker nobody who could do anything else."""
    return 4 if "--threads" in KINDS[kind][1] else 1


@pytest.fixture(scope="session")
def server(command: list[str]) -> Iterator[LiveServer]:
    """Nothing but the paths is set."""
    server = LiveServer(*command)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


@pytest.fixture
def start(serve: Callable[..., LiveServer], command: list[str]) -> Callable[..., LiveServer]:
    """``start("--keep-alive", "1")``: with settings of its own."""
    return lambda *arguments, **more: serve(*command, *arguments, **more)


@pytest.fixture
def spin(tmp_path: Path) -> Iterator[Spin]:
    spin = Spin(tmp_path / "spin")
    yield spin
    (tmp_path / "spin").touch()
