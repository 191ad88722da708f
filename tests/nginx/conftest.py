"""nginx in front of each worker class, by a unix socket and by TCP, with the lines that the manual has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "live_tls"))

from behind_nginx import Site, find_nginx
from live import LiveServer

#: Worker classes that serve WSGI -> the options that choose them.
WORKER_CLASSES = {
    "sync": ["--worker-class", "sync"],
    "gthread": ["--worker-class", "gthread", "--threads", "4"],
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where there is no nginx all of these tests are skipped, and the summary says why."""
    if find_nginx() is None:
        told = pytest.mark.skip("nginx is not installed: nothing was tried behind it (apt install nginx-light)")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(told)


@pytest.fixture(scope="session")
def nginx_program() -> str:
    """Where nginx is."""
    program = find_nginx()
    assert program is not None
    return program


#: nginx sees no difference between them, so one of them can wait for make test-all
EACH = ["sync", pytest.param("gthread", marks=pytest.mark.slow)]


@pytest.fixture(scope="session", params=EACH)
def worker_class(request: pytest.FixtureRequest) -> list[str]:
    """The options that choose the worker class."""
    return WORKER_CLASSES[request.param]


@pytest.fixture(scope="session", params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """How nginx reaches the server."""
    return str(request.param)


@pytest.fixture(scope="module")
def build(nginx_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """``build(kind, ["--workers", "2"], ...)`` starts a server and nginx in front of it; they end with the module."""
    sites: list[Site] = []

    def build(kind: str, options: list[str], **more: object) -> Site:
        sites.append(Site(nginx_program, tmp_path_factory.mktemp("nginx"), kind, options, **more))  # type: ignore[arg-type]
        return sites[-1]

    try:
        yield build
    finally:
        for site in sites:
            site.end()


@pytest.fixture(scope="module")
def site(build: Callable[..., Site], kind: str, worker_class: list[str]) -> Site:
    """One worker behind nginx, which all tests of a module share."""
    return build(kind, ["--workers", "1", *worker_class])


@pytest.fixture
def server(site: Site) -> LiveServer:
    """What stands behind nginx."""
    return site.server
