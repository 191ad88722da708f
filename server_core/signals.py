"""Turns signals into bytes on a pipe, so that they are handled between events and never in the middle of anything."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

#: the system's own: a worker class (gevent) may replace it, to keep SIGCHLD for itself
_handle = signal.signal

#: what reaches the whole foreground of a terminal at once (Ctrl-C, its end), or a family by pkill: the arbiter decides
FOR_THE_FAMILY = (signal.SIGINT, signal.SIGHUP)


class SignalPipe:
    """Collects signals from the moment of its creation; ``descriptor`` can be read when one has come."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self.descriptor, self._write = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._write, False)
        self.listen()
        for number in signals:
            _handle(number, _note)

    def listen(self) -> None:
        """Have the interpreter write here; again, where a library may have put a pipe of its own in this place."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def read(self) -> list[signal.Signals]:
        """The signals since the last call, in order."""
        try:
            return [signal.Signals(number) for number in os.read(self.descriptor, 4096)]
        except BlockingIOError:
            return []


def _note(number: int, frame: object) -> None:
    """Nothing: the number is in the pipe already, written by the interpreter."""


def reset(signals: Iterable[signal.Signals]) -> None:
    """In a fresh child: forget the parent's pipe and handlers."""
    signal.set_wakeup_fd(-1)
    for number in signals:
        _handle(number, signal.SIG_DFL)


def let_through() -> None:
    """In a process that was started with these signals held back (``held_back``): hear them from now on.

    A Python that is starting would answer SIGINT with the traceback of a KeyboardInterrupt, and die by SIGHUP.  Called
    before any code of the application runs: what that starts would inherit the mask.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_FAMILY)


def held_back() -> set[int]:
    """The signal mask for a process that is about to be started and calls ``let_through`` when it is ready for them."""
    return {*signal.pthread_sigmask(signal.SIG_BLOCK, ()), *FOR_THE_FAMILY}
