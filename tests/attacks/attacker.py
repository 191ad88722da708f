"""The attacker, a process of its own with one epoll loop: does what the catalogue says to one port of this machine.

It says ``ready`` on standard output when all its connections are established, or when no more will be, goes on until
its standard input ends, then tells its figures.  Knows nothing of normal clients and of what the server feels.
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import resource
import select
import socket
import struct
import sys
from random import random
from time import monotonic

from attacks import HOST
from attacks.catalogue import ALL, ATTACKS, NEVER, SLOWLY, Attack

CONNECTING_AT_ONCE = 256  # more would be a flood of SYNs, which is the kernel's business
SOURCES = 32  # addresses 127.0.1.x, so that no two attacks run out of ports
CONNECT_SECONDS = 5.0  # the kernel tries twice in that time, when the queue of the server is full
STALL_SECONDS = 4.0  # without any new connection: the server takes no more
RAMP_SECONDS = 20.0  # or takes them too slowly: the attack is under way by then
STORM_SECONDS = 0.5
NICE = 10  # the normal client on the same core comes first
_BIND_WITHOUT_PORT = 24  # IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect, for the pair of addresses
_RESET = struct.pack("ii", 1, 0)
_SIP = 256  # bytes that a slow reader takes at a time


class Bad:
    """One bad connection."""

    __slots__ = ("born", "counted", "established", "left", "socket")

    def __init__(self, sock: socket.socket, left: bytes, born: float) -> None:
        self.socket = sock
        self.left = left  # of what it has to send now
        self.born = born
        self.established = False
        self.counted = False  # among those that are held; later than established if it awaits an answer


class Swarm:
    """All connections of one attack; ``turn`` is one round of the loop."""

    def __init__(self, attack: Attack, port: int, wanted: int) -> None:
        self._attack = attack
        self._port = port
        self._epoll = select.epoll()
        self._bad: dict[int, Bad] = {}
        self._drips: list[tuple[float, int, Bad]] = []
        self._connecting = 0
        self._opened = 0
        self._tokens = 0.0
        self._began = self._last = self._last_progress = self._last_look = monotonic()
        self.wanted = wanted
        self.established = self.held = self.ended = self.failed = self.sent = self.received = 0

    @property
    def ready(self) -> bool:
        """Is all there that will ever be?"""
        now = monotonic()
        if self._attack.resets:
            return now - self._began > STORM_SECONDS
        stalled = now > min(self._last_progress + STALL_SECONDS, self._began + RAMP_SECONDS)
        return stalled or self.established >= self.wanted

    def turn(self) -> None:
        now = monotonic()
        self._open(now)
        if self._drips:
            self._drip(now)
        if now - self._last_look > 0.5:
            self._last_look = now
            self._give_up(now)
        for descriptor, mask in self._epoll.poll(0.01):
            bad = self._bad.get(descriptor)
            if bad is None:
                continue
            if not bad.established:
                self._connected(bad, now)
            else:
                self._event(bad, mask)

    def _open(self, now: float) -> None:
        attack = self._attack
        rate = self.wanted if attack.resets else attack.rate
        # No more than a tenth of a second is made up for, so that a pause is not followed by a burst.
        self._tokens = min(self._tokens + (now - self._last) * rate, max(rate / 10, 1.0))
        self._last = now
        while self._tokens >= 1 and self._connecting < CONNECTING_AT_ONCE:
            if not attack.resets and len(self._bad) >= self.wanted:
                break
            self._tokens -= 1
            try:
                self._connect(now)
            except OSError:  # no descriptor, no port: the figures tell how far we came
                self.failed += 1
                break

    def _connect(self, now: float) -> None:
        attack = self._attack
        number, self._opened = self._opened, self._opened + 1
        sock = socket.socket()
        sock.setblocking(False)
        if attack.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, attack.receive_buffer)
        if attack.resets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.setsockopt(socket.IPPROTO_IP, _BIND_WITHOUT_PORT, 1)
        sock.bind((f"127.0.1.{1 + number % SOURCES}", 0))
        try:
            sock.connect((HOST, self._port))
        except BlockingIOError:
            pass
        self._bad[sock.fileno()] = Bad(sock, attack.first[number % len(attack.first)], now)
        self._connecting += 1
        self._epoll.register(sock, select.EPOLLOUT)

    def _connected(self, bad: Bad, now: float) -> None:
        attack = self._attack
        if bad.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.failed += 1
            self._forget(bad)
            return
        self._connecting -= 1
        bad.established = True
        if not attack.awaits_answer:
            self._count(bad, now)
        mask = select.EPOLLRDHUP | (select.EPOLLIN if attack.reads == ALL else 0)
        self._epoll.modify(bad.socket, mask | (select.EPOLLOUT if attack.floods else 0))
        if bad.left and not attack.floods and not self._send(bad, bad.left):
            return
        if attack.resets:
            self._forget(bad)
            return
        if attack.half_closes:
            try:
                bad.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._end(bad)
                return
        if attack.drip or attack.reads == SLOWLY:
            # Not all at the same moment: the swarm is spread over the interval.
            heapq.heappush(self._drips, (now + random() * attack.every, self._opened, bad))
            self._opened += 1  # it also keeps the entries of the heap apart

    def _count(self, bad: Bad, now: float) -> None:
        bad.counted = True
        self.established += 1
        self.held += 1
        self._last_progress = now

    def _event(self, bad: Bad, mask: int) -> None:
        attack = self._attack
        if mask & select.EPOLLIN:
            try:
                data = bad.socket.recv(1 << 18)
            except BlockingIOError:
                data = b"-"
            except OSError:
                data = b""
            if not data:
                self._end(bad)
                return
            if not bad.counted:
                self._count(bad, monotonic())
            self.received += len(data)
        elif mask & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            self._end(bad)
            return
        if mask & select.EPOLLOUT and attack.floods:
            words = attack.first[0]
            if not bad.left:
                bad.left = words
            sent = self._send(bad, bad.left)
            bad.left = bad.left[sent:]

    def _send(self, bad: Bad, data: bytes) -> int:
        """The number of bytes that left; a connection that is broken counts as ended by the server."""
        try:
            sent = bad.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._end(bad)
            return 0
        self.sent += sent
        return sent

    def _drip(self, now: float) -> None:
        attack = self._attack
        drips = self._drips
        while drips and drips[0][0] <= now:
            due, number, bad = heapq.heappop(drips)
            if bad.socket.fileno() < 0:  # it has ended meanwhile
                continue
            if attack.reads == SLOWLY:
                try:
                    self.received += len(bad.socket.recv(_SIP))
                    if not bad.counted:
                        self._count(bad, now)
                except BlockingIOError:
                    pass
                except OSError:
                    self._end(bad)
                    continue
            if attack.drip:
                self._send(bad, attack.drip)
            if bad.socket.fileno() >= 0:
                heapq.heappush(drips, (max(due, now - attack.every) + attack.every, number, bad))

    def _give_up(self, now: float) -> None:
        if self._connecting:
            for bad in [bad for bad in self._bad.values() if not bad.established and now - bad.born > CONNECT_SECONDS]:
                self.failed += 1
                self._forget(bad)

    def _end(self, bad: Bad) -> None:
        """The server has ended it."""
        if bad.socket.fileno() >= 0:
            self.ended += 1
            self._forget(bad)

    def _forget(self, bad: Bad) -> None:
        if not bad.established:
            self._connecting -= 1
        if bad.counted:
            self.held -= 1
        self._bad.pop(bad.socket.fileno(), None)
        bad.socket.close()  # epoll forgets it by itself

    def figures(self) -> dict[str, int]:
        names = ("wanted", "established", "held", "ended", "failed", "sent", "received")
        return {name: getattr(self, name) for name in names}


def raise_descriptor_limit() -> int:
    """As many open files as this process may have at most; servers and attackers inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main() -> int:
    name, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    attack = next(attack for attack in ATTACKS if attack.name == name)
    assert attack.reads in (ALL, SLOWLY, NEVER)
    raise_descriptor_limit()
    os.nice(NICE)
    gc.freeze()
    gc.disable()
    swarm = Swarm(attack, port, count)
    stop = select.poll()
    stop.register(0, select.POLLIN | select.POLLHUP)
    ready = False
    while not stop.poll(0):
        swarm.turn()
        if not ready and swarm.ready:
            ready = True
            print("ready", flush=True)
    print(json.dumps(swarm.figures()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
