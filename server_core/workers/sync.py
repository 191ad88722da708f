"""One request at a time, in the process's main thread, as code that is not ready for threads expects."""

from __future__ import annotations

from functools import partial
from threading import Thread

from server_core.engine.threaded import ThreadedEngine
from server_core.workers.post import Post


def prepare() -> None:
    """Nothing needs to happen before the application is imported."""


def run(post: Post) -> None:
    """Serve until drained.  A request that takes long shows no sign of life, so ``timeout`` is its limit."""
    engine = post.engine(partial(ThreadedEngine, 1), concurrent=False, beat=post.beat)
    Thread(target=engine.watcher.watch, name="prefork-serve watcher", daemon=True).start()
    engine.serve()
    engine.join()
