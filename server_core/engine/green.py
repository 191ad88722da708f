"""The engine with greenlets: each request that is under way has one, and the hub of their library says who goes on.

The hub tells when there are events, and a greenlet, the leader, handles them all, applications included.  When the
application waits (a cooperative socket, a sleep), the hub is in control again and starts another leader for what is
left.  A client without a request under way has no greenlet: it costs what it costs with threads.  Which library it is,
gevent or eventlet, a ``Hub`` knows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from server_core.engine.acceptor import LEAVE_SECONDS, LEAVING
from server_core.engine.engine import LEAST_TICK_SECONDS, Engine
from server_core.engine.outbox import Outbox, Wait
from server_core.engine.outlet import Outlet
from server_core.gateway.loader import describe

#: so many greenlets are kept for later requests; each has a stack, and what the application keeps for it
MOST_IDLE = 256


class Hub(Protocol):
    """The loop of a library of greenlets, in a greenlet of its own.  What it is to call, it calls there."""

    greenlet: greenlet

    def switch(self) -> None:
        """Let others go on, until somebody switches here."""

    def on_readable(self, descriptor: int, call: Callable[[], None]) -> Callable[[], None]:
        """Call as long as ``descriptor`` can be read, until what is returned is called."""

    def soon(self, call: Callable[[], None]) -> None:
        """Call once, as soon as the running greenlet gives way."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, after so long."""

    def wait_writable(self, descriptor: int, seconds: float) -> None:
        """Until ``descriptor`` can be written to, or for so long."""


class GreenEngine(Engine):
    """Greenlets of ``hub``; the other parameters are the ``Engine``'s."""

    def __init__(self, hub: Hub, *arguments: Any, **options: Any) -> None:
        # One that computes looks at no events: so all workers that are idle are told of a new connection.
        super().__init__(*arguments, exclusive=False, alone=True, **options)
        self._hub = hub
        self._leader: greenlet | None = None
        self._idle: list[greenlet] = []
        self._living = 0

    def serve(self) -> None:
        """Called by the main greenlet; until the engine stops and no request is under way."""
        self._main = getcurrent()
        self._look_away = self._hub.on_readable(self._poller.fileno(), self._turn)
        self._hub.soon(self._turn)
        while not self._has_ended():
            try:
                self._hub.switch()
            except (
                SystemExit,
                KeyboardInterrupt,
            ):  # gevent throws here what ends a greenlet that a request has spawned
                self.log.exception("A greenlet of the application wanted to end the worker, which others need")

    def stop(self) -> None:
        """Return from ``serve`` as soon as nobody is in the application any more."""
        self._stopped = True
        self._look_away()
        self._hub.soon(self._end)

    def _has_ended(self) -> bool:
        return self._stopped and self._living == len(self._idle)

    def _end(self) -> None:
        if self._has_ended():
            self._main.switch()

    # -- in the hub

    def _turn(self) -> None:
        """Somebody has to look at the events: a greenlet that is idle, or a new one."""
        if self._stopped:
            return
        if self._idle:
            leader = self._idle.pop()
        else:
            leader = greenlet(self._live, self._hub.greenlet)
            self._living += 1
        self._leader = leader
        leader.switch()

    def _relieve(self) -> None:
        """The leader has given way, perhaps in the middle of its turn."""
        if self._ready or self.pending:
            self._turn()

    # -- the greenlets

    def _live(self) -> None:
        me = getcurrent()
        try:
            while True:
                self._lead(me)
                if self._stopped or len(self._idle) >= MOST_IDLE:
                    break
                self._idle.append(me)
                if not self._rest(me):
                    return
        except BaseException:
            # A worker that has lost a greenlet unnoticed serves worse and worse; a dead worker is replaced.
            self.log.critical("A greenlet of the worker ended by an error in the server itself", exc_info=True)
            os._exit(1)
        self._living -= 1
        if self._stopped:
            self._hub.soon(self._end)

    def _rest(self, me: greenlet) -> bool:
        """Wait for the next turn; False when there is none: what an application has left behind has ended us.

        A timeout that nobody has cancelled, or a kill, is meant for a request that is over.
        """
        try:
            self._hub.switch()
        except BaseException as error:
            self._idle.remove(me)
            self._living -= 1
            if not isinstance(error, GreenletExit):  # which also comes when nobody needs us any more
                self.log.warning("Raised in a greenlet whose request was over, and ignored: %s", describe(error))
            return False
        return True

    def _lead(self, me: greenlet) -> None:
        """Handle the events there are; somebody else goes on with them when the application has given way.

        Deadlines are met before a turn and never in it: who has sent something in time may be among those whose turn
        has not come.
        """
        ready = self._ready
        if not ready:
            ready.extend(self._wait(-1, patient=False))
        elif self._last_answer > self._look_due:
            self._look_round()
        if len(ready) > 1:
            self._hub.soon(self._relieve)
        while ready and self._leader is me:
            self._handle(*ready.popleft())
            if self._last_answer > self._due:  # others than ours may want to go on, too
                self._due = self._last_answer
                self._hub.soon(self._relieve)
                break
        # What this greenlet answered must not wait for another one's turn.
        self._flush()
        if self._later or self._acceptor.stage:
            self._go_on()

    def _go_on(self) -> None:
        """There is more to do, of which no event will tell."""
        if self._acceptor.stage == LEAVING and not self._later:
            self._hub.later(LEAVE_SECONDS, self._turn)
        else:
            self._hub.soon(self._turn)

    def _tick(self, now: float) -> None:
        super()._tick(now)
        self._hub.later(self._pause, partial(self._ring, self._next_tick))

    def _ring(self, due: float) -> None:
        """It is time for the tick of ``due``, or a little earlier: clocks differ."""
        self._turn()
        if self._next_tick <= due and not self._stopped:  # a turn had to be finished first, or it was too early
            self._hub.later(LEAST_TICK_SECONDS, partial(self._ring, due))

    # -- what connections call

    def send_off(self, outlet: Outlet) -> None:
        """The leader holds answers until the end of its turn."""
        if self._leader is getcurrent():
            self.pending.append(outlet)
        else:
            outlet.flush()

    def requeue(self, descriptor: int) -> None:
        """The leader looks there at the end of its turn."""
        super().requeue(descriptor)
        if self._leader is not getcurrent():
            self._hub.soon(self._turn)

    @contextmanager
    def away(self, outbox: Outbox) -> Iterator[Wait]:
        """In a ``with`` block this greenlet waits for its client; the hub lets others go on meanwhile."""
        yield self._hub.wait_writable
