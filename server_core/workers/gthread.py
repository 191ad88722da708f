"""Several requests at once, each in a thread of a pool; the main thread only watches."""

from __future__ import annotations

import os
from functools import partial
from threading import Thread

from server_core.engine.threaded import ThreadedEngine
from server_core.workers.post import Post


def prepare() -> None:
    """Nothing needs to happen before the application is imported."""


def run(post: Post) -> None:
    """Serve until drained.  The main thread gives the sign of life: a long request holds up nobody but its client."""
    count = post.settings.workers.threads
    engine = post.engine(partial(ThreadedEngine, count), concurrent=count > 1)

    def serve() -> None:
        try:
            engine.serve()
        except BaseException:
            # A pool that has lost a thread unnoticed serves worse and worse; a dead worker is replaced.
            post.log.critical("A thread of the worker ended by an error in the server itself", exc_info=True)
            os._exit(1)

    threads = [Thread(target=serve, name=f"prefork-serve {number}", daemon=True) for number in range(1, count + 1)]
    for thread in threads:
        thread.start()
    engine.watcher.watch(post.beat)
    for thread in threads:
        thread.join()
    engine.join()
