"""Knows how to be visitors who come at a steady rate, whether the server is quick or not; a process of its own.

A request is due at its time; it goes out on the next free connection, and its latency is counted from when it was due,
so that a server that falls behind cannot hide it.  Called as ``steady.py PORT RATE SECONDS CONNECTIONS SLOW_EVERY``,
it prints one line of JSON: milliseconds of fast and slow requests, errors by kind, seconds to the last answer.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field

GRACE = 2.0  # seconds after the last due time for what has not been answered yet
SPIN = 0.0015  # seconds before a due time in which it does not sleep, because it would wake up late
CONNECT_LIMIT = 5.0
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.I)
_CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.I)


@dataclass(frozen=True)
class Due:
    """A request: when it ought to be sent, and which answer it asks for."""

    at: float
    slow: bool


@dataclass(eq=False)
class Line:
    """One connection, and the request that is out on it."""

    sock: socket.socket
    due: Due | None = None
    received: bytearray = field(default_factory=bytearray)
    used: bool = False  # a request was answered on it, so the server may have closed it since


def schedule(rate: float, seconds: float, slow_every: int) -> list[Due]:
    """All requests, evenly spread from second 0 on; each ``slow_every``-th is slow, none if that is 0."""
    return [
        Due(number / rate, bool(slow_every) and number % slow_every == slow_every - 1)
        for number in range(int(rate * seconds))
    ]


def complete(received: bytes | bytearray) -> bool:
    """Whether a whole answer is there; ValueError for one that does not tell its length or is not 200."""
    head, end, body = bytes(received).partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head)
    if not length:
        raise ValueError("length")
    if head.split(b" ", 2)[1] != b"200":
        raise ValueError("status")
    return len(body) >= int(length[1])


class Visitors:
    """All connections of one run, and what came of the requests."""

    def __init__(self, port: int, connections: int) -> None:
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.free: deque[Line] = deque()
        self.waiting: deque[Due] = deque()
        self.times: dict[bool, list[float]] = {False: [], True: []}
        self.errors: Counter[str] = Counter()
        self.out = 0
        self.elapsed = 0.0  # seconds to the last answer
        for _ in range(connections):
            self.free.append(self._connect())

    def run(self, plan: list[Due], seconds: float) -> None:
        began, ahead = time.perf_counter(), deque(plan)
        while True:
            now = time.perf_counter() - began
            while ahead and ahead[0].at <= now:
                self.waiting.append(ahead.popleft())
            while self.waiting and self.free:
                self._send(self.free.popleft(), self.waiting.popleft())
            if not (ahead or self.waiting or self.out) or now > seconds + GRACE:
                break
            pause = max((ahead[0].at if ahead else seconds + GRACE) - now - SPIN, 0.0)
            for key, _ in self.selector.select(pause):
                self._receive(key.data, began)
        self.errors["unanswered"] += len(ahead) + len(self.waiting) + self.out

    def close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.data.sock.close()
        self.selector.close()

    def _connect(self) -> Line:
        sock = socket.create_connection(("127.0.0.1", self.port), CONNECT_LIMIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        line = Line(sock)
        self.selector.register(sock, selectors.EVENT_READ, line)
        return line

    def _send(self, line: Line, due: Due) -> None:
        line.due, line.received = due, bytearray()
        self.out += 1
        path = b"/slow" if due.slow else b"/"
        with suppress(OSError):  # it has gone, as reading will tell
            line.sock.send(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def _receive(self, line: Line, began: float) -> None:
        try:
            data = line.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(line)
            return
        line.received += data
        closes = False
        try:
            if line.due is None or not complete(line.received):
                return
            self.elapsed = time.perf_counter() - began
            self.times[line.due.slow].append((self.elapsed - line.due.at) * 1000)
            closes = bool(_CLOSES.search(line.received))
        except ValueError as error:
            self.errors[str(error)] += 1
            closes = True  # what else comes is nobody's answer
        self.out -= 1
        line.due, line.used = None, True
        if closes:
            self._replace(line)
        else:
            self.free.append(line)

    def _gone(self, line: Line) -> None:
        """A kept connection may end just when a request goes out on it: then that is sent once more, as browsers do."""
        due, answering = line.due, bool(line.received)
        if due is None:
            with suppress(ValueError):
                self.free.remove(line)
        else:
            self.out -= 1
            if line.used and not answering:
                self.waiting.appendleft(due)
            else:
                self.errors["closed"] += 1
        self._replace(line)

    def _replace(self, line: Line) -> None:
        self.selector.unregister(line.sock)
        line.sock.close()
        try:
            self.free.append(self._connect())
        except OSError:
            self.errors["connect"] += 1


def main(words: list[str]) -> None:
    port, rate, seconds, connections, slow_every = int(words[0]), float(words[1]), *map(int, words[2:])
    visitors = Visitors(port, connections)
    visitors.run(schedule(rate, seconds, slow_every), seconds)
    visitors.close()
    told = {"fast": visitors.times[False], "slow": visitors.times[True], "errors": visitors.errors,
            "elapsed": visitors.elapsed}  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
