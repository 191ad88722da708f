"""Many requests at once, each in a greenlet of eventlet; the functions that wait are replaced before all else.

The one place that knows eventlet: its hub as the ``GreenEngine`` sees it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

with warnings.catch_warnings():
    # That its authors advise against it, the manual says; who has chosen it need not hear it at each start.
    warnings.simplefilter("ignore")
    import eventlet
    from eventlet import hubs

from server_core.engine.green import GreenEngine
from server_core.workers.post import Post


def prepare() -> None:
    """What waits in the standard library lets other greenlets go on from now on."""
    eventlet.monkey_patch(os=False)  # else os.read and os.write wait in the hub, on pipes that are ours


def run(post: Post) -> None:
    """Serve until drained.  A request that computes for long shows no sign of life; one that waits does no harm."""
    if post.settings.workers.preload_app:
        hubs.use_hub()  # a new one: what the import has used of the other, all workers would share
    post.engine(partial(GreenEngine, EventletHub()), concurrent=True, beat=post.beat).serve()


class EventletHub:
    """eventlet's hub, as a ``Hub``."""

    def __init__(self) -> None:
        self._hub: Any = hubs.get_hub()
        self.greenlet = self._hub.greenlet
        self.switch = self._hub.switch

    def on_readable(self, descriptor: int, call: Callable[[], None]) -> Callable[[], None]:
        """Call as long as ``descriptor`` can be read, until what is returned is called."""
        listener = self._hub.add(self._hub.READ, descriptor, lambda _: call(), call, lambda: None)
        return lambda: self._hub.remove(listener)

    def soon(self, call: Callable[[], None]) -> None:
        """Call once, as soon as the running greenlet gives way."""
        self._hub.schedule_call_global(0, call)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, after so long."""
        self._hub.schedule_call_global(seconds, call)

    def wait_writable(self, descriptor: int, seconds: float) -> None:
        """Until ``descriptor`` can be written to, or for so long."""
        with eventlet.Timeout(seconds, False):
            hubs.trampoline(descriptor, write=True)
