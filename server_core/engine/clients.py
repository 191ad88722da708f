"""Knows all connections of a worker: how many there may be, and how many more than its share; whose time is over, and
who has to go for another one.

What a connection does when its time is over is its own business.
"""

from __future__ import annotations

from time import monotonic

from server_core.engine.connection import Connection
from server_core.engine.outlet import LINGER, WRITE
from server_core.process import give_memory_back
from server_core.scoreboard import Share

#: so many deadlines are met in one go, and other clients have their turn before the next
EXPIRES_AT_ONCE = 200
#: of the connections that wait for their client, this part is closed when there is no room for another one
EVICTED_PART = 1 / 64
#: so many are asked at most whether their client has just sent something
MOST_TRIES = 500
#: how long nobody looks again after there was nobody to close
FULL_SECONDS = 0.1
#: so many more are kept for a while, relatively and at least, to be told that there is no room
SPARE_PART, SPARE = 1 / 8, 16
#: of new connections that still wait after a turn full of work, as many are taken at once as there are already, within
#: these bounds: who comes new is not served later than others because there are many of them
AT_ONCE, MOST_AT_ONCE = 32, 256
#: a worker that has no more connections than any other takes so many
SPREAD = 4
#: that many connections leave a mark on the memory of the process when they go
MANY = 500


class Clients(dict[int, Connection]):
    """Connections by descriptor, at most ``most`` of them; ``share`` knows those of other workers, if there are any."""

    def __init__(self, most: int, share: Share | None = None) -> None:
        super().__init__()
        self.most = most
        self._share = share
        self._nobody_until = 0.0
        self._peak = 0

    def add(self, connection: Connection) -> None:
        """A new one."""
        self[connection.descriptor] = connection
        if self._share is not None:
            self._share.tell(len(self))

    def forget(self, descriptor: int) -> None:
        """It closes."""
        self.pop(descriptor, None)
        if self._share is not None:
            self._share.tell(len(self))

    def retire(self) -> None:
        """No new ones are taken any more: the other workers need not compare themselves."""
        if self._share is not None:
            self._share.retire()

    def most_at_once(self) -> int:
        """How many new connections are accepted at once, if no other worker should have them."""
        return min(max(AT_ONCE, len(self)), MOST_AT_ONCE)

    def next_share(self) -> int:
        """How many new connections this worker should take at once: the more, the fewer it has beside the others.

        Below 1 when somebody else has so few that this worker should leave them all to it.
        """
        most = self.most_at_once()
        fewest = self._share.fewest() if self._share is not None else None
        return most if fewest is None else min(most, SPREAD + fewest + fewest // 8 - len(self))

    def full(self) -> bool:
        """Is there no room for another connection, not even by closing some that wait for their client?"""
        return len(self) >= self.most and not self._somebody_can_go()

    def overfull(self) -> bool:
        """Are there even more than can be told that there is no room?"""
        return len(self) >= self.most + max(SPARE, int(self.most * SPARE_PART)) and not self._somebody_can_go()

    def _somebody_can_go(self) -> bool:
        now = monotonic()
        if now < self._nobody_until:
            return False
        if any(connection.waited(now) for connection in list(self.values())):
            return True
        self._nobody_until = now + FULL_SECONDS
        return False

    def make_room(self) -> None:
        """For a new connection, if it needs it: close those that have been waiting for their client the longest."""
        if len(self) < self.most:
            return
        now = monotonic()
        waits = ((connection.waited(now), descriptor) for descriptor, connection in list(self.items()))
        longest = sorted((wait for wait in waits if wait[0]), reverse=True)
        evicted = 0
        for _, descriptor in longest[:MOST_TRIES]:
            connection = self.get(descriptor)
            if connection is None or not connection.claim(False):
                continue
            if connection.waited(now):
                evicted += connection.evict()
                if evicted > len(longest) * EVICTED_PART:
                    break
            else:  # a request has come meanwhile
                connection.rest()

    def cut_slowest(self) -> bool:
        """There is no room for answers any more: cut off who has been taking a finished one for the longest.

        False when there is nobody.
        """
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
