"""A listening socket as the engine sees it: the socket and what every request on it has in common."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ssl import SSLContext


class Site(NamedTuple):
    """``environ`` holds the keys that are the same for every request that comes in by ``socket``; ``tls`` is the
    context of its connections, None for plain ones.  ``redirect_port`` is where its requests have to be made again, by
    https; 0 when they are answered here."""

    socket: socket.socket
    environ: dict[str, Any]
    tls: SSLContext | None = None
    redirect_port: int = 0
