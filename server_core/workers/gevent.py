"""Many requests at once, each in a greenlet of gevent; the functions that wait are replaced before all else.

The one place that knows gevent: its hub as the ``GreenEngine`` sees it, and what a driver for PostgreSQL needs.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent import monkey, socket, timeout

from server_core.engine.green import GreenEngine
from server_core.workers.post import Post

#: what is said of ssl where we speak TLS: our own code has it already, and never waits by it
OURS_ALONE = r"Monkey-patching ssl .*\(NOT patched\): \['server_core\.engine\.transport [^,]*'\]"


def prepare() -> None:
    """What waits in the standard library lets other greenlets go on from now on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OURS_ALONE, monkey.MonkeyPatchWarning)
        monkey.patch_all()
    gevent.get_hub()  # what it opens is ours, and nothing that the import leaves behind


def run(post: Post) -> None:
    """Serve until drained.  A request that computes for long shows no sign of life; one that waits does no harm."""
    gevent.reinit()  # the application may have used the hub while it was imported, in the process that forked us
    _teach_psycopg2()
    post.engine(partial(GreenEngine, GeventHub()), concurrent=True, beat=post.beat).serve()


class GeventHub:
    """gevent's hub, as a ``Hub``."""

    def __init__(self) -> None:
        self.greenlet = gevent.get_hub()
        self.switch = self.greenlet.switch
        self.soon = self.greenlet.loop.run_callback
        # A watcher that nobody keeps is a watcher that is stopped.
        self._timers: set[Any] = set()

    def on_readable(self, descriptor: int, call: Callable[[], None]) -> Callable[[], None]:
        """Call as long as ``descriptor`` can be read, until what is returned is called."""
        watcher = self.greenlet.loop.io(descriptor, 1)
        watcher.start(call)
        return watcher.stop  # type: ignore[no-any-return]

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, after so long."""
        timer = self.greenlet.loop.timer(seconds)
        self._timers.add(timer)

        def ring() -> None:
            self._timers.discard(timer)
            timer.close()
            call()

        timer.start(ring)

    def wait_writable(self, descriptor: int, seconds: float) -> None:
        """Until ``descriptor`` can be written to, or for so long."""
        with timeout.Timeout(seconds, False):
            socket.wait_write(descriptor)


def _teach_psycopg2() -> None:
    """It waits in C unless it is told how; psycopg 3 finds out by itself."""
    extensions = sys.modules.get("psycopg2.extensions")
    if extensions is None or extensions.get_wait_callback() is not None:
        return

    def wait(connection: Any) -> None:
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            if state == extensions.POLL_READ:
                socket.wait_read(connection.fileno())
            elif state == extensions.POLL_WRITE:
                socket.wait_write(connection.fileno())
            else:
                raise connection.OperationalError(f"an unexpected state of the connection: {state}")

    extensions.set_wait_callback(wait)
