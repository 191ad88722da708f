"""Takes new connections from the listening sockets of a worker; what becomes of them is the engine's business."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from logging import Logger
from threading import Lock

from server_core.engine.poller import Poller
from server_core.engine.site import Site

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """``sites`` by descriptor, as long as they are open; ``admit(socket, peer, site)`` gets each new connection.

    ``exclusive`` says that one waiting worker is enough to be told of a new connection: it will certainly have a
    thread for it.  Otherwise all that are idle are told, and the quickest takes it.
    """

    def __init__(
        self,
        sites: list[Site],
        poller: Poller,
        admit: Callable[[socket.socket, object, Site], None],
        exclusive: bool,
        log: Logger,
    ) -> None:
        self.sites = {site.socket.fileno(): site for site in sites}
        self._poller = poller
        self._admit = admit
        self._exclusive = exclusive
        self._log = log
        self._paused: list[int] = []
        self._lock = Lock()  # several threads may find at once that there is no descriptor left
        for descriptor in self.sites:
            poller.add_listener(descriptor, exclusive)

    def accept(self, descriptor: int) -> bool:
        """Accept one connection, and leave the others their share; True when there may be more."""
        site = self.sites.get(descriptor)
        if site is None:  # closed by another thread just now
            return False
        try:
            sock, peer = site.socket.accept()
        except BlockingIOError:
            return False
        except ConnectionError:  # gone already (CVE-2024-49769)
            return True
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause(descriptor, error)
            return False
        sock.setblocking(False)
        self._admit(sock, peer, site)
        return True

    def _pause(self, descriptor: int, error: OSError) -> None:
        """No descriptor or memory for a further connection: leave it in the queue until ``resume``."""
        self._log.error(
            "Cannot accept a connection: %s. New clients wait in the queue; raise the limit of open files (ulimit -n).",
            error.strerror,
        )
        with self._lock:
            if descriptor not in self._paused:
                self._poller.remove(descriptor)
                self._paused.append(descriptor)

    def resume(self) -> None:
        """Look again at the sites that were paused."""
        with self._lock:
            while self._paused:
                self._poller.add_listener(self._paused.pop(), self._exclusive)

    def close(self) -> None:
        """Accept who has connected so far, then close the sites."""
        for descriptor, site in list(self.sites.items()):
            with self._lock:
                if descriptor not in self._paused:
                    self._poller.remove(descriptor)
                    self._paused.append(descriptor)
            while self.accept(descriptor):
                pass
            site.socket.close()
        self.sites.clear()
        self._paused.clear()
