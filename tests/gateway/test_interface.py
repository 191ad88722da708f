"""Knows applications of either kind by how they have to be called, and guesses nothing about the others."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from server_core.errors import AppLoadError
from server_core.gateway.interface import require, speaks_asgi


async def coroutine(scope: Any, receive: Any, send: Any) -> None: ...
async def with_more(more: Any, scope: Any, receive: Any, send: Any) -> None: ...
def plain_asgi(scope: Any, receive: Any, send: Any) -> Any: ...
def with_default(environ: Any, start_response: Any, more: Any = None) -> Any: ...
def wsgi(environ: Any, start_response: Any) -> Any: ...
def asgi_2(scope: Any) -> Any: ...
def decorated(*arguments: Any) -> Any: ...
def factory() -> Any: ...


class Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class PlainAsgi:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any: ...


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class Asgi2:
    def __init__(self, scope: Any) -> None: ...


@pytest.mark.parametrize(
    "application", [coroutine, partial(with_more, 1), plain_asgi, Asgi(), PlainAsgi(), partial(Asgi())]
)
def test_asgi_is_known(application: Any):
    assert speaks_asgi(application) is True
    require(application, True, "x", "asgi")
    with pytest.raises(AppLoadError, match="x is an ASGI application, and worker_class sync calls WSGI"):
        require(application, False, "x", "sync")


@pytest.mark.parametrize("application", [wsgi, with_default, Wsgi(), asgi_2, Asgi2])
def test_what_is_no_asgi_3_is_known(application: Any):
    assert speaks_asgi(application) is False
    require(application, False, "x", "sync")
    with pytest.raises(AppLoadError, match="x is no ASGI 3 application"):
        require(application, True, "x", "asgi")


@pytest.mark.parametrize("application", [decorated, factory, dict])
def test_what_cannot_be_told_is_believed(application: Any):
    assert speaks_asgi(application) is None
    for asgi in (True, False):
        require(application, asgi, "x", "sync")


@pytest.mark.parametrize(
    ("module", "name", "is_asgi"),
    [
        ("django.core.handlers.asgi", "ASGIHandler", True),
        ("django.core.handlers.wsgi", "WSGIHandler", False),
        ("starlette.applications", "Starlette", True),
        ("flask", "Flask", False),
    ],
)
def test_frameworks_are_known(module: str, name: str, is_asgi: bool):
    kind = getattr(pytest.importorskip(module), name)
    assert speaks_asgi(kind.__new__(kind)) is is_asgi
