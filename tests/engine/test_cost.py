"""Knows what a kept-alive GET may cost, counted and not timed: calls of Python functions, of C functions, system calls.

Of the latter, those that a request needs are counted by name; any other one is a call of a C function too many.

A budget that is exceeded is no fault by itself, but somebody has to look at it and say why.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from server_core.engine.screen import Screen
from server_core.engine.screened import Screened
from server_core.engine.site import Site
from server_core.engine.threaded import ThreadedEngine
from server_core.gateway.environ import base_environ
from server_core.scoreboard import SERVING
from server_core.settings import Limits, Proxy, Timeouts

#: calls of functions in Python (the application is one of them), and of functions in C, for one request on a kept
#: connection: one that differs in its target from the one before, and one that does not
NEW_TARGET = (16, 32)
SAME_TARGET = (14, 24)
#: what is added where the server answers probes (health_path): one step more, and the question whether this is one
SCREENED = (2, 0)
#: what each of them costs the system: one recv, one send, and an epoll_wait that is shared by all that are ready
SYSTEM_CALLS = {"recv": 1, "send": 1, "poll": 1}

REQUEST = b"GET /item?number=%d HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: probe\r\nAccept: */*\r\n\r\n"
REQUESTS = 200


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


@pytest.fixture
def screened() -> bool:
    """Is any setting used that has requests screened?"""
    return False


@pytest.fixture
def counted(screened: bool) -> Iterator[tuple[socket.socket, Counter[str]]]:
    """A client's connection to an engine, and what that engine's thread calls while the counter's "on" is set."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, what: Any) -> None:
        if event == "call":
            calls["python"] += 1
        elif event == "c_call":
            calls["c"] += 1
            if what.__name__ in SYSTEM_CALLS:
                calls[what.__name__] += 1

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    environ = base_environ("shop", "80", "x", multithread=False, multiprocess=False, errors=sys.stderr)
    log = logging.Logger("silent")
    more = {"screen": Screen(("/live", "/ready"), lambda: SERVING), "connect": Screened} if screened else {}
    engine = ThreadedEngine(1, app, [Site(listener, environ)], Limits(), Timeouts(), Proxy(), log, **more)

    def serve() -> None:
        sys.setprofile(count)
        engine.serve()
        sys.setprofile(None)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with socket.create_connection(listener.getsockname()) as client:
            yield client, calls
    finally:
        engine.drain()
        thread.join()


def ask(client: socket.socket, number: int) -> None:
    client.sendall(REQUEST % number)
    answer = b""
    while not answer.endswith(b"hello"):
        answer += client.recv(4096)


@pytest.mark.parametrize(
    ("screened", "same", "budget"),
    [
        (False, False, NEW_TARGET),
        (False, True, SAME_TARGET),
        (True, True, (SAME_TARGET[0] + SCREENED[0], SAME_TARGET[1] + SCREENED[1])),
    ],
)
def test_a_request_costs_no_more_than_its_budget(
    counted: tuple[socket.socket, Counter[str]], same: bool, budget: tuple[int, int]
):
    client, calls = counted
    for number in range(10):  # what is paid once: the connection, the fields, the header lines
        ask(client, 0 if same else number)
    before = calls.copy()
    for number in range(REQUESTS):
        ask(client, 0 if same else number)
    spent = {name: (calls[name] - before[name]) / REQUESTS for name in ("python", "c", *SYSTEM_CALLS)}
    # A tick, once a second, may fall into the time that is counted.
    assert spent["python"] <= budget[0] + 0.5, spent
    assert spent["c"] <= budget[1] + 0.5, spent
    for name, most in SYSTEM_CALLS.items():
        assert spent[name] == pytest.approx(most, abs=0.05), spent
