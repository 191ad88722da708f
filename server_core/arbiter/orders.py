"""Signals to the arbiter, as changes of what should be, and what is said of each; what follows, the arbiter knows."""

from __future__ import annotations

import signal
from logging import Logger

from server_core.arbiter.plan import SIGNALS, UNUSED_SIGNALS, Desired, Mode
from server_core.logs import reopen

LOADING = "loading the application anew; the server's own settings stay as they were read at the start."
#: who tells first the process and then its group to end (timeout(1) does) means it once
ONCE_SECONDS = 0.5


class Orders:
    """``most_workers`` is how many there is room for."""

    def __init__(self, most_workers: int, graceful_timeout: float, log: Logger) -> None:
        self._most_workers = most_workers
        self._graceful_timeout = graceful_timeout
        self._log = log
        self._told_to_end = float("-inf")

    def heed(self, number: signal.Signals, desired: Desired, now: float) -> Desired:
        """What should be after a signal; ``now`` in monotonic seconds."""
        if number in UNUSED_SIGNALS:
            self._log.warning("Received %s, which means nothing here: nothing was done.", number.name)
        if number not in SIGNALS:
            return desired
        after = SIGNALS[number](desired)
        if number == signal.SIGHUP:
            reopen(self._log)
            self._log.info("Received SIGHUP: %s", LOADING)
        elif number == signal.SIGUSR1:
            reopen(self._log)
            self._log.info("Received SIGUSR1: all processes open their log files anew.")
        elif after.workers > max(desired.workers, self._most_workers):
            words = "Received %s: there are %d workers, and no more are possible without a new start."
            self._log.warning(words, number.name, desired.workers)
            return desired
        elif after.workers != desired.workers:
            words = "Received %s: %d worker%s from now on."
            self._log.info(words, number.name, after.workers, "s" if after.workers > 1 else "")
        elif after.mode == Mode.DRAIN:
            self._told_to_end = now
            words = (
                "Received %s: answering the running requests, for up to %gs (graceful_timeout); once more ends at once."
            )
            self._log.info(words, number.name, self._graceful_timeout)
        elif after.mode != desired.mode:
            if number != signal.SIGQUIT and now - self._told_to_end < ONCE_SECONDS:
                return desired
            self._log.info("Received %s: ending at once.", number.name)
        return after
