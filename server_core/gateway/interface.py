"""Knows whether an application speaks ASGI, WSGI or tornado's interface, by how it has to be called; calls nothing."""

from __future__ import annotations

import inspect
import sys
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


def speaks_tornado(application: Any) -> bool:
    """Is this an application of tornado (``tornado.web.Application``, or another that is told of connections)?"""
    library: Any = sys.modules.get("tornado.httputil")  # whoever has such an application has imported it
    return library is not None and isinstance(application, library.HTTPServerConnectionDelegate)


def _require_no_class_of_tornado(application: Any, called: str) -> None:
    """Raise AppLoadError for a handler of tornado's, or a class of applications, where an application should be.

    They can be called with two arguments or none, as if they were WSGI's, and then each request would fail.
    """
    if not isinstance(application, type):
        return
    bases = {f"{each.__module__}.{each.__name__}" for each in application.__mro__}
    name = application.__name__
    if "tornado.web.RequestHandler" in bases:
        raise AppLoadError(
            f"{called} is a request handler of tornado, and no application: write "
            f'app = tornado.web.Application([(r"/", {name})]) beside it, and name that.'
        )
    if "tornado.web.Application" in bases:
        raise AppLoadError(
            f"{called} is a class of tornado's applications, and no application: write app = {name}(...) beside it, "
            "and name that."
        )


def require(application: Any, asgi: bool, called: str, worker_class: str, tornado: bool = False) -> None:
    """Raise AppLoadError unless a worker of this class can call the application that people know as ``called``.

    ``asgi``: it calls ASGI applications and no others; ``tornado``: those of tornado, besides WSGI's.
    """
    _require_no_class_of_tornado(application, called)
    if speaks_tornado(application):
        if not tornado:
            raise AppLoadError(
                f"{called} is an application of tornado, and worker_class {worker_class} calls "
                f"{'ASGI' if asgi else 'WSGI'} applications: choose worker_class tornado."
            )
        return
    speaks = speaks_asgi(application)
    if asgi and speaks is False:
        raise AppLoadError(
            f"{called} is no ASGI 3 application (one that is called with scope, receive and send), and worker_class "
            f"{worker_class} calls no other: choose worker_class sync or gthread for a WSGI application."
        )
    if speaks and not asgi:
        raise AppLoadError(
            f"{called} is an ASGI application, and worker_class {worker_class} calls "
            f"{'applications of tornado and WSGI' if tornado else 'WSGI applications'}: choose worker_class asgi."
        )
