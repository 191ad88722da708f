"""Takes new connections from the listening sockets of a worker; what becomes of them is the engine's business."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from logging import Logger
from threading import Lock
from time import monotonic

from server_core.engine.clients import Clients
from server_core.engine.poller import Poller
from server_core.engine.site import Site

#: how often it is told, at most, that there is no room
COMPLAINT_SECONDS = 60.0
#: so long new connections are left to another worker that has fewer, if it takes them
LEAVE_SECONDS = 0.001
#: what is done about new connections, by turns: leaving lasts at least that long, and then we insist for two turns,
#: because a listener that was not looked at is told of in the second
TAKING, LEAVING, INSISTING, STILL_INSISTING = range(4)

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """``sites`` by descriptor, as long as they are open; ``admit(socket, peer, site)`` gets each new connection.

    While ``full`` says so, new connections stay in the queue; ``clients`` knows how many should be taken at once.
    ``exclusive`` says that one waiting worker is enough to be told of a new connection: it will certainly have a
    thread for it, and lines up behind the others.  Otherwise all that are idle are told, and the quickest takes it.
    """

    def __init__(
        self,
        sites: list[Site],
        poller: Poller,
        admit: Callable[[socket.socket, object, Site], None],
        full: Callable[[], bool],
        clients: Clients,
        exclusive: bool,
        log: Logger,
    ) -> None:
        self.sites = {site.socket.fileno(): site for site in sites}
        self._kinds = {
            descriptor: (int(site.socket.family), int(site.socket.type), site.socket.proto)
            for descriptor, site in self.sites.items()
        }
        self._poller = poller
        self._admit = admit
        self._full = full
        self._clients = clients
        self._exclusive = exclusive
        self._log = log
        # Sites that are not looked at: there is no room, or they are left to the other workers.  None is in both.
        self.paused: list[int] = []
        self._left: list[int] = []
        self.stage = TAKING
        self._left_since = self._left_for = 0.0
        self._untaken = 0  # how often nobody else has taken them since they were shared as they should be
        self._closing = False
        self._next_complaint = 0.0
        self._lock = Lock()  # several threads may find at once that there is no descriptor left
        for descriptor in self.sites:
            poller.add_listener(descriptor, exclusive)

    def take(self, descriptor: int, busy: bool) -> None:
        """Accept connections, and leave the other workers their share; ``busy``: the turn was full of work."""
        share = self._clients.next_share()
        if share > 0:
            self._untaken = 0
        elif self.stage >= INSISTING:  # nobody else has taken them: they may all be stuck, and for long
            self._untaken += 1
            share = min(max(self._untaken, int(self._left_for / LEAVE_SECONDS)), self._clients.most_at_once())
            self.stage, busy = TAKING, True
        elif busy or not self._exclusive:
            self._leave(descriptor, busy)
            return
        # Whoever still waits after a turn full of work found no idle worker, so take several then.
        for _ in range(share if busy else 1):
            if not self.accept(descriptor):
                break
        if self._exclusive and not busy:
            self._line_up(descriptor)

    def _line_up(self, descriptor: int) -> None:
        """Behind all other workers: the kernel tells the first in line that is idle, and moves nobody by itself."""
        with self._lock:
            if descriptor in self.sites and descriptor not in self.paused and descriptor not in self._left:
                self._poller.remove(descriptor)
                self._poller.add_listener(descriptor, exclusive=True)

    def _leave(self, descriptor: int, busy: bool) -> None:
        """To the other workers, for a turn that takes a millisecond at least."""
        if self.stage == TAKING:
            self.stage, self._left_since = LEAVING, monotonic()
        if not busy:  # there is nothing else to do: not to be told of them again and again
            self._take_out(descriptor, self._left)

    def next_turn(self, now: float) -> None:
        """A turn begins in a ``stage`` that passes."""
        if self.stage == LEAVING:
            self._left_for = now - self._left_since
            if self._left_for < LEAVE_SECONDS:
                return
            self._put_back(self._left)
        self.stage = self.stage + 1 if self.stage < STILL_INSISTING else TAKING

    def accept(self, descriptor: int) -> bool:
        """Accept one connection; True when there may be more."""
        site = self.sites.get(descriptor)
        if site is None:  # closed by another thread just now
            return False
        if self._full():
            self._pause(descriptor, "all connections of this worker are busy", "worker_connections, full_policy")
            return False
        return self._accept(descriptor, site)

    def _accept(self, descriptor: int, site: Site) -> bool:
        try:
            # What socket.accept() does, but for looking up the family and the type as words each time.
            accepted, peer = site.socket._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except ConnectionError:  # gone already (CVE-2024-49769)
            return True
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause(descriptor, os.strerror(error.errno), "raise the limit of open files: ulimit -n")
            return False
        sock = socket.socket(*self._kinds[descriptor], accepted)
        sock.setblocking(False)
        self._admit(sock, peer, site)
        return True

    def _pause(self, descriptor: int, why: str, governed_by: str) -> None:
        """No room for a further connection: leave it in the queue until ``resume``."""
        if monotonic() >= self._next_complaint:
            self._next_complaint = monotonic() + COMPLAINT_SECONDS
            self._log.error("Cannot accept a connection: %s (%s). New clients wait in the queue.", why, governed_by)
        self._take_out(descriptor, self.paused)

    def _take_out(self, descriptor: int, sites: list[int]) -> None:
        """Do not look at a site until those in ``sites`` are put back."""
        with self._lock:
            if descriptor in self.sites and descriptor not in self.paused and descriptor not in self._left:
                self._poller.remove(descriptor)
                sites.append(descriptor)

    def _put_back(self, sites: list[int]) -> None:
        with self._lock:
            while sites and not self._closing:
                self._poller.add_listener(sites.pop(), self._exclusive)

    def resume(self) -> None:
        """Look again at the sites that were paused."""
        self._put_back(self.paused)

    def close(self) -> None:
        """Accept who has connected so far, then close the sites."""
        with self._lock:
            self._closing = True  # whoever closes a connection meanwhile resumes nothing that is closed already
        for descriptor, site in list(self.sites.items()):
            self._take_out(descriptor, self.paused)
            while self._accept(descriptor, site):
                pass
            site.socket.close()
        self.sites.clear()
        self.paused.clear()
        self._left.clear()
