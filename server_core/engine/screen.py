"""Knows which requests are no application's: probes at the paths of ``health_path``, and what is said to them.

How a request came, and how an answer leaves, connections know.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable

from server_core.engine.outbox import Stream
from server_core.gateway.wsgi import Response
from server_core.scoreboard import ENDING, STARTING

#: what probes say; anything else at their paths is the application's
METHODS = ("GET", "HEAD")
#: a probe that nobody could hear for so long has found no worker free
LONG_SECONDS = 2.0

_TCP_INFO = socket.TCP_INFO if sys.platform == "linux" else None
# Of struct tcp_info (linux/tcp.h) the twelfth number after eight bytes: tcpi_last_data_recv, in milliseconds.
_LAST_DATA = struct.Struct("=52xI")


def waited(sock: Stream) -> float:
    """For how many seconds the last bytes of a client have been here, also while its connection was in the queue of the
    listening socket.  0.0 where the system does not tell: it does for TCP on Linux, in steps of some milliseconds."""
    if _TCP_INFO is None:
        return 0.0
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _LAST_DATA.size)
        milliseconds: int = _LAST_DATA.unpack(told)[0]
    except (OSError, struct.error):  # a unix socket, or a kernel that knows less
        return 0.0
    return milliseconds / 1000


class Screen:
    """``paths`` are that of liveness and that of readiness, or none; ``stage`` tells that of the server."""

    def __init__(self, paths: tuple[str, ...], stage: Callable[[], int]) -> None:
        self.paths = paths
        self._stage = stage

    def asks(self, method: str, path: str) -> bool:
        """Is a request for ``path`` (decoded or not) a probe?"""
        return path in self.paths and method in METHODS

    def answer(self, path: str, sock: Stream, response: Response) -> None:
        """Answer a probe at ``path``."""
        why = self._why_not_ready(sock) if path != self.paths[0] else ""
        words = f"not ready: {why}\n" if why else "live\n" if path == self.paths[0] else "ready\n"
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(words))),
            ("Cache-Control", "no-store"),
        ]
        response.start_response("503 Service Unavailable" if why else "200 OK", headers)
        response.send([words.encode("ascii")])

    def _why_not_ready(self, sock: Stream) -> str:
        stage = self._stage()
        if stage == STARTING:
            return "starting: not all workers have come up yet"
        if stage == ENDING:
            return "draining: the server has been told to end"
        seconds = waited(sock)
        return f"busy: no worker was free for {seconds:.1f}s" if seconds > LONG_SECONDS else ""
