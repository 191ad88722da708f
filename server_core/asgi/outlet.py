"""The sending half of a client connection on an event loop, its deadlines, and its end; knows no request.

What the client does not take waits in the loop's transport, and beyond some of it the application waits (``cleared``).
"""

from __future__ import annotations

import asyncio
import socket
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from server_core.engine.outbox import queued

if TYPE_CHECKING:
    from server_core.asgi.service import Service

# What the connection is about: a head, the rest of a body that nobody has read, an answer, its end.
HEAD, REST, ANSWER, LINGER, CLOSED = range(5)

#: how long a client that was refused may still send before the connection is cut, and how long it may be silent
LINGER_SECONDS = 30.0
LINGER_SILENCE = 5.0


class Outlet(asyncio.Protocol):
    """A gateway's Sink on a transport.

    ``deadline`` (monotonic seconds) is when the present state has lasted too long; the service has us ``look`` at it.
    """

    __slots__ = tuple(
        (
            "_cleared _ended_at _eof _moved _moved_at _moved_by _service _transport _warned _written congested "
            "deadline since socket state"
        ).split()
    )

    def __init__(self, service: Service, sock: socket.socket) -> None:
        self._service = service
        self._transport: Any = None
        self._cleared: asyncio.Future[None] | None = None
        self._eof = False  # the client says nothing more
        # Of what was given to the transport, in bytes: how much the client has taken, when that changed the last time;
        # and when the answer was complete, and how much it had taken then.
        self._written = self._moved = self._moved_by = 0
        self._moved_at = self._ended_at = 0.0
        self._warned = 0.0  # the deadline after which there was one more chance
        self.socket = sock
        self.congested = False
        self.state = HEAD
        self.since = 0.0  # when the lingering began
        self.deadline = monotonic() + service.timeouts.head_timeout

    @property
    def service(self) -> Service:
        """Whose connection this is."""
        return self._service

    # -- what the loop says

    def connection_made(self, transport: Any) -> None:
        """The transport, at the beginning."""
        self._transport = transport

    def pause_writing(self) -> None:
        """The client does not take what it was sent."""
        self.congested = True

    def resume_writing(self) -> None:
        """It does again."""
        self.congested = False
        if self._cleared is not None and not self._cleared.done():
            self._cleared.set_result(None)

    # -- what a call asks of its line

    async def cleared(self) -> None:
        """Wait until the client takes what it was sent, or is gone."""
        while self.congested and self.state != CLOSED:
            if self._cleared is None or self._cleared.done():
                self._cleared = self._service.loop.create_future()
            await asyncio.shield(self._cleared)

    # What an answer's Sink can do.

    def send_part(self, data: bytes) -> None:
        """Send now."""
        if not self._transport.is_closing():  # asyncio warns of each write to a client that is gone
            self._write(data)

    def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """No message says this."""
        raise NotImplementedError

    def send_last(self, data: bytes, keep_alive: bool) -> None:
        """The end of the answer."""
        self._write(data)
        self._answered(keep_alive)

    def send_large(self, head: bytes, body: bytes, keep_alive: bool) -> None:
        """A whole answer."""
        self._write(head)
        self._write(body)
        self._answered(keep_alive)

    def cut(self) -> None:
        """End the connection without the end of the answer."""
        self._end()

    def _answered(self, keep_alive: bool) -> None:
        """The answer is complete, as far as we are concerned."""
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        if data and self.state != CLOSED:
            self._written += len(data)
            self._transport.write(data)

    # -- ending

    def _begin_linger(self) -> None:
        """Half-close, then read and forget what the client still sends: a reset would destroy our last words."""
        if self.state == CLOSED:
            return
        self.state = LINGER
        self.since = monotonic()
        self.deadline = self.since + min(LINGER_SILENCE, self._service.linger_seconds)
        if self._eof or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()

    def _end(self) -> None:
        """End the connection when all that was written is on its way."""
        if self.state != CLOSED:
            self.state = LINGER
            self.deadline = inf  # how the client takes the rest is looked at all the same
            self._transport.close()

    def close(self) -> None:
        """End the connection for the sake of others."""
        self._end()

    def waited(self, now: float) -> float:
        """For how many seconds this connection has been waiting for its client; 0 when it must not be closed."""
        return 0.0

    def hurry(self, idle_until: float, linger_until: float) -> None:
        """Nobody waits for new requests any more, or listens to refused clients, beyond these moments."""

    # -- deadlines

    def look(self, now: float) -> None:
        """Once in a while: is the time over for whatever this connection is about?"""
        size = self._transport.get_write_buffer_size()
        if size:
            self._look_at_rest(size, now)
            return
        self._moved_at = self._ended_at = 0.0
        if self.deadline < now:
            if self._warned == self.deadline:
                self._expire()
            else:  # what the client has sent may not have been read yet, if the application held up the loop
                self._warned = self.deadline

    def _look_at_rest(self, size: int, now: float) -> None:
        """The client has not taken all that it was sent."""
        timeouts = self._service.timeouts
        taken = self._written - size - queued(self.socket)
        if taken > self._moved or not self._moved_at:
            self._moved, self._moved_at = taken, now
        elif now - self._moved_at > timeouts.write_timeout:
            self._transport.abort()
            return
        if self.state == ANSWER:
            return
        if not self._ended_at:
            self._ended_at, self._moved_by = now, taken
        late = now - self._ended_at - timeouts.write_timeout
        if late * timeouts.min_data_rate > taken - self._moved_by:
            self._transport.abort()
        elif self.state == HEAD:
            self.deadline = now + self._service.idle_seconds

    def _expire(self) -> None:
        """The deadline has passed."""
        raise NotImplementedError
