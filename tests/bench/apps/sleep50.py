"""Knows an application that waits long for something else: fifty milliseconds, as for a slow query."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WAIT = 0.05
BODY = b"Hello, World!"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    time.sleep(WAIT)
    start_response("200 OK", HEADERS)
    return [BODY]
