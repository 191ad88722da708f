"""One request with its response, told once when it is over to everyone who wants to know; knows nobody of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple


class Exchange(NamedTuple):
    """What happened: the request as its WSGI environ, the status as sent, body bytes sent and how long it took."""

    environ: dict[str, Any]
    status: str  # "200 OK"; "" when nothing could be answered
    headers: list[tuple[str, str]]  # as the application gave them
    sent: int  # bytes of body
    ended: float  # seconds since the epoch
    seconds: float  # from calling the application to its last block


#: An Exchange of a tuple of its parts: a third of what it costs to name them, and there is one for each request.
exchange_of: Callable[[tuple[dict[str, Any], str, list[tuple[str, str]], int, float, float]], Exchange] = partial(
    tuple.__new__, Exchange
)
