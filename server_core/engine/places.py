"""Who may run the application: as many threads as there are places, and no thread keeps its place while it waits.

An application that is far ahead of its client has to wait, in the middle of its code.  Its thread gives its place to
another one meanwhile, a substitute if need be, and asks for a place before it goes on.  So the number of threads in the
application stays what it should be, with ``sync`` it is one, and a client that does not read holds up only its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread

#: each of them is a thread that sleeps, with its stack and what the application holds
MOST_AWAY = 1000


class Places:
    """``serve`` is what a substitute does until ``hand_over`` was true; ``wake`` makes all who serve look around."""

    def __init__(self, serve: Callable[[], None], wake: Callable[[], None]) -> None:
        self._serve = serve
        self._wake = wake
        self._lock = Lock()
        self._away = 0
        self._closed = False
        self.wanted: deque[Lock] = deque()  # one gate for each thread that waits for a place, to go on
        self.spare: deque[Lock] = deque()  # and for each that would serve, if there were a place for it

    @contextmanager
    def away(self) -> Iterator[None]:
        """For the time of a ``with`` block this thread needs no place."""
        left = self._leave()
        try:
            yield
        finally:
            if left:
                self.wait()
                with self._lock:
                    self._away -= 1

    def _leave(self) -> bool:
        with self._lock:
            if self._closed or self._away >= MOST_AWAY:
                return False
            self._away += 1
        try:
            # Not to one that wants to go on: between two of them somebody has to serve, or nobody ever would.
            if not self._give_to(self.spare):
                Thread(target=self._serve, name="prefork-serve substitute", daemon=True).start()
        except RuntimeError:  # no further thread is allowed: then all others wait too
            with self._lock:
                self._away -= 1
            return False
        return True

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

    def wait(self) -> None:
        """Wait for a place, to go on."""
        self._wait_in(self.wanted, self._wake)

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
