"""All of a worker that serves on an event loop: listening sockets, connections, deadlines, and how it comes to its end.

What one connection does is its own business.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
from collections.abc import Callable, Coroutine, Iterable
from itertools import chain
from logging import Logger
from math import inf
from time import monotonic, time
from typing import Any

from server_core.asgi.connection import Connection
from server_core.asgi.greeting import Greeting
from server_core.asgi.outlet import LINGER_SECONDS, Outlet
from server_core.asgi.screened import Screened
from server_core.asgi.secure import Secure
from server_core.engine.proxies import Proxies
from server_core.engine.screen import Screen
from server_core.engine.site import Site
from server_core.exchange import Exchange
from server_core.gateway.calls import Answer, Call, Interface, Upgrades
from server_core.gateway.environ import Environ
from server_core.gateway.wsgi import ServerLines
from server_core.http.guard import Heard
from server_core.http.head import HeadLimits
from server_core.http.response import http_date
from server_core.listeners import peer_of
from server_core.scoreboard import Share
from server_core.settings import Limits, Proxy, Timeouts

#: how long a kept-alive connection may still bring a request after draining began, and a refused client may still send
DRAIN_IDLE_SECONDS = 0.5
DRAIN_LINGER_SECONDS = 2.0
#: deadlines are looked at so often, more often when they are short, and while draining
TICK_SECONDS = 1.0
LEAST_TICK_SECONDS = 0.02
#: this time of graceful_timeout, but no more than that part, is left to those that have to be cancelled
FAREWELL_SECONDS = 1.0
FAREWELL_PART = 0.8
#: so many connections are accepted before others have their turn
MOST_AT_ONCE = 64
#: a worker that has no more connections than any other takes so many; whoever has more leaves them to it for so long
SPREAD = 4
LEAVE_SECONDS = 0.001
#: of the connections that wait for their client, this part is closed when there is no room for another one
EVICTED_PART = 1 / 64
#: how long nobody looks at new clients when there is no room, and how often that is told, at most
PAUSE_SECONDS = 0.1
COMPLAINT_SECONDS = 60.0
#: so many more than may be kept are taken to be told that there is no room
SPARE_PART, SPARE = 1 / 8, 16

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def run_on(
    loop: asyncio.AbstractEventLoop,
    main: Coroutine[Any, Any, None],
    log: Logger,
    fail: Callable[[BaseException], None] = lambda error: None,
) -> None:
    """Turn ``loop`` until ``main`` is done.  SystemExit and KeyboardInterrupt in another task, which asyncio lets
    through, end that task and not the worker; ``fail`` is told of them."""
    task = loop.create_task(main)
    told: BaseException | None = None
    while True:
        try:
            loop.run_until_complete(task)
            return
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done():
                raise
            if error is not told:  # whoever looks at the task's result raises it again
                log.exception("Error in a task of the application")
                fail(error)
            told = error


class Service:
    """``interface`` says how the application is called, ``sites`` are the listening sockets."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interface: Interface,
        sites: list[Site],
        limits: Limits,
        timeouts: Timeouts,
        proxy: Proxy,
        log: Logger,
        *,
        server: str | None,
        hosts: tuple[str, ...] = (),
        worker_connections: int = 0,
        share: Share | None = None,
        screen: Screen | None = None,
        record: Callable[[Exchange], None] | None = None,
        flush: Callable[[], None] | None = None,
        beat: Callable[[], None] = lambda: None,
        max_requests: int = 0,
        limit_reached: Callable[[], None] = lambda: None,
        websockets: Upgrades | None = None,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.head_limits = HeadLimits(limits)
        self.timeouts = timeouts
        self.proxies = Proxies(proxy, log)
        self.hosts = hosts
        self.screen = screen
        self.log = log
        self.record = record
        self.server_lines = ServerLines(server.encode("ascii") if server else b"")
        self.server_lines.tick(http_date(time()))
        self.keeps_alive = timeouts.keepalive > 0
        self.idle_seconds = timeouts.keepalive
        self.linger_seconds = LINGER_SECONDS
        self.connections: set[Outlet] = set()
        self.greetings: set[Greeting] = set()
        self.requests = 0
        self.websockets = websockets
        self.interface = interface
        self._sites = {site.socket.fileno(): site for site in sites}
        self._most = worker_connections or limits.worker_connections
        self._spare = max(SPARE, int(self._most * SPARE_PART))
        self._refuses = limits.full_policy == "refuse"
        self._share = share
        self._flush = flush
        self._beat = beat
        self.most_requests = limits.keepalive_requests or inf
        self._max_requests = max_requests or inf
        self._limit_reached = limit_reached
        shortest = min(timeouts.head_timeout, timeouts.body_timeout, timeouts.write_timeout, timeouts.keepalive or inf)
        self._tick_seconds = max(min(TICK_SECONDS, shortest / 8), LEAST_TICK_SECONDS)
        self._beat_seconds = min(TICK_SECONDS, (timeouts.timeout or inf) / 4)
        self._next_beat = 0.0
        self._calls: set[Call] = set()
        self._beginning: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._begun: list[Answer] = []  # answers whose head waits for the first part of their body, until the turn ends
        self._turn_is_watched = False
        # Of the server, not of whichever request happens to run: no request may see another one's variables.
        self._context = contextvars.copy_context()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_away = self._insists = False
        self._next_complaint = 0.0
        self._draining = False
        self._over = loop.create_future()

    # -- from outside: signals, pipes

    def add_reader(self, descriptor: int, read: Callable[[], None]) -> None:
        """Call ``read`` whenever ``descriptor`` can be read."""
        self.loop.add_reader(descriptor, read)

    def remove_reader(self, descriptor: int) -> None:
        """The opposite of ``add_reader``."""
        self.loop.remove_reader(descriptor)

    def start(self) -> None:
        """Look at the listening sockets, and at the time."""
        self._look_again()
        self._tell_share()
        self._tick()

    async def end(self) -> None:
        """Wait until all that has come is answered, after ``drain``."""
        await self._over

    def drain(self) -> None:
        """Answer what has come, take nothing more; websockets are closed: "service restart" (1012)."""
        if self._draining:
            return
        for descriptor, site in self._sites.items():
            self.loop.remove_reader(descriptor)
            while self._accept_one(site):
                pass
            site.socket.close()
        self._sites.clear()
        self._draining = True
        if self._share is not None:
            self._share.retire()
        self.keeps_alive = False
        self.idle_seconds = DRAIN_IDLE_SECONDS
        self.linger_seconds = DRAIN_LINGER_SECONDS
        self._tick_seconds = min(self._tick_seconds, DRAIN_IDLE_SECONDS / 5)
        if self.websockets is not None:
            self.websockets.shut_down()
        now = monotonic()
        for connection in self.connections:
            connection.hurry(now + DRAIN_IDLE_SECONDS, now + DRAIN_LINGER_SECONDS)
        for greeting in self.greetings:
            greeting.hurry(now + DRAIN_IDLE_SECONDS)
        grace = self.timeouts.graceful_timeout
        self.loop.call_later(max(grace - FAREWELL_SECONDS, grace * FAREWELL_PART), self._cut_short)
        self._tick()

    def _cut_short(self) -> None:
        """Those that do not end are told to, a little before the process is ended."""
        late = [call.task for call in self._calls if call.task is not None]
        if self.websockets is not None:
            late += self.websockets.tasks
        for task in late:
            task.cancel(f"its worker has to go: graceful_timeout is {self.timeouts.graceful_timeout:g}s")

    # -- new connections

    def _accept(self, descriptor: int) -> None:
        share = self._share_of_new()
        if share < 1 and not self._insists:
            self._insists = True  # the next time: the others may all be stuck
            self._look_away(LEAVE_SECONDS)
            return
        self._insists = False
        site = self._sites[descriptor]
        for _ in range(max(share, 1)):
            full = len(self) >= self._most
            there_is_room = not full or self._somebody_can_go()
            if not there_is_room and not (self._refuses and len(self) < self._most + self._spare):
                self._pause("all connections of this worker are busy", "worker_connections, full_policy")
                break
            if not self._accept_one(site, there_is_room):
                break
            if full and there_is_room:
                self._make_room()

    def _share_of_new(self) -> int:
        """How many to take at once; below 1 when another worker has so few that it should have them all."""
        fewest = self._share.fewest() if self._share is not None else None
        return MOST_AT_ONCE if fewest is None else min(MOST_AT_ONCE, SPREAD + fewest + fewest // 8 - len(self))

    def _accept_one(self, site: Site, there_is_room: bool = True) -> bool:
        """Accept one connection, if only to say that there is no room for it; True when there may be more."""
        try:
            sock, peer = site.socket.accept()
        except BlockingIOError:
            return False
        except ConnectionError:  # gone already (CVE-2024-49769)
            return True
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause(os.strerror(error.errno), "raise the limit of open files: ulimit -n")
            return False
        sock.setblocking(False)
        address, port = peer_of(peer)
        if not there_is_room and site.tls is not None:
            sock.close()  # an answer would need the handshake first
        elif not there_is_room:
            self.open(sock, address, port, "", site, is_wanted=False)
        elif site.tls is not None or self.proxies.speaks_first(address):
            self.greetings.add(Greeting(self, sock, address, port, site))
        else:
            self.open(sock, address, port, "", site)
        return True

    def open(
        self,
        sock: socket.socket,
        address: str,
        port: str,
        scheme: str,
        site: Site,
        is_wanted: bool = True,
        deadline: float = 0.0,
    ) -> None:
        """HTTP begins on a connection; or TLS first.  ``deadline`` is that of its first head, if it has one already."""
        kind = Screened if self.screen is not None or site.redirect_port else Connection
        connection = kind(self, sock, address, port, scheme, site, is_wanted)
        self._beginning.add(connection)
        if deadline:
            connection.deadline = deadline
        protocol = connection if site.tls is None else Secure(connection, site.tls, address, self.log)
        task = self.loop.create_task(self._open(connection, protocol, sock))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: Connection, protocol: Connection | Secure, sock: socket.socket) -> None:
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError as error:
            self.log.debug("A connection did not begin: %s", error)
            self._beginning.discard(connection)
            sock.close()
            self._look_whether_over()

    def made(self, connection: Connection) -> None:
        """It is the loop's."""
        self._beginning.discard(connection)
        self.connections.add(connection)
        if self._draining:  # it was still in the queue, or in TLS, when all others were told
            now = monotonic()
            connection.hurry(now + DRAIN_IDLE_SECONDS, now + DRAIN_LINGER_SECONDS)
        self._tell_share()

    def replace(self, connection: Connection, taken: Outlet) -> None:
        """A connection belongs to another protocol, but its end is still looked after here."""
        self.connections.discard(connection)
        self.connections.add(taken)
        self.interface.forget(connection)

    def forget(self, connection: Outlet) -> None:
        """It is closed, or belongs to another protocol."""
        self.connections.discard(connection)
        self.interface.forget(connection)
        self._tell_share()
        if self._draining:
            self._look_whether_over()

    def __len__(self) -> int:
        websockets = len(self.websockets.connections) if self.websockets is not None else 0
        return len(self.connections) + len(self.greetings) + len(self._beginning) + websockets

    def _tell_share(self) -> None:
        if self._share is not None:
            self._share.tell(len(self))

    def _somebody_can_go(self) -> bool:
        now = monotonic()
        return any(each.waited(now) for each in self._evictable())

    def _make_room(self) -> None:
        """For a new connection: close those that have been waiting for their client the longest."""
        now = monotonic()
        waits = [(waited, each) for each in self._evictable() if (waited := each.waited(now))]
        waits.sort(key=lambda wait: wait[0], reverse=True)
        for _, each in waits[: int(len(waits) * EVICTED_PART) + 1]:
            each.close()
            if isinstance(each, Outlet):
                self.connections.discard(each)  # it has nothing more to say, and will be gone in a moment

    def _evictable(self) -> Iterable[Outlet | Greeting]:
        """Who may be waiting for its client."""
        return chain(self.connections, self.greetings)

    def _pause(self, why: str, governed_by: str) -> None:
        """No room for a further connection."""
        if monotonic() >= self._next_complaint:
            self._next_complaint = monotonic() + COMPLAINT_SECONDS
            self.log.error("Cannot accept a connection: %s (%s). New clients wait in the queue.", why, governed_by)
        self._look_away(PAUSE_SECONDS)

    def _look_away(self, seconds: float) -> None:
        """Leave new connections in the queue for a moment."""
        if not self._looks_away and not self._draining:
            self._looks_away = True
            for descriptor in self._sites:
                self.loop.remove_reader(descriptor)
            self.loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._looks_away = False
        for descriptor in self._sites:
            self.loop.add_reader(descriptor, self._accept, descriptor)

    # -- requests

    def call(self, call: Call) -> None:
        """Call the application, in a task of its own."""
        self._calls.add(call)
        call.task = self._context.run(self.loop.create_task, call.run())

    def apart(self, function: Callable[..., object], *arguments: object) -> None:
        """Call something that starts a task, apart from the context of the request that may be running."""
        self._context.run(function, *arguments)

    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """What the server adds to the answer of a websocket's handshake."""
        lines = self.server_lines.both.split(b"\r\n")[:-1]
        return [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]

    def begin_soon(self, answer: Answer) -> None:
        """Its head leaves at the end of this turn, if nothing of its body comes before that."""
        self._begun.append(answer)
        self._watch_turn()

    def answered(self) -> None:
        """An answer is over."""
        self.requests += 1
        if self.requests == self._max_requests:
            self._limit_reached()
        if self._flush is not None:
            self._watch_turn()

    def refused(self) -> None:
        """So is a request that was none."""
        self._watch_turn()

    def _watch_turn(self) -> None:
        if not self._turn_is_watched:
            self._turn_is_watched = True
            self.loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_is_watched = False
        for answer in self._begun:
            answer.begin()
        self._begun.clear()
        if self._flush is not None:
            self._flush()

    def leave(self, call: Call) -> None:
        """The application has returned."""
        self._calls.discard(call)
        if self._draining:
            self._look_whether_over()

    def open_websocket(self, connection: Connection, heard: Heard, known: Any, environ: Environ) -> None:
        """The client of a connection asks for a websocket."""
        assert self.websockets is not None
        self.connections.discard(connection)
        self.websockets.open(self, connection, heard, known, environ)
        self._tell_share()

    # -- time

    def _tick(self) -> None:
        """Signs of life, the date, deadlines; and again."""
        if self._timer is not None:
            self._timer.cancel()
        now = monotonic()
        self.server_lines.tick(http_date(time()))
        if now >= self._next_beat:
            self._next_beat = now + self._beat_seconds - self._tick_seconds / 2
            self._beat()
        self._tell_share()
        for connection in list(self.connections):
            connection.look(now)
        for greeting in list(self.greetings):
            greeting.look(now)
        if self.websockets is not None:
            self.websockets.look(now)
        self._look_whether_over()
        if not self._over.done():
            self._timer = self.loop.call_later(min(self._tick_seconds, self._beat_seconds), self._tick)

    def _look_whether_over(self) -> None:
        """While draining: has the last one gone?"""
        if not self._draining or self._over.done() or self._calls:
            return
        if len(self) or (self.websockets is not None and self.websockets.tasks):
            return
        self._over.set_result(None)
