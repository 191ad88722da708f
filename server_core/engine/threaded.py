"""The engine with threads: who of them waits for events, and who runs the application.

One thread or several call ``serve``, one more calls ``watcher.watch``.  Two modes, chosen by a running mean of the time
that the application takes:

- *fast*: one thread, the leader, waits for events and handles them all, application included.  The others are parked.
  The watcher looks once a millisecond; when the leader is still in the same request, a parked thread takes the lead.
- *blocking*: every free thread waits for one event and handles it; the kernel hands each event to one thread.

Leadership is a matter of speed only.  Two leaders at once, for a moment, do no harm: a connection belongs to whoever
holds its claim, and events not yet handled stand in one shared deque.  When all threads are in the application nobody
polls, and that is back-pressure.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from time import perf_counter
from typing import Any

from server_core.engine.crew import Crew, Seat
from server_core.engine.engine import Engine
from server_core.engine.outbox import Outbox, Wait
from server_core.engine.outlet import Outlet
from server_core.engine.places import Places
from server_core.engine.watcher import Watcher
from server_core.gateway.wsgi import ClientGone


class ThreadedEngine(Engine):
    """``threads`` of them call ``serve``; the other parameters are the ``Engine``'s."""

    def __init__(self, threads: int, *arguments: Any, **options: Any) -> None:
        # With several threads there will certainly be one for each connection that this worker takes.
        super().__init__(*arguments, exclusive=threads > 1, alone=threads == 1, **options)
        self._threads = threads
        if threads > 1:
            self._took = self._tell_crew
        self.crew = Crew()
        self._places = Places(self._substitute, self._wake)
        self.watcher = Watcher(self.crew, self.pending, self._leader_is_stuck)
        self._away_seconds: dict[int, float] = {}  # by thread, of the request that it is in

    def stop(self) -> None:
        """Return from ``serve`` and ``watch`` as soon as each thread comes back from the application."""
        self._stopped = True
        self._places.close()
        self._wake()
        self.watcher.stop()

    def join(self) -> None:
        """When the engine has stopped: wait for the threads that were started for those who waited for a client."""
        self._places.join()

    # -- the threads

    def serve(self, substitute: bool = False) -> None:
        """Called by each application thread; until the engine stops, or a ``substitute`` is not needed any more."""
        seat = Seat()
        crew = self.crew
        places = self._places
        while not self._stopped:
            if crew.blocking:
                self._take_one()
            elif crew.wait_to_lead(seat, self._parking):
                self._lead(seat)
            if (places.wanted or places.spare) and not self._stopped:
                crew.replace(None)  # this thread may wait now, and has stepped down
                if places.hand_over(substitute):
                    return
        crew.disband()
        self._wake()  # the next one that waits for events: a byte wakes only one of them

    def _parking(self) -> None:
        """A thread parks: now there is somebody to take over from a leader that is stuck.

        What it leaves in the deque must not wait for the leader's next event.
        """
        self.watcher.wake()
        self._wake_for_leftovers()

    def _wake_for_leftovers(self) -> None:
        if self._ready or self._later:
            self._wake()

    def _lead(self, seat: Seat) -> None:
        """Handle all events, until somebody else leads, the mode changes or the engine stops."""
        ready = self._ready
        pending = self.pending
        connections = self.connections
        crew = self.crew
        places = self._places
        watcher = self.watcher
        turns = 0  # at least one, before somebody else has this place
        while crew.leader is seat:
            try:
                descriptor, mask = ready.popleft()
            except IndexError:
                if pending:
                    self._flush()
                    continue  # sending may have made further events
                if self._turn_ended is not None:  # for those whose answers did not wait for the turn's end
                    self._turn_ended()
                if self._stopped or crew.blocking or (turns and (places.wanted or places.spare)):
                    crew.step_down(seat)
                    break
                turns += 1
                ready.extend(self._wait(-1, not self._places.wanted))
                continue
            seat.serial += 1
            if watcher.sleeps:
                watcher.wake()
            connection = connections.get(descriptor)
            if connection is not None and connection.claim(False):
                connection.run(mask)
            else:
                self._handle(descriptor, mask)
            seat.serial += 1
            if self._last_answer > self._due:
                self._flush()
                if self._last_answer > self._look_due:
                    self._look_round()
        # What this thread answered as a leader must not wait for another thread's turn.
        self._flush()

    def _take_one(self) -> None:
        """Blocking mode: wait for one event, handle it."""
        try:
            events = [self._ready.popleft()]
        except IndexError:
            if self.pending:
                self._flush()
                return
            events = self._wait(1, not self._places.wanted)
        self._wake_for_leftovers()  # this thread may be busy for long now, and the others wait for events
        for descriptor, mask in events:
            self._handle(descriptor, mask)
        if self._turn_ended is not None:
            self._turn_ended()
        if self._last_answer > self._look_due:
            self._look_round()

    def _leader_is_stuck(self, leader: Seat | None) -> None:
        """The leader is in a long request: nobody's finished answer waits for it, and somebody else takes the lead."""
        if self.pending:
            self._flush()
            self._wake_for_leftovers()
        self.crew.replace(leader)

    # -- what connections call

    def send_off(self, outlet: Outlet) -> None:
        """The leader holds answers until the end of its turn."""
        if self.crew.leader_thread == get_ident():
            self.pending.append(outlet)
            if self.watcher.sleeps:  # the application may go on for long after its last block
                self.watcher.wake()
        else:
            outlet.flush()

    def requeue(self, descriptor: int) -> None:
        """The leader looks there before it waits again.  Anybody else may be busy for long, or park, while all who
        could handle this wait for events."""
        super().requeue(descriptor)
        if self.crew.leader_thread != get_ident() and self._threads > 1:
            self._wake()

    def _tell_crew(self, seconds: float) -> None:
        """How long the application took decides about the mode."""
        if self._away_seconds:
            seconds -= self._away_seconds.pop(get_ident(), 0.0)
        self.crew.took(seconds)

    @contextmanager
    def away(self, outbox: Outbox) -> Iterator[Wait]:
        """In a ``with`` block this thread waits for its client, and others run the application.  Raises ClientGone
        when there is nobody else to run it."""
        began = perf_counter()
        thread = get_ident()
        leader = self.crew.leader
        if leader is not None and leader.thread == thread:
            self._flush()
            self.crew.step_down(leader)
            self.crew.replace(None)
        try:
            left = self._places.leave(outbox)
        except RuntimeError as error:
            self.log.error("An answer whose client reads slowly was cut off: the system allows no further thread.")
            raise ClientGone("nobody could serve while the application waits for this client") from error
        try:
            yield wait_writable
        finally:
            if left:
                self._places.come_back(outbox)
            self._away_seconds[thread] = self._away_seconds.get(thread, 0.0) + perf_counter() - began

    def _substitute(self) -> None:
        try:
            self.serve(substitute=True)
        except BaseException:
            # A worker that has lost a thread unnoticed serves worse and worse; a dead worker is replaced.
            self.log.critical("A thread of the worker ended by an error in the server itself", exc_info=True)
            os._exit(1)


def wait_writable(descriptor: int, seconds: float) -> None:
    """Until ``descriptor`` can be written to, or for so long."""
    writable = select.poll()
    writable.register(descriptor, select.POLLOUT)
    writable.poll(seconds * 1000)
