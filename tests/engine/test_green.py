"""Knows that greenlets lose no wake-up and no deadline, whatever goes on first and however inexactly a timer rings.

The engine, its sockets and the greenlets are the real ones.  The hub is played: it takes what there is to call in an
order that a seed decides, in a time that only it makes.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import select
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from server_core.engine import acceptor, clients, connection, engine, outbox, outlet
from server_core.engine.green import GreenEngine
from server_core.engine.site import Site
from server_core.gateway.environ import base_environ
from server_core.settings import Limits, Proxy, Timeouts

SEEDS = 150
#: seconds of the played time
HEAD_TIMEOUT, KEEPALIVE = 5.0, 2.0
#: a deadline is met at the next tick
TICK = 1.0
#: a schedule is over before; one that is not has lost somebody
MUCH_LATER = 60.0
LARGE = 3_000_000


class PlayedHub:
    """Calls what is due in any order; a timer rings up to a tenth too early, as if it had another clock."""

    def __init__(self, chance: random.Random) -> None:
        self.greenlet = greenlet(self._run)
        self.switch = self.greenlet.switch
        self.now = 0.0
        self._chance = chance
        self._soon: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._readers: dict[int, Callable[[], None]] = {}

    def clock(self) -> float:
        self.now += 1e-6
        return self.now

    def on_readable(self, descriptor: int, call: Callable[[], None]) -> Callable[[], None]:
        self._readers[descriptor] = call
        return lambda: self._readers.pop(descriptor) and None

    def soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        due = self.now + seconds * self._chance.uniform(0.9, 1)
        heapq.heappush(self._timers, (due, next(self._numbers), call))

    def wait_writable(self, descriptor: int, seconds: float) -> None:
        me, until = getcurrent(), self.now + seconds

        def look() -> None:
            if select.select([], [descriptor], [], 0)[1] or self.now >= until:
                me.switch()
            else:
                self.later(1e-3, look)

        self.soon(look)
        self.switch()

    def sleep(self, seconds: float) -> None:
        """What an application calls."""
        self.later(seconds, getcurrent().switch)
        self.switch()

    def _run(self) -> None:
        while True:
            calls = [self._soon.popleft() for _ in range(len(self._soon))]
            while self._timers and self._timers[0][0] <= self.now:
                calls.append(heapq.heappop(self._timers)[2])
            calls += [self._readers[one] for one in select.select(list(self._readers), [], [], 0)[0]]
            self._chance.shuffle(calls)
            for call in calls:
                call()
            if not calls:
                assert self._timers, "a wake-up has been lost: nobody is going to do anything any more"
                self.now = max(self.now, self._timers[0][0])
            assert self.now < MUCH_LATER, "a deadline has been lost"


class Play:
    """An engine of greenlets, and clients that do something now and then."""

    def __init__(self, seed: int, stack: ExitStack) -> None:
        self.chance = random.Random(seed)
        self.hub = PlayedHub(self.chance)
        self.stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        self.listener.setblocking(False)
        environ = base_environ("shop", "80", "x", multithread=False, multiprocess=False, errors=sys.stderr)
        self.engine = GreenEngine(
            self.hub,
            self.application,
            [Site(self.listener, environ)],
            Limits(),
            Timeouts(head_timeout=HEAD_TIMEOUT, keepalive=KEEPALIVE),
            Proxy(),
            logging.Logger("silent"),
        )
        stack.callback(self.engine.close)
        self.asking = 0  # clients whose answers are not all there
        self.silent: list[tuple[socket.socket, float]] = []
        self.closed: list[float] = []

    def application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        length = LARGE if environ["PATH_INFO"] == "/large" else 5
        if self.chance.random() < 0.5:
            self.hub.sleep(self.chance.choice((0, 1e-4, 1e-2, 0.7)))
        start_response("200 OK", [("Content-Length", str(length))])
        yield b"x" * length

    def connect(self) -> socket.socket:
        client = self.stack.enter_context(socket.create_connection(self.listener.getsockname()))
        client.setblocking(False)
        return client

    def ask(self, requests: int, path: str) -> None:
        """A client that pipelines; it is waited for."""
        client = self.connect()
        self.asking += 1
        client.send(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode() * requests)
        self._read(client, requests * (LARGE if path == "/large" else 5))

    def _read(self, client: socket.socket, left: int) -> None:
        try:
            left -= client.recv(200_000).count(b"x")
        except BlockingIOError:
            pass
        if left:
            self.hub.later(self.chance.choice((1e-4, 1e-2)), partial(self._read, client, left))
        else:
            self.asking -= 1

    def say_nothing(self) -> None:
        """A client that connects, and is cut when the deadline for a head is over."""
        self._expect_the_end(self.connect(), self.hub.now)

    def _expect_the_end(self, client: socket.socket, began: float) -> None:
        try:
            ended = client.recv(4096) == b""
        except BlockingIOError:
            ended = False
        if ended:
            self.closed.append(self.hub.now - began)
        else:
            self.hub.later(0.05, partial(self._expect_the_end, client, began))

    def run(self, drain_at: float) -> None:
        self.hub.later(drain_at, self.engine.drain)
        self.engine.serve()


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Play]]:
    with ExitStack() as stack:

        def begin(seed: int) -> Play:
            stack.close()
            played = Play(seed, stack)
            for module in (acceptor, clients, connection, engine, outbox, outlet):
                for name in ("monotonic", "perf_counter"):
                    monkeypatch.setattr(module, name, played.hub.clock, raising=False)
            return played

        yield begin


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_in_any_order_everybody_is_answered_and_who_says_nothing_is_cut_in_time(
    play: Callable[[int], Play], first: int
):
    for seed in range(first, first + 50):
        played = play(seed)
        silent = played.chance.randint(0, 3)
        for _ in range(silent):
            played.hub.later(played.chance.uniform(0, 2), played.say_nothing)
        for _ in range(played.chance.randint(1, 6)):
            path = "/large" if played.chance.random() < 0.1 else "/"
            played.hub.later(played.chance.uniform(0, 3), partial(played.ask, played.chance.randint(1, 4), path))
        try:
            played.run(drain_at=20)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        assert played.asking == 0, f"seed {seed}"
        assert len(played.closed) == silent, f"seed {seed}"
        # It is looked for every 0.05 s, and the client is told why before it is cut.
        assert all(HEAD_TIMEOUT - 0.1 <= seconds < HEAD_TIMEOUT + TICK + 0.2 for seconds in played.closed), (
            played.closed
        )
