"""Knows an application that waits for something else: two milliseconds of sleep stand in for a database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WAIT = 0.002
BODY = b"Hello, World!"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    time.sleep(WAIT)
    start_response("200 OK", HEADERS)
    return [BODY]
