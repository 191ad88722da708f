"""The pytest fixture ``live_serve``; pytest finds it by the entry-point group pytest11, so it costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from server_core.testing import LiveServe


@pytest.fixture
def live_serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., LiveServe]]:
    """``live_serve(application, **settings)`` serves a WSGI application until the test ends; ``.url`` says where.

    Without an application it is that of the fixture ``app``, if there is one (pytest-flask has the same name for it).
    """
    from server_core.testing import LiveServe

    servers: list[LiveServe] = []

    def start(application: Any = None, **settings: object) -> LiveServe:
        if application is None:
            application = request.getfixturevalue("app")
        servers.append(LiveServe(application, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
