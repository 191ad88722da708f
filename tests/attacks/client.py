"""The normal client, a process of its own: asks at fixed times, whatever became of earlier requests.

Half of its requests come each on a fresh connection, the others on one that is kept.  A latency counts from the time at
which the request was due.  Knows nothing of attacks.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import sys
from collections import Counter, deque
from time import perf_counter

from attacks import HOST
from attacks.tally import LIMIT

RATE = 50.0  # requests a second
FRESH = b"GET / HTTP/1.1\r\nHost: normal\r\nConnection: close\r\n\r\n"
KEPT = b"GET / HTTP/1.1\r\nHost: normal\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.I)


class Line:
    """A connection, with the request on it if there is one: ``due`` is when that had to be sent."""

    def __init__(self, port: int, words: bytes) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.words = words
        self.due = 0.0
        self.connected = False
        self.reused = False
        self.answer = b""
        self.problem = ""
        try:
            self.socket.connect((HOST, port))
        except BlockingIOError:
            pass
        except OSError as error:
            self.problem = type(error).__name__

    def send(self) -> None:
        self.answer = b""
        try:
            self.socket.send(self.words)
        except OSError as error:
            self.problem = type(error).__name__

    def receive(self) -> bool:
        """Take what has come; True when the answer is whole or there will be none (see ``problem``)."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError as error:
            self.problem = type(error).__name__
            return True
        self.answer += data
        head, found, body = self.answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if found and head.split(b" ", 2)[1:2] != [b"200"]:
            self.problem = "status " + head.split(b" ", 2)[1].decode("latin-1")
            return True
        if found and length and len(body) >= int(length[1]):
            return True
        if not data:
            self.problem = "closed"
        return not data


class NormalClient:
    """Asks for ``seconds``; ``run`` returns when the last request is answered or has failed."""

    def __init__(self, port: int, rate: float = RATE) -> None:
        self._port = port
        self._pause = 1 / rate
        self._poll = select.poll()
        self._lines: dict[int, Line] = {}  # with a request on them
        self._kept: Line | None = None
        self._kept_due: deque[float] = deque()
        self.latencies: list[float] = []
        self.failures: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        began = perf_counter()
        asked = 0
        while True:
            now = perf_counter()
            while (due := began + asked * self._pause) <= now and due < began + seconds:
                if asked % 2:
                    self._kept_due.append(due)
                else:
                    self._ask(Line(self._port, FRESH), due)
                asked += 1
            self._ask_kept()
            self._give_up(now - LIMIT)
            over = due >= began + seconds
            if over and not self._lines and not self._kept_due:
                break
            pause = LIMIT / 100 if over else max(due - perf_counter(), 0.0)
            # Whole milliseconds, rounded down: the last part of one is spent looking, for a client that is on time.
            for descriptor, _ in self._poll.poll(int(pause * 1000)):
                if descriptor in self._lines:
                    self._go_on(self._lines[descriptor])
        if self._kept is not None:
            self._kept.socket.close()

    def _ask(self, line: Line, due: float) -> None:
        line.due = due
        if not line.problem and line.connected:
            line.send()
        if line.problem:
            self._done(line)
            return
        self._lines[line.socket.fileno()] = line
        self._poll.register(line.socket, select.POLLIN if line.connected else select.POLLOUT)

    def _ask_kept(self) -> None:
        """The next request of the kept connection, if that is free."""
        while self._kept_due and (self._kept is None or self._kept.socket.fileno() not in self._lines):
            if self._kept is None:
                self._kept = Line(self._port, KEPT)
            else:
                self._kept.reused = True
            self._ask(self._kept, self._kept_due.popleft())

    def _go_on(self, line: Line) -> None:
        if not line.connected:
            if line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                line.problem = "refused"
            else:
                line.connected = True
                line.send()
                self._poll.modify(line.socket, select.POLLIN)
            if line.problem:
                self._done(line)
        elif line.receive():
            self._done(line)

    def _done(self, line: Line) -> None:
        took = perf_counter() - line.due
        if self._lines.pop(line.socket.fileno(), None) is not None:
            self._poll.unregister(line.socket)
        if line is self._kept and line.problem and line.reused and not line.answer and took < LIMIT:
            # Closed while it was idle: as every client, ask once more on another.
            line.socket.close()
            self._kept = Line(self._port, KEPT)
            self._ask(self._kept, line.due)
            return
        if line.problem or took > LIMIT:
            self.failures[line.problem or "late"] += 1
        else:
            self.latencies.append(took * 1000)
        if line is not self._kept:
            line.socket.close()
        elif line.problem or b"\r\nconnection: close" in line.answer.lower():
            line.socket.close()
            self._kept = None

    def _give_up(self, before: float) -> None:
        for line in [line for line in self._lines.values() if line.due < before]:
            line.problem = "no answer" if line.connected else "no connection"
            self._done(line)
        while self._kept_due and self._kept_due[0] < before:
            self._kept_due.popleft()
            self.failures["no answer"] += 1


def main() -> int:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    gc.freeze()
    gc.disable()
    client = NormalClient(port)
    client.run(seconds)
    json.dump({"latencies": [round(each, 3) for each in client.latencies], "failures": client.failures}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
