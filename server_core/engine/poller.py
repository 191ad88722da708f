"""Tells which descriptors are ready: epoll on Linux, kqueue elsewhere, with one meaning.

Connections are edge-triggered and registered once in their life; listeners and pipes are level-triggered.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable

READABLE = 1
WRITABLE = 4
#: the peer has finished sending, or the connection is broken: a read will tell
HANGUP = 0x2000 | 0x10 | 0x8

Events = list[tuple[int, int]]

if sys.platform == "linux":
    _epoll = select.epoll  # a library of greenlets takes it out of its module, so that nobody waits there
    _CONNECTION = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

    class Poller:
        """Readiness of many descriptors.

        ``poll(seconds, most)`` waits and returns (descriptor, mask) pairs, ``mask`` made of READABLE, WRITABLE and
        HANGUP.  It may be called by several threads at once: each event goes to one of them.
        """

        def __init__(self) -> None:
            self._epoll = _epoll()
            self.poll: Callable[[float, int], Events] = self._epoll.poll

        def add_connection(self, descriptor: int) -> None:
            """Tell of every change from now on, the present state first."""
            self._epoll.register(descriptor, _CONNECTION)

        def add_listener(self, descriptor: int, exclusive: bool) -> None:
            """Tell as long as a connection waits to be accepted; ``exclusive``: one waiting worker, not all of them."""
            self._epoll.register(descriptor, select.EPOLLIN | (select.EPOLLEXCLUSIVE if exclusive else 0))

        def add_pipe(self, descriptor: int) -> None:
            """Tell as long as there is something to read."""
            self._epoll.register(descriptor, select.EPOLLIN)

        def remove(self, descriptor: int) -> None:
            """Tell no more of a listener or a pipe; a connection goes by being closed."""
            self._epoll.unregister(descriptor)

        def fileno(self) -> int:
            """A descriptor that can be read when something is ready: for somebody else's loop."""
            return self._epoll.fileno()

        def close(self) -> None:
            """Nobody polls any more."""
            self._epoll.close()

else:
    _kqueue = select.kqueue

    class Poller:
        """The same by kqueue; EV_CLEAR is its word for edge-triggered."""

        def __init__(self) -> None:
            self._queue = _kqueue()

        def poll(self, seconds: float, most: int) -> Events:
            """Wait and return (descriptor, mask) pairs."""
            masks: dict[int, int] = {}
            for event in self._queue.control(None, most if most > 0 else 1024, seconds):
                mask = WRITABLE if event.filter == select.KQ_FILTER_WRITE else READABLE
                if event.flags & select.KQ_EV_EOF:
                    mask |= 0x2000
                masks[event.ident] = masks.get(event.ident, 0) | mask
            return list(masks.items())

        def _change(self, descriptor: int, filters: tuple[int, ...], flags: int) -> None:
            self._queue.control([select.kevent(descriptor, each, flags) for each in filters], 0, 0)

        def add_connection(self, descriptor: int) -> None:
            """Tell of every change from now on, the present state first."""
            both = (select.KQ_FILTER_READ, select.KQ_FILTER_WRITE)
            self._change(descriptor, both, select.KQ_EV_ADD | select.KQ_EV_CLEAR)

        def add_listener(self, descriptor: int, exclusive: bool) -> None:
            """Tell as long as a connection waits to be accepted."""
            self.add_pipe(descriptor)

        def add_pipe(self, descriptor: int) -> None:
            """Tell as long as there is something to read."""
            self._change(descriptor, (select.KQ_FILTER_READ,), select.KQ_EV_ADD)

        def remove(self, descriptor: int) -> None:
            """Tell no more of a listener or a pipe; a connection goes by being closed."""
            self._change(descriptor, (select.KQ_FILTER_READ,), select.KQ_EV_DELETE)

        def fileno(self) -> int:
            """A descriptor that can be read when something is ready: for somebody else's loop."""
            return self._queue.fileno()

        def close(self) -> None:
            """Nobody polls any more."""
            self._queue.close()
