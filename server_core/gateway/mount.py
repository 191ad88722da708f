"""Mounts an application on a path (PEP 3333, SCRIPT_NAME); only where there is one, as it costs a call a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from server_core.gateway.environ import Environ
from server_core.gateway.loader import Application


def inside(path: str, script_name: str) -> str:
    """``path`` of a URL as an application that is mounted on ``script_name`` sees it; one elsewhere stays as it is."""
    return path[len(script_name) :] if path == script_name or path.startswith(script_name + "/") else path


def mounted(application: Application, script_name: str) -> Application:
    """``application`` on ``script_name`` ("/shop"), whether or not the proxy in front has taken that path away."""
    below = script_name + "/"

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == script_name or path.startswith(below):
            environ["PATH_INFO"] = path[len(script_name) :]
        environ["SCRIPT_NAME"] = script_name
        return application(environ, start_response)  # type: ignore[no-any-return]

    return answer if script_name else application
