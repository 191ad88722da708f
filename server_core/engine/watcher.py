"""Looks once a millisecond whether the leader is stuck in one request, and sleeps while there is nothing to look at."""

from __future__ import annotations

from collections.abc import Callable, Sized
from threading import Lock
from time import monotonic, sleep

from server_core.engine.crew import Crew, Seat

LOOK_SECONDS = 0.001
#: looks without anything new after which the watcher goes to sleep
IDLE_LOOKS = 20
BEAT_SECONDS = 1.0


class Watcher:
    """``stuck(leader)`` is called as long as the leader is in the same request; ``pending`` are answers held by it.

    ``sleeps`` tells those who make something new to look at that they have to ``wake`` the watcher.
    """

    def __init__(self, crew: Crew, pending: Sized, stuck: Callable[[Seat | None], None]) -> None:
        self.sleeps = False
        self._crew = crew
        self._pending = pending
        self._stuck = stuck
        self._stopped = False
        self._gate = Lock()
        self._gate.acquire()

    def watch(self, beat: Callable[[], None] | None = None) -> None:
        """Until stopped; ``beat`` is called about once a second."""
        seen: tuple[Seat | None, int] = (None, 0)
        looks = 0
        next_beat = 0.0
        while not self._stopped:
            if beat is not None and monotonic() >= next_beat:
                next_beat = monotonic() + BEAT_SECONDS
                beat()
            sleep(LOOK_SECONDS)
            now_seen = self._crew.glance()
            if now_seen != seen:
                seen, looks = now_seen, 0
                continue
            looks += 1
            if now_seen[1] & 1:
                self._stuck(now_seen[0])
            if looks > IDLE_LOOKS and not self._has_to_look(now_seen):
                self._sleep(seen)
                looks = 0

    def _has_to_look(self, seen: tuple[Seat | None, int]) -> bool:
        """The leader is busy, and an answer or a follower waits."""
        return bool(seen[1] & 1 and (self._pending or self._crew.parked))

    def _sleep(self, seen: tuple[Seat | None, int]) -> None:
        """Until the leader moves, an answer is held, a follower parks, or for a second."""
        self.sleeps = True
        # Whatever happened before the line above has not woken us: look once more.
        if self._crew.glance() == seen and not self._has_to_look(seen):
            self._gate.acquire(timeout=BEAT_SECONDS)
        self.sleeps = False

    def wake(self) -> None:
        """There is something to look at again."""
        self.sleeps = False
        try:
            self._gate.release()
        except RuntimeError:
            pass  # it is open already

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self.wake()
