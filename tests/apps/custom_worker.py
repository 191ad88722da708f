"""Worker classes of somebody else: those of the manual, and some that do what they should not."""

from __future__ import annotations

import os
import signal
from functools import partial
from threading import Thread

from server_core.engine.threaded import ThreadedEngine

PREPARED = []


class Announcing:
    """One request at a time; says in the log when it begins and ends."""

    def prepare(self):
        PREPARED.append(os.getpid())

    def run(self, post):
        assert [os.getppid()] == PREPARED, "prepare() was not called once, in the forkserver"
        post.log.info("Worker %d begins.", post.slot)
        engine = post.engine(partial(ThreadedEngine, 1), concurrent=False, beat=post.beat)
        Thread(target=engine.watcher.watch, daemon=True).start()
        engine.serve()
        engine.join()
        post.log.info("Worker %d has answered %d requests.", post.slot, engine.requests)


class Rude(Announcing):
    """Ends at once when it should drain."""

    def run(self, post):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        Thread(target=self._end_with_the_arbiter, args=[post], daemon=True).start()
        super().run(post)

    def _end_with_the_arbiter(self, post):
        os.read(post.lifeline, 1)
        os._exit(0)


class Silent(Announcing):
    """Shows no sign of life."""

    def run(self, post):
        post.beat = lambda: None
        super().run(post)


class Unprepared:
    def run(self, post):
        """There is no prepare."""


class Failing:
    def __init__(self):
        raise RuntimeError("this class cannot be made")


class Wanting:
    def __init__(self, what):
        """Nobody gives it this."""


def function():
    """This is no class."""


number = 7


class Unready(Announcing):
    def prepare(self):
        raise KeyError("nothing is prepared")


class Stumbling(Announcing):
    def run(self, post):
        super().run(None)


class Calling(Announcing):
    def run(self):
        """There should be a post."""


class Brief(Announcing):
    def run(self, post):
        """There is nothing to do."""


class Sulking(Announcing):
    """Fails when it has drained."""

    def run(self, post):
        super().run(post)
        raise ValueError("it is over")


class Idle(Announcing):
    """Is never ready."""

    def run(self, post):
        signal.pause()
