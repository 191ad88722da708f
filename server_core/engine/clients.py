"""Knows all connections of a worker: how many there may be, whose time is over, and who has to go for another one.

What a connection does when its time is over is its own business.
"""

from __future__ import annotations

from time import monotonic

from server_core.engine.connection import Connection
from server_core.engine.outlet import HEAD, LINGER, WRITE
from server_core.process import give_memory_back

#: so many deadlines are met in one go, and other clients have their turn before the next
EXPIRES_AT_ONCE = 200
#: of the connections that wait for their client, this part is closed when there is no room for another one
EVICTED_PART = 1 / 64
#: how long nobody looks again after there was nobody to close
FULL_SECONDS = 0.1
#: that many connections leave a mark on the memory of the process when they go
MANY = 500


class Clients(dict[int, Connection]):
    """Connections by descriptor, at most ``most`` of them."""

    def __init__(self, most: int, head_seconds: float) -> None:
        super().__init__()
        self.most = most
        self._head_seconds = head_seconds
        self._full_until = 0.0
        self._peak = 0

    def full(self) -> bool:
        """Is there no room for another connection, not even by closing some that wait for their client?"""
        if len(self) < self.most:
            return False
        now = monotonic()
        if now >= self._full_until and any(connection.state == HEAD for connection in list(self.values())):
            return False
        if now >= self._full_until:
            self._full_until = now + FULL_SECONDS
        return True

    def make_room(self, idle_seconds: float) -> None:
        """For a new connection: close those that have been waiting for their client the longest, if there is no room.

        ``idle_seconds`` is how long a connection without a request is kept.
        """
        if len(self) < self.most:
            return
        waiting = sorted(
            (connection.deadline - (idle_seconds if connection.idle else self._head_seconds), descriptor)
            for descriptor, connection in list(self.items())
            if connection.state == HEAD
        )
        evicted = 0
        for _, descriptor in waiting:
            connection = self.get(descriptor)
            if connection is None or not connection.claim(False):
                continue
            if connection.state != HEAD:  # a request has come meanwhile
                connection.rest()
                continue
            connection.evict()
            evicted += 1
            if evicted >= len(waiting) * EVICTED_PART:
                break

    def cut_slowest(self) -> bool:
        """End the connection that has been taking a finished answer for the longest; False when there is none."""
        taking = [connection for connection in list(self.values()) if connection.state == WRITE]
        for connection in sorted(taking, key=lambda connection: connection.since):
            if connection.claim(False):
                if connection.state == WRITE:
                    connection.reset()
                    return True
                connection.rest()
        return False

    def meet_deadlines(self, now: float) -> bool:
        """Tell those whose time is over; False when there may be more of them."""
        told = 0
        for connection in list(self.values()):
            if connection.deadline < now and connection.claim(False):
                if connection.deadline < now:
                    connection.expire()
                else:  # it has been served meanwhile
                    connection.rest()
                told += 1
                if told == EXPIRES_AT_ONCE:
                    return False
        self._look_back()
        return True

    def _look_back(self) -> None:
        """After a rush the memory that it took is given back."""
        self._peak = max(self._peak, len(self))
        if self._peak > MANY and len(self) < self._peak // 4:
            self._peak = len(self)
            give_memory_back()

    def hurry(self, idle_until: float, linger_until: float) -> None:
        """Nobody waits for new requests any more, or listens to refused clients, beyond these moments."""
        for connection in list(self.values()):
            if connection.idle:
                connection.deadline = min(connection.deadline, idle_until)
            elif connection.state == LINGER:
                connection.deadline = min(connection.deadline, linger_until)
