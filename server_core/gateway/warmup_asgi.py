"""The same as ``warmup`` for ASGI applications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from server_core.gateway.asgi import SPEC_VERSION, path_of
from server_core.gateway.environ import Environ
from server_core.gateway.warmup import USER_AGENT, host_of, judge, raised


async def warm_up(
    application: Any,
    base: Environ,
    allowed: Iterable[str],
    targets: Iterable[str],
    root_path: str,
    state: Mapping[str, Any],
) -> None:
    """Ask for ``targets``; ``base`` is the environ of a listener, the rest is as in scopes.  Raises AppLoadError."""
    host = host_of(allowed, base["SERVER_NAME"])
    headers = [(b"host", host.encode("latin-1")), (b"user-agent", USER_AGENT.encode("ascii"))]
    for target in targets:
        path, _, query = target.partition("?")
        decoded, raw_path = path_of(path, root_path)
        status = ""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
            "http_version": "1.1",
            "method": "GET",
            "scheme": base["wsgi.url_scheme"],
            "path": decoded,
            "raw_path": raw_path,
            "query_string": query.encode("ascii"),
            "root_path": root_path,
            "headers": list(headers),
            "client": ("127.0.0.1", 0),
            "server": (base["SERVER_NAME"], int(base["SERVER_PORT"] or 0)),
            "state": dict(state),
            "extensions": {},
        }
        try:
            await application(scope, receive, send)
        except BaseException as error:
            raise raised(target, error)
        judge(target, status)
