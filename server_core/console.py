"""Knows how a request looks on the terminal of a person who develops; programs read the access log's other formats."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, tzinfo

from server_core.exchange import Exchange

#: a key of the environ under which a framework may put how many queries a request took, and how many seconds
QUERIES = "prefork_serve.queries"
#: from here on a request is marked as slow
SLOW_SECONDS = 0.5
LONGEST_TARGET = 200

_GREEN, _CYAN, _YELLOW, _RED, _DIM = "32", "36", "33", "1;31", "2"
_BY_CLASS = {"1": _CYAN, "2": _GREEN, "3": _CYAN, "4": _YELLOW, "5": _RED}


def wants_color(descriptor: int) -> bool:
    """Is it a terminal, of somebody who has not asked for no colours (no-color.org)?"""
    try:
        return os.isatty(descriptor) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    except OSError:
        return False


def local_time(seconds: float, zone: tzinfo | None, form: str) -> str:
    """A time since the epoch in words of strftime; without a ``zone`` in that of the system."""
    if zone is None:
        return time.strftime(form, time.localtime(seconds))
    return datetime.fromtimestamp(seconds, zone).strftime(form)


def request_line(color: bool, zone: tzinfo | None = None) -> Callable[[Exchange], str]:
    """A function that makes a line of an exchange: ``12:30:01 GET /cart/ 200 14 ms, 3 queries 2.1 ms``."""

    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if color else text

    def line(exchange: Exchange) -> str:
        environ, status, _, _, ended, seconds = exchange
        target = str(environ.get("RAW_URI", "-"))
        if len(target) > LONGEST_TARGET:
            target = target[: LONGEST_TARGET - 3] + "..."
        asked = f"{environ.get('REQUEST_METHOD', '-')} {target}"  # an application may have changed the method
        if not asked.isprintable():  # a terminal obeys control characters, also those of 8 bits
            asked = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in asked)
        code = status[:3] or "gone"
        took = _milliseconds(seconds)
        if seconds >= SLOW_SECONDS:
            took = paint(f"{took} slow", _RED)
        parts = [
            paint(local_time(ended, zone, "%H:%M:%S"), _DIM),
            asked,
            paint(code, _BY_CLASS.get(code[0], _YELLOW)),
            took,
        ]
        queries = environ.get(QUERIES)
        if queries is not None:
            count, spent = queries
            parts[-1] += f", {count} {'query' if count == 1 else 'queries'} {_milliseconds(spent)}"
        return " ".join(parts)

    return line


def _milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
