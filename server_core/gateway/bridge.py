"""Puts a WSGI application in front of an ASGI one, for some paths: files, which are read in threads; nothing else is.

The one place where the two meet.  Only for applications that do not read the request's body.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from typing import Any

from server_core.gateway.asgi import ASGIApplication, Receive, Scope, Send
from server_core.gateway.environ import Environ, base_environ
from server_core.gateway.inspection import Finding
from server_core.gateway.loader import Application
from server_core.gateway.mount import inside
from server_core.gateway.static import IsImmutable, with_files
from server_core.http.fields import combine

#: in an environ: the WSGI application has nothing to say, the ASGI one is to be asked
PASSED_ON = "prefork_serve.passed_on"


def pass_on(environ: Environ, start_response: Any) -> list[bytes]:
    """A WSGI application, to be put behind those in front: what reaches it is the ASGI application's."""
    environ[PASSED_ON] = True
    return []


def beside(application: ASGIApplication, wsgi: Application, below: tuple[str, ...]) -> ASGIApplication:
    """``application``, but that ``wsgi`` is asked first for paths that begin with one of ``below``.

    It has ``pass_on`` behind it, for what it has no answer to.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not inside(scope["path"], scope["root_path"]).startswith(below):
            await application(scope, receive, send)
            return
        environ = environ_of(scope)
        thread = asyncio.get_running_loop().run_in_executor
        said: list[Any] = []

        def start_response(*words: Any) -> None:
            said[:] = words

        result = await thread(None, wsgi, environ, start_response)
        if PASSED_ON in environ:
            await application(scope, receive, send)
            return
        try:
            blocks = iter(result)
            block = await thread(None, next, blocks, None)
            status, headers = said[:2]
            lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            await send({"type": "http.response.start", "status": int(status[:3]), "headers": lines})
            while block is not None:
                await send({"type": "http.response.body", "body": block, "more_body": True})
                block = await thread(None, next, blocks, None)
            await send({"type": "http.response.body"})
        finally:
            close: Callable[[], object] | None = getattr(result, "close", None)
            if close is not None:
                await thread(None, close)

    return answer


def environ_of(scope: Scope) -> Environ:
    """The environ of a request without a body."""
    name, port = scope["server"] or ("localhost", None)
    lines = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in scope["headers"]]
    environ = base_environ(
        name,
        str(port or ""),
        "prefork-serve",
        multithread=True,
        multiprocess=True,
        errors=sys.stderr,
        scheme=scope["scheme"],
    )
    path = inside(scope["path"], scope["root_path"])
    return {
        **environ,
        **combine(lines),
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope["root_path"],
        "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.input": io.BytesIO(),
    }


def files_beside(
    application: ASGIApplication,
    mounts: Iterable[tuple[str, str]],
    *,
    fresh: bool,
    is_immutable: IsImmutable | None,
) -> tuple[ASGIApplication, list[Finding]]:
    """``static.with_files`` for an ASGI application."""
    mounts = list(mounts)
    files, left_out = with_files(pass_on, mounts, fresh=fresh, is_immutable=is_immutable)
    if files is not pass_on:
        application = beside(application, files, tuple(url for url, _ in mounts))
    return application, left_out
