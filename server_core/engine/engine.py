"""The clients of a worker process and their events; who waits for them and runs the application, subclasses know.

``ThreadedEngine`` does it with threads, ``GreenEngine`` with greenlets.  What a request is, connections know.
"""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from logging import Logger
from math import inf
from threading import Lock
from time import monotonic, perf_counter, time

from server_core.engine.acceptor import LEAVE_SECONDS, LEAVING, Acceptor
from server_core.engine.budget import Budget
from server_core.engine.clients import Clients
from server_core.engine.connection import Connection
from server_core.engine.outbox import Outbox, Wait
from server_core.engine.outlet import LINGER_SECONDS, Outlet
from server_core.engine.poller import HANGUP, READABLE, Events, Poller
from server_core.engine.proxies import Proxies
from server_core.engine.screen import Screen
from server_core.engine.site import Site
from server_core.exchange import Exchange
from server_core.gateway.wsgi import ServerLines, WSGIApplication
from server_core.http.head import HeadLimits
from server_core.http.response import http_date
from server_core.listeners import peer_of
from server_core.process import give_memory_back
from server_core.scoreboard import Share
from server_core.settings import Limits, Proxy, Timeouts

#: an answer of this turn waits no longer than this for the others
TURN_SECONDS = 0.001
#: how long a kept-alive connection may still bring a request after draining began
DRAIN_IDLE_SECONDS = 0.5
#: how long a refused client may still send then
DRAIN_LINGER_SECONDS = 2.0
#: deadlines are looked at so often, more often when they are short, and while draining
TICK_SECONDS = 1.0
LEAST_TICK_SECONDS = 0.02
#: and when there are very many to be met
NEXT_GO_SECONDS = 0.005


class Engine(ABC):
    """Accepts connections on ``sites``, serves them with ``application`` until told to ``drain`` or ``stop``.

    ``exclusive`` is the acceptor's; ``alone`` says that one thread does it all, which then gives the sign of life.
    ``hosts`` are those that requests may name (empty: every one).  ``connect`` makes the connections, which ask
    ``screen``, if there is one, about requests that are no application's.
    ``record`` is told of every exchange (None: nobody wants to know), ``turn_ended`` is called when answers have been
    sent, ``beat`` about once a second while requests can be served, ``limit_reached`` once after ``max_requests``.
    """

    def __init__(
        self,
        application: WSGIApplication,
        sites: list[Site],
        limits: Limits,
        timeouts: Timeouts,
        proxy: Proxy,
        log: Logger,
        *,
        exclusive: bool,
        alone: bool,
        server: str | None = None,
        hosts: tuple[str, ...] = (),
        worker_connections: int = 0,
        share: Share | None = None,
        screen: Screen | None = None,
        record: Callable[[Exchange], None] | None = None,
        turn_ended: Callable[[], None] | None = None,
        beat: Callable[[], None] = lambda: None,
        max_requests: int = 0,
        limit_reached: Callable[[], None] = lambda: None,
        connect: Callable[[Engine, socket.socket, str, str, Site, float], Connection] = Connection,
    ) -> None:
        self.application = application
        self.log = log
        self.record = record
        self.timeouts, self.limits = timeouts, limits
        self.head_limits = HeadLimits(limits)
        self.budget = Budget(limits.limit_buffer_memory, limits.limit_temp_space, limits.tmp_upload_dir)
        self.proxies = Proxies(proxy, log)
        self.server_lines = ServerLines(server.encode("ascii") if server else b"")
        self.hosts = hosts
        self.screen = screen
        self.keeps_alive = timeouts.keepalive > 0
        self.most_requests = limits.keepalive_requests or inf
        self.linger_seconds = LINGER_SECONDS
        self.idle_seconds = timeouts.keepalive
        # Deadlines are met in time, a short one too.
        shortest = min(timeouts.head_timeout, timeouts.body_timeout, timeouts.write_timeout, timeouts.keepalive or inf)
        self._tick_seconds = max(min(TICK_SECONDS, shortest / 8), LEAST_TICK_SECONDS)
        self.last_chance_seconds = self._tick_seconds
        self.requests = 0
        self.now = monotonic()
        # Answers whose connections wait for the end of the turn; whoever takes one out owns its claim.
        self.pending: deque[Outlet] = deque()
        self._last_answer = self._due = 0.0  # by the performance counter; then the answers have to leave
        self._turn_ended = turn_ended
        self._beat = beat
        self._max_requests = max_requests or inf
        self._limit_reached = limit_reached
        self._connect = connect
        self._took: Callable[[float], None] | None = None  # who wants to know how long the application takes
        self.connections = Clients(worker_connections or limits.worker_connections, share)
        self._ready: deque[tuple[int, int]] = deque()
        self._later: deque[tuple[int, int]] = deque()  # those who had their turn and have more to do
        self._poller = Poller()
        self._poll, self._add_connection = self._poller.poll, self._poller.add_connection
        self._alone = alone
        self._next_tick = self._next_sign = 0.0
        self._look_due = 0.0  # the next tick, by the same
        self._pause = self._tick_seconds
        self._tick_lock = Lock()
        self._stopped = False
        self._draining = False
        self._was_empty = False
        # descriptors that are no connections
        self._refuses = limits.full_policy == "refuse"
        full = self.connections.overfull if self._refuses else self.connections.full
        self._acceptor = Acceptor(sites, self._poller, self._admit, full, self.connections, exclusive, log)
        self._readers: dict[int, Callable[[], None]] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.add_reader(self._wake_read, self._awake)

    # -- from outside: signals, pipes

    def add_reader(self, descriptor: int, read: Callable[[], None]) -> None:
        """Call ``read`` whenever ``descriptor`` can be read."""
        self._readers[descriptor] = read
        self._poller.add_pipe(descriptor)

    def remove_reader(self, descriptor: int) -> None:
        """The opposite of ``add_reader``; another thread may have been faster."""
        if self._readers.pop(descriptor, None) is not None:
            self._poller.remove(descriptor)

    def drain(self, idle_seconds: float = DRAIN_IDLE_SECONDS) -> None:
        """Answer what has come, take nothing more, then return from ``serve``.  May be called by a signal handler.

        A kept connection is closed when it has brought nothing for ``idle_seconds``.
        """
        self.idle_seconds = idle_seconds
        self.last_chance_seconds = max(idle_seconds / 5, LEAST_TICK_SECONDS)
        self._draining = True
        self.keeps_alive = False
        self.connections.retire()
        self.linger_seconds = DRAIN_LINGER_SECONDS
        self._next_tick = 0.0
        self._wake()

    def stop(self) -> None:
        """Return from ``serve`` as soon as nobody is in the application any more."""
        self._stopped = True
        self._wake()

    def close(self) -> None:
        """When nobody serves any more: give back what is left; a worker's process does it by ending."""
        for connection in list(self.connections.values()):  # of requests that came back after all had stopped
            connection.cut()
        self._poller.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass

    def _awake(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    # -- events

    def _wait(self, most: int, patient: bool) -> Events:
        """What there is to do next, ``most`` of it (-1: all).  Who comes anew goes before those who had a turn.

        Not ``patient``: only what is there already.
        """
        later = self._later
        pause = LEAVE_SECONDS if self._acceptor.stage == LEAVING else self._pause
        events = self._poll(pause if patient and not later else 0, most)
        now = self.now = monotonic()
        if self._acceptor.stage:
            self._acceptor.next_turn(now)
        if now >= self._next_tick and self._tick_lock.acquire(False):
            try:
                self._tick(now)
            finally:
                self._tick_lock.release()
        if later:
            try:
                if most < 0:
                    for _ in range(len(later)):
                        events.append(later.popleft())
                else:  # one of each in turn: under load there is always somebody who comes anew
                    (self._ready if events else events).append(later.popleft())
            except IndexError:  # another thread has taken them
                pass
        return events

    def _handle(self, descriptor: int, mask: int) -> None:
        connection = self.connections.get(descriptor)
        if connection is not None:
            if connection.claim(False):
                connection.run(mask)
                return
            connection.missed = True
            connection.help()
            # The owner may have given the claim back before it could see the note.
            if connection.claim(False):
                connection.run(mask)
        elif descriptor in self._acceptor.sites:
            if mask and self._ready:
                # Last of all: if a request of this turn takes long, an idle worker takes the new connections.
                self._ready.append((descriptor, 0))
            else:
                self._acceptor.take(descriptor, busy=not mask)
        elif (read := self._readers.get(descriptor)) is not None:  # not removed by another thread meanwhile
            read()

    def _admit(self, sock: socket.socket, peer: object, site: Site) -> None:
        connections = self.connections
        no_room = self._refuses and connections.full()
        if not no_room:
            connections.make_room()
        address, port = peer_of(peer)
        connection = self._connect(self, sock, address, port, site, self.now)
        if self._draining:
            connection.deadline = self.now + self.idle_seconds
        if no_room:
            connection.claim(False)  # before anybody else can know of it
        connections.add(connection)
        self._add_connection(connection.descriptor)
        if no_room:
            connection.turn_away()

    def _flush(self) -> None:
        """Send the answers of this turn together."""
        pending = self.pending
        while pending:
            try:
                connection = pending.popleft()
            except IndexError:
                break
            connection.flush()
        if self._turn_ended is not None:
            self._turn_ended()

    def _look_round(self) -> None:
        """A turn takes long: in the middle of it a sign of life is given, and signals are heard.

        Deadlines are not met: who has sent something in time may be among those whose turn has not come.
        """
        self._look_due = perf_counter() + self._pause
        self.server_lines.tick(http_date(time()))
        self._beat()
        for descriptor, mask in self._poll(0, -1):
            if descriptor in self._readers:
                self._readers[descriptor]()
            else:
                self._ready.append((descriptor, mask))

    # -- what connections call

    @abstractmethod
    def send_off(self, outlet: Outlet) -> None:
        """``outlet`` has the end of an answer: it leaves with the others of this turn, or at once if there is no such
        turn."""

    @abstractmethod
    def away(self, outbox: Outbox) -> AbstractContextManager[Wait]:
        """In a ``with`` block the application waits for a client, and other requests go on.  Raises ClientGone when
        they could not."""

    def forget(self, descriptor: int) -> None:
        """The connection closes."""
        self.connections.forget(descriptor)
        if self._acceptor.paused:
            self._acceptor.resume()

    def requeue(self, descriptor: int) -> None:
        """There is more to do for this connection, which no event will tell; behind all others who have come.

        HANGUP, because the end of the stream may be among what was missed.
        """
        self._later.append((descriptor, READABLE | HANGUP))

    def leave(self, ended: float, seconds: float) -> None:
        """Somebody is back from the application, after ``seconds``; ``ended`` by the performance counter."""
        self._last_answer = ended
        if len(self.pending) < 2:  # the first of those that leave together
            due = ended - seconds + TURN_SECONDS
            self._due = due if due < self._look_due else self._look_due
        self.requests += 1
        if self.requests >= self._max_requests:
            self._max_requests = inf
            self._limit_reached()
        if self._took is not None:
            self._took(seconds)

    def progress(self) -> None:
        """A part of a long answer has left: this thread is alive although it does not come back."""
        if self._alone and monotonic() >= self._next_sign:
            self._next_sign = monotonic() + TICK_SECONDS
            self._beat()

    # -- once a second

    def _tick(self, now: float) -> None:
        self._pause = self.last_chance_seconds if self._draining else self._tick_seconds
        self.server_lines.tick(http_date(time()))
        self._beat()
        if self._draining:
            self._go_on_draining(now)
        self._acceptor.resume()
        if not self.connections.meet_deadlines(now):
            self._pause = NEXT_GO_SECONDS
        if self.budget.has_fallen():
            give_memory_back()
        self._next_tick = now + self._pause
        self._look_due = perf_counter() + self._pause

    def _go_on_draining(self, now: float) -> None:
        if self._acceptor.sites:
            self._acceptor.close()
            self.connections.hurry(now + self.idle_seconds, now + DRAIN_LINGER_SECONDS)
        self.connections.retire()  # again: another thread may just have told how many it has
        # Twice in a row: another thread may just be about to admit the last one.
        if not self.connections and self._was_empty:
            self.stop()
        self._was_empty = not self.connections
