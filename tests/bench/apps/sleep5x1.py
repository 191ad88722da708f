"""Knows an application that waits often and works between: five queries of a millisecond, and what is made of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

TIMES = 5
WAIT = 0.001
WORK = 12_000  # turns of an empty loop, about a fifth of a millisecond; the same for every server
BODY = b"Hello, World!"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    for _ in range(TIMES):
        time.sleep(WAIT)
        for _ in range(WORK):
            pass
    start_response("200 OK", HEADERS)
    return [BODY]
