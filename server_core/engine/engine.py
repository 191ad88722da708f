"""The readiness loop of a worker process and the threads that share it; what a request is, connections know.

One thread or several call ``serve``, one more calls ``watch``.  Two modes, chosen by a running mean of the time that
the application takes:

- *fast*: one thread, the leader, waits for events and handles them all, application included.  The others are parked.
  The watcher looks once a millisecond; when the leader is still in the same request, a parked thread takes the lead.
- *blocking*: every free thread waits for one event and handles it; the kernel hands each event to one thread.

Leadership is a matter of speed only.  Two leaders at once, for a moment, do no harm: a connection belongs to whoever
holds its claim, and events not yet handled stand in one shared deque.  When all threads are in the application nobody
polls, and that is back-pressure.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import Logger
from math import inf
from threading import Lock, get_ident
from time import monotonic, perf_counter, time

from server_core.engine.acceptor import LEAVE_SECONDS, LEAVING, Acceptor
from server_core.engine.budget import Budget
from server_core.engine.clients import Clients
from server_core.engine.connection import Connection
from server_core.engine.crew import Crew, Seat
from server_core.engine.outlet import LINGER_SECONDS, Outlet
from server_core.engine.places import Places, Waiting
from server_core.engine.poller import HANGUP, READABLE, Events, Poller
from server_core.engine.proxies import Proxies
from server_core.engine.site import Site
from server_core.engine.watcher import Watcher
from server_core.exchange import Exchange
from server_core.gateway.wsgi import ClientGone, ServerLines, WSGIApplication
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


class Engine:
    """Accepts connections on ``sites``, serves them with ``application`` until told to ``drain`` or ``stop``.

    ``hosts`` are those that requests may name (empty: every one).  ``connect`` makes the connections.
    ``record`` is told of every exchange (None: nobody wants to know), ``turn_ended`` is called when answers have been
    sent, ``beat`` about once a second while requests can be served, ``limit_reached`` once after ``max_requests``.
    """

    def __init__(
        self,
        application: WSGIApplication,
        sites: list[Site],
        threads: int,
        limits: Limits,
        timeouts: Timeouts,
        proxy: Proxy,
        log: Logger,
        *,
        server: str | None = None,
        hosts: tuple[str, ...] = (),
        worker_connections: int = 0,
        share: Share | None = None,
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
        self.connections = Clients(worker_connections or limits.worker_connections, share)
        self._ready: deque[tuple[int, int]] = deque()
        self._later: deque[tuple[int, int]] = deque()  # those who had their turn and have more to do
        self._poller = Poller()
        self._poll, self._add_connection = self._poller.poll, self._poller.add_connection
        self._threads = threads
        self._next_tick = self._next_sign = 0.0
        self._look_due = 0.0  # the next tick, by the same
        self._pause = self._tick_seconds
        self._tick_lock = Lock()
        self._stopped = False
        self._draining = False
        self._was_empty = False
        self.crew = Crew()
        self._places = Places(self._substitute, self._wake)
        self.watcher = Watcher(self.crew, self.pending, self._leader_is_stuck)
        self._away_seconds: dict[int, float] = {}  # by thread, of the request that it is in
        # descriptors that are no connections
        self._refuses = limits.full_policy == "refuse"
        full = self.connections.overfull if self._refuses else self.connections.full
        self._acceptor = Acceptor(sites, self._poller, self._admit, full, self.connections, threads > 1, log)
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
        """Return from ``serve`` and ``watch`` as soon as each thread comes back from the application."""
        self._stopped = True
        self._places.close()
        self._wake()
        self.watcher.stop()

    def join(self) -> None:
        """When the engine has stopped: wait for the threads that were started for those who waited for a client."""
        self._places.join()

    def close(self) -> None:
        """When no thread serves any more: give back what is left; a worker's process does it by ending."""
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

    def _wake_for_leftovers(self) -> None:
        if self._ready or self._later:
            self._wake()

    def _awake(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

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
                ready.extend(self._wait(-1))
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

    def _take_one(self) -> None:
        """Blocking mode: wait for one event, handle it."""
        try:
            events = [self._ready.popleft()]
        except IndexError:
            if self.pending:
                self._flush()
                return
            events = self._wait(1)
        self._wake_for_leftovers()  # this thread may be busy for long now, and the others wait for events
        for descriptor, mask in events:
            self._handle(descriptor, mask)
        if self._turn_ended is not None:
            self._turn_ended()
        if self._last_answer > self._look_due:
            self._look_round()

    def _wait(self, most: int) -> Events:
        """What there is to do next, ``most`` of it (-1: all).  Who comes anew goes before those who had a turn."""
        later = self._later
        pause = LEAVE_SECONDS if self._acceptor.stage == LEAVING else self._pause
        events = self._poll(0 if later or self._places.wanted else pause, most)
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

    def _leader_is_stuck(self, leader: Seat | None) -> None:
        """The leader is in a long request: nobody's finished answer waits for it, and somebody else takes the lead."""
        if self.pending:
            self._flush()
            self._wake_for_leftovers()
        self.crew.replace(leader)

    # -- what connections call

    @contextmanager
    def away(self, client: Waiting) -> Iterator[None]:
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
            left = self._places.leave(client)
        except RuntimeError as error:
            self.log.error("An answer whose client reads slowly was cut off: the system allows no further thread.")
            raise ClientGone("nobody could serve while the application waits for this client") from error
        try:
            yield
        finally:
            if left:
                self._places.come_back(client)
            self._away_seconds[thread] = self._away_seconds.get(thread, 0.0) + perf_counter() - began

    def _substitute(self) -> None:
        try:
            self.serve(substitute=True)
        except BaseException:
            # A worker that has lost a thread unnoticed serves worse and worse; a dead worker is replaced.
            self.log.critical("A thread of the worker ended by an error in the server itself", exc_info=True)
            os._exit(1)

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
        # The leader looks here before it waits again.  Anybody else may be busy for long, or park, while all who could
        # handle this wait for events.
        if self.crew.leader_thread != get_ident() and self._threads > 1:
            self._wake()

    def leave(self, ended: float, seconds: float) -> None:
        """A thread is back from the application, after ``seconds``; ``ended`` by the performance counter."""
        self._last_answer = ended
        if len(self.pending) < 2:  # the first of those that leave together
            due = ended - seconds + TURN_SECONDS
            self._due = due if due < self._look_due else self._look_due
        self.requests += 1
        if self.requests >= self._max_requests:
            self._max_requests = inf
            self._limit_reached()
        if self._away_seconds:
            seconds -= self._away_seconds.pop(get_ident(), 0.0)
        if self._threads > 1:
            self.crew.took(seconds)

    def progress(self) -> None:
        """A part of a long answer has left: this thread is alive although it does not come back."""
        if self._threads == 1 and monotonic() >= self._next_sign:
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
