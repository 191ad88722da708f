"""A listening socket as the engine sees it: the socket and what every request on it has in common."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple


class Site(NamedTuple):
    """``environ`` holds the keys that are the same for every request that comes in by ``socket``."""

    socket: socket.socket
    environ: dict[str, Any]
