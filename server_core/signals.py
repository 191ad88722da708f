"""Turns signals into bytes on a pipe, so that they are handled between events and never in the middle of anything."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable


class SignalPipe:
    """Collects signals from the moment of its creation; ``descriptor`` can be read when one has come."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self.descriptor, write = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, _note)

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
        signal.signal(number, signal.SIG_DFL)
