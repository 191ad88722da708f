"""Which of the threads leads, and in which mode they work; what they do, the engine knows.

- *fast* mode: one thread, the leader, waits for events and handles them all.  The others are parked at their gates.
- *blocking* mode: every free thread waits for one event and handles it.  Nobody leads, nobody is parked.

The mode follows a running mean of the time that the application takes.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, get_ident

# Application time per request (seconds, running mean) at which the mode changes; apart, so that it does not flutter.
BLOCKING_ABOVE = 0.0005
FAST_BELOW = 0.0002
MEAN_WEIGHT = 1 / 16


class Seat:
    """One thread's place.  A follower waits at its ``gate``; ``serial`` is odd while the thread handles an event."""

    __slots__ = ("gate", "serial", "thread")

    def __init__(self) -> None:
        self.gate = Lock()
        self.gate.acquire()
        self.serial = 0
        self.thread = get_ident()


class Crew:
    """``leader`` is None in blocking mode and between two leaders; ``leader_thread`` is its thread, or 0."""

    def __init__(self) -> None:
        self.leader: Seat | None = None
        self.leader_thread = 0
        self.parked: list[Seat] = []
        self.blocking = False
        self._mean = 0.0
        self._election = Lock()
        self._disbanded = False

    def wait_to_lead(self, seat: Seat, parking: Callable[[], None]) -> bool:
        """Take the lead if nobody has it, else park, after calling ``parking``; True for the leader.

        False means that the mode has changed, or that the crew is disbanded.
        """
        with self._election:
            if self.blocking or self._disbanded:
                return False
            if self.leader is None:
                self.leader, self.leader_thread = seat, seat.thread
                return True
            self.parked.append(seat)
        parking()
        seat.gate.acquire()
        return self.leader is seat

    def replace(self, leader: Seat | None) -> None:
        """If ``leader`` still leads and somebody is parked, that one leads from now on.

        In the place of a leader that is stuck, who has parked last and is awake the soonest.  After one that has
        stepped down (None), who has parked first: each gets its turn, and a substitute sees that it can leave.
        """
        if not self.parked or self.blocking:
            return
        with self._election:
            if self.blocking or not self.parked or self.leader is not leader:
                return
            seat = self.parked.pop(0 if leader is None else -1)
            self.leader, self.leader_thread = seat, seat.thread
        seat.gate.release()

    def step_down(self, seat: Seat) -> None:
        """Lead no more."""
        with self._election:
            if self.leader is seat:
                self.leader, self.leader_thread = None, 0

    def took(self, seconds: float) -> None:
        """A request has taken so long in the application: change the mode when the mean says so."""
        mean = self._mean = self._mean + (seconds - self._mean) * MEAN_WEIGHT
        if self.blocking:
            if mean < FAST_BELOW:
                self.blocking = False
        elif mean > BLOCKING_ABOVE:
            self.blocking = True
            self._unpark_all()

    def glance(self) -> tuple[Seat | None, int]:
        """Who leads, and at which event: two equal glances with an odd number mean that the leader is stuck in one."""
        leader = self.leader
        return leader, leader.serial if leader is not None else 0

    def disband(self) -> None:
        """Nobody parks any more."""
        self._disbanded = True
        self._unpark_all()

    def _unpark_all(self) -> None:
        with self._election:
            parked, self.parked = self.parked, []
        for seat in parked:
            seat.gate.release()
