"""Knows the three answers an attacked application gives: at once, of any size, and after reading a whole body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BODY = b"Hello, World!"  # as in the benchmark, whose code looks for it before it calls a server ready


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """``/big/N`` answers N bytes, made anew for each request as a page would be; the body of a POST is read."""
    path: str = environ["PATH_INFO"]
    body = bytes(int(path[5:])) if path.startswith("/big/") else BODY
    if environ["REQUEST_METHOD"] == "POST":
        while environ["wsgi.input"].read(65536):
            pass
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
