"""Decides what should happen next, given what is and what should be; pure, so that it is tested in microseconds.

A generation is one import of the application.  A reload boots the next one, the candidate, and replaces workers one
by one; the old generation is given up only when the new one has reached full strength.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Mode(enum.IntEnum):
    """What the server is about, in the order in which it can change."""

    SERVE = 0
    DRAIN = 1  # answer what has come, then end
    STOP = 2  # end at once


class Desired(NamedTuple):
    """What should be.  ``reloads`` counts the generations asked for, ``reopenings`` how often logs were renamed."""

    workers: int
    reloads: int
    mode: Mode
    reopenings: int = 0


def _drain(desired: Desired) -> Desired:
    """Answer running and queued requests, then end. Once more, half a second later or after that, ends at once."""
    return desired._replace(mode=Mode.DRAIN if desired.mode == Mode.SERVE else Mode.STOP)


def _stop(desired: Desired) -> Desired:
    """End at once."""
    return desired._replace(mode=Mode.STOP)


def _reload(desired: Desired) -> Desired:
    """Open the log files anew, load the application anew and replace the workers one by one. But a server with `reload`
    whose terminal has been closed ends, as by `SIGTERM`."""
    return desired._replace(reloads=desired.reloads + 1)


def _reopen(desired: Desired) -> Desired:
    """Open the log files anew, in all processes: they have been renamed. Nothing else changes."""
    return desired._replace(reopenings=desired.reopenings + 1)


def _more(desired: Desired) -> Desired:
    """One worker more."""
    return desired._replace(workers=desired.workers + 1)


def _fewer(desired: Desired) -> Desired:
    """One worker fewer, but never none."""
    return desired._replace(workers=max(1, desired.workers - 1))


#: What each signal to the arbiter changes; the docstrings are what the manual says of them, in Markdown.
SIGNALS: dict[signal.Signals, Callable[[Desired], Desired]] = {
    signal.SIGTERM: _drain,
    signal.SIGINT: _drain,
    signal.SIGQUIT: _stop,
    signal.SIGHUP: _reload,
    signal.SIGTTIN: _more,
    signal.SIGTTOU: _fewer,
    signal.SIGUSR1: _reopen,
}


#: what is sent to other servers out of habit (to upgrade), and would kill a process by default
UNUSED_SIGNALS = (signal.SIGUSR2, signal.SIGWINCH)


class Phase(enum.Enum):
    """A worker's life as the arbiter sees it."""

    BOOTING = "booting"
    READY = "ready"
    LEAVING = "leaving"  # told to go


class View(NamedTuple):
    """A worker, as far as a decision needs it.  ``tired`` means that it has asked to be replaced (max_requests)."""

    slot: int
    generation: int
    phase: Phase
    tired: bool = False


class Step(NamedTuple):
    """What to do now: fork so many workers of the generation to be, tell these slots to leave, commit the candidate."""

    forks: int = 0
    leave: tuple[int, ...] = ()
    commit: bool = False


def next_step(desired: Desired, workers: Sequence[View], candidate: int | None) -> Step:
    """One step towards what should be; doing nothing is the step of a settled server.

    ``candidate`` is the generation that is to take over, once it can fork, or None when there is none.
    """
    present = [worker for worker in workers if worker.phase is not Phase.LEAVING]
    if desired.mode != Mode.SERVE:
        return Step(leave=tuple(worker.slot for worker in present))
    if candidate is None:
        return _keep_strength(desired.workers, present)
    return _take_over(desired.workers, present, candidate)


def _keep_strength(wanted: int, present: list[View]) -> Step:
    missing = wanted - len(present)
    if missing > 0:
        return Step(forks=missing)
    booting = any(worker.phase is Phase.BOOTING for worker in present)
    if missing < 0:
        if booting:  # a replacement is on its way: whom it replaces goes when it is ready
            return Step()
        # The tired ones first, then the youngest, so that the low slots stay.
        order = sorted(present, key=lambda worker: (not worker.tired, -worker.slot))
        return Step(leave=tuple(worker.slot for worker in order[:-missing]))
    if not booting and any(worker.tired for worker in present):
        return Step(forks=1)
    return Step()


def _take_over(wanted: int, present: list[View], candidate: int) -> Step:
    fresh = [worker for worker in present if worker.generation == candidate]
    old = [worker for worker in present if worker.generation != candidate]
    ready = sum(worker.phase is Phase.READY for worker in fresh)
    if ready >= wanted:
        return Step(leave=tuple(worker.slot for worker in old), commit=True)
    surplus = max(0, len(old) + ready - wanted)
    # Workers that never became ready go first: they are no capacity.
    order = sorted(old, key=lambda worker: (worker.phase is Phase.READY, not worker.tired, worker.slot))
    leave = tuple(worker.slot for worker in order[:surplus])
    if len(fresh) > ready:  # one at a time: a broken application shows with the first
        return Step(leave=leave)
    # The first one has shown that the application boots: with nobody left to replace, the rest may come together.
    return Step(forks=1 if old or not ready else wanted - ready, leave=leave)


class Backoff:
    """Growing pauses between tries that fail one after the other; a success that lasts ends them."""

    FIRST = 0.5
    LONGEST = 30.0

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0

    def failed(self, now: float) -> float:
        """Take note of a failure at ``now`` (seconds); returns the pause until the next try."""
        self.failures += 1
        pause = min(self.LONGEST, self.FIRST * 2.0 ** min(self.failures - 1, 10))
        self.until = now + pause
        return pause

    def succeeded(self) -> None:
        """Forget the failures."""
        self.failures = 0
        self.until = 0.0


class Patience:
    """How long a candidate is let try before a newer one takes its place: the first not at all, for what a person has
    just saved is what they want to see; under a stream of changes twice as long each time, so that one succeeds."""

    FIRST = 0.25

    def __init__(self) -> None:
        self._given_up = 0

    def until(self, started: float) -> float:
        """The moment from which on a candidate that has ``started`` then may be given up for a newer one."""
        return started + (self.FIRST * 2.0 ** min(self._given_up - 1, 20) if self._given_up else 0.0)

    def gave_up(self) -> None:
        """A candidate has been given up for a newer one."""
        self._given_up += 1

    def settled(self) -> None:
        """A candidate has taken over, or has failed."""
        self._given_up = 0
