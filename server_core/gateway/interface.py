"""Knows whether an application speaks ASGI or WSGI, by how it has to be called; calls nothing."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from server_core.errors import AppLoadError


def speaks_asgi(application: Any) -> bool | None:
    """Is this an ASGI 3 application (True), something else that is called otherwise (False), or is it not to be seen?

    What is declared with ``async def`` is one; else it is told by how many arguments it has to be given: three, or two
    as WSGI has it.
    """
    called = application
    while isinstance(called, partial):
        called = called.func
    method = type(called).__call__
    if inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(method):
        return True
    try:
        parameters = inspect.signature(application).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    given = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = [each for each in given if each.default is each.empty]
    return len(needed) == 3 if len(needed) in (1, 2, 3) else None


def require(application: Any, asgi: bool, called: str, worker_class: str) -> None:
    """Raise AppLoadError unless a worker of this class can call the application that people know as ``called``."""
    speaks = speaks_asgi(application)
    if asgi and speaks is False:
        raise AppLoadError(
            f"{called} is no ASGI 3 application (one that is called with scope, receive and send), and worker_class "
            f"{worker_class} calls no other: choose worker_class sync or gthread for a WSGI application."
        )
    if speaks and not asgi:
        raise AppLoadError(
            f"{called} is an ASGI application, and worker_class {worker_class} calls WSGI applications: choose "
            "worker_class asgi."
        )
