"""Who may run the application: as many threads as there are places, and no thread keeps its place while it waits.

An application that is far ahead of its client has to wait, in the middle of its code.  Its thread gives its place to
another one meanwhile, a substitute if need be, and asks for a place before it goes on.  So the number of threads in the
application stays what it should be, with ``sync`` it is one, and a client that does not read holds up only its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock, Thread, current_thread
from typing import Protocol

#: so many may be away; each is a thread that sleeps, with its stack and what the application holds
MOST_AWAY = 1000


class Waiting(Protocol):
    """What a thread that is away waits for: a client that takes its answer at some ``pace``, and can be ``cut``."""

    def pace(self) -> float:
        """Bytes a second."""

    def cut(self) -> None:
        """End the waiting, at once."""


class Places:
    """``serve`` is what a substitute does until ``hand_over`` was true; ``wake`` makes all who serve look around."""

    def __init__(self, serve: Callable[[], None], wake: Callable[[], None]) -> None:
        self._serve = serve
        self._wake = wake
        self._lock = Lock()
        self._away: list[Waiting] = []
        self._substitutes: set[Thread] = set()
        self._closed = False
        self.wanted: deque[Lock] = deque()  # one gate for each thread that waits for a place, to go on
        self.spare: deque[Lock] = deque()  # and for each that would serve, if there were a place for it

    def leave(self, client: Waiting) -> bool:
        """This thread waits for ``client`` and needs no place; False when the engine stops and nobody needs one.

        When too many are away already, the one with the slowest client has to give up.  Raises RuntimeError when the
        system allows no further thread.
        """
        with self._lock:
            if self._closed:
                return False
            if len(self._away) >= MOST_AWAY:
                slowest = min(self._away, key=lambda each: each.pace())
                self._away.remove(slowest)
                slowest.cut()
            self._away.append(client)
        # Not to one that wants to go on: between two of them somebody has to serve, or nobody ever would.
        if not self._give_to(self.spare):
            try:
                self._start_substitute()
            except RuntimeError:
                self._forget(client)
                raise
        return True

    def _forget(self, client: Waiting) -> None:
        with self._lock:
            if client in self._away:  # else it was cut
                self._away.remove(client)

    def _start_substitute(self) -> None:
        thread = Thread(target=self._be_substitute, name="prefork-serve substitute", daemon=True)
        self._substitutes.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._substitutes.discard(thread)
            raise

    def _be_substitute(self) -> None:
        self._serve()
        self._substitutes.discard(current_thread())

    def come_back(self, client: Waiting) -> None:
        """The opposite of ``leave``: wait for a place, to go on."""
        self._wait_in(self.wanted, self._wake)
        self._forget(client)

    def hand_over(self, substitute: bool) -> bool:
        """After a turn of serving: give the place to one that wants to go on, if there is one.

        True for a substitute that is not needed any more; any other comes back when it has a place again.
        """
        if self._give_to(self.wanted):
            if substitute:
                return True
            self._wait_in(self.spare)
            return False
        return substitute and self._give_to(self.spare)

    @staticmethod
    def _give_to(gates: deque[Lock]) -> bool:
        try:
            gates.popleft().release()
        except IndexError:
            return False
        return True

    def _wait_in(self, gates: deque[Lock], wake: Callable[[], None] = lambda: None) -> None:
        gate = Lock()
        gate.acquire()
        gates.append(gate)
        if not self._closed:
            wake()
            gate.acquire()

    def close(self) -> None:
        """Nobody waits any more."""
        self._closed = True
        while self._give_to(self.wanted) or self._give_to(self.spare):
            pass

    def join(self) -> None:
        """Wait until the last substitute has come back from the application."""
        for thread in list(self._substitutes):
            thread.join()
