"""Knows an application with two kinds of pages: ``/slow`` waits fifty milliseconds, the others answer at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WAIT = 0.05
BODY = b"Hello, World!"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    if environ["PATH_INFO"] == "/slow":
        time.sleep(WAIT)
    start_response("200 OK", HEADERS)
    return [BODY]
