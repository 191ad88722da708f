"""Servers that speak TLS, of each worker class, with a certificate that the tests' own authority has signed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from certificates import Authority
from live import WORKER_CLASSES, LiveServer
from tls_client import TlsClient, trusting
from wire import Gate, Wire

#: TLS is the same code for greenlets as for threads
EACH = [pytest.param(name, marks=[] if name in ("sync", "gthread") else [pytest.mark.slow]) for name in WORKER_CLASSES]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom all clients of these tests trust."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def with_certificate(authority: Authority) -> list[str]:
    """The options that make a server speak TLS."""
    certfile, keyfile = authority.make("server")
    return ["--certfile", str(certfile), "--keyfile", str(keyfile)]


@pytest.fixture(scope="session", params=EACH)
def options(request: pytest.FixtureRequest, with_certificate: list[str]) -> list[str]:
    """One worker of each class."""
    return [*with_certificate, "--workers", "1", *WORKER_CLASSES[request.param]]


@pytest.fixture(scope="session")
def server(options: list[str], authority: Authority) -> Iterator[LiveServer]:
    """The contract application, whose clients trust the authority and nobody else."""
    server = LiveServer("contract:app", *options, "--body-buffer-size", "256KB")
    server.secure = trusting(str(authority.path))
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
def silent(server: LiveServer) -> Iterator[TlsClient]:
    """A client that has connected and said nothing yet."""
    assert server.secure is not None
    with TlsClient(server.connect_plain(), server.secure, shake=False) as client:
        yield client


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
