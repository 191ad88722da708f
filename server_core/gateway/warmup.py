"""Asks an application for pages before its worker serves (warmup), so that no client waits for what is done only once.

Inside the process: no socket, no line in the access log.  A page that fails is a failure of the application to load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from server_core.errors import AppLoadError
from server_core.gateway.environ import Environ, Request
from server_core.gateway.loader import describe, own_traceback

USER_AGENT = "prefork-serve (warmup)"
#: a page that is answered with this status or a higher one has failed (RFC 9110, 15.6)
LEAST_FAILURE = 500


def host_of(allowed: Iterable[str], name: str) -> str:
    """The host that pages are asked of: the first one that the application answers for, else the listener's."""
    return next((host for host in allowed if host.strip("*.") == host), name)


def warm_up(application: Any, base: Environ, allowed: Iterable[str], targets: Iterable[str]) -> None:
    """Ask a WSGI application for ``targets``; ``base`` is the environ of a listener.  Raises AppLoadError."""
    fields = {"HTTP_HOST": host_of(allowed, base["SERVER_NAME"]), "HTTP_USER_AGENT": USER_AGENT}
    for target in targets:
        request = Request(base, fields, "GET", 1, False, "127.0.0.1", "0")
        path, _, query = target.partition("?")
        request.aim(target, path, query)
        try:
            status = _status_of(application, {**request.template, "wsgi.input": BytesIO()})
        except BaseException as error:
            raise raised(target, error)
        judge(target, status)


def _status_of(application: Any, environ: Environ) -> str:
    """The status of an answer that is read as a whole."""
    status = ""

    def start_response(said: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        nonlocal status
        status = said
        return lambda data: None

    body = application(environ, start_response)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()
    return status


def raised(target: str, error: BaseException) -> AppLoadError:
    """What is said of a page that raises; called where ``error`` is being handled."""
    return AppLoadError(f"warm-up: GET {target} raised {describe(error)} (warmup)", own_traceback())


def judge(target: str, status: str) -> None:
    """Raise AppLoadError unless this status, "" for none, is that of a page that works."""
    code = status[:3]
    if not code.isdigit():
        raise AppLoadError(f"warm-up: GET {target} was not answered (warmup)")
    if int(code) >= LEAST_FAILURE:
        raise AppLoadError(f"warm-up: GET {target} was answered {status} (warmup)")
