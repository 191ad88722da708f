"""Shared memory with one slot for each worker: what it is and when it last showed a sign of life.

Written by the worker about once a second, read by the arbiter at any time; survives the worker.  No locks: each field
has one writer, and each is written in one piece.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import sys
from typing import NamedTuple

_SLOT = struct.Struct("=qddQ")
_SLOT_BYTES = 64


class Score(NamedTuple):
    """One slot as read."""

    pid: int
    started: float  # monotonic seconds
    beat: float  # monotonic seconds of the last sign of life, 0 before the first
    requests: int


def _shared_memory(size: int) -> int:
    """A descriptor of so many bytes in memory.

    On Linux their number is sealed: a worker that is in the hands of an attacker could else take them away, and the
    arbiter would die of SIGBUS when it reads them.
    """
    if sys.platform == "linux":
        descriptor = os.memfd_create("prefork-serve-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    else:
        import tempfile  # only in the arbiter: it brings a megabyte of other modules

        with tempfile.TemporaryFile(prefix="prefork-serve-scoreboard-") as file:
            file.truncate(size)
            descriptor = os.dup(file.fileno())
    return descriptor


class Scoreboard:
    """``slots`` slots behind ``descriptor``, which children inherit."""

    def __init__(self, slots: int, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = _shared_memory(slots * _SLOT_BYTES)
        self.descriptor = descriptor
        self.slots = slots
        self._memory = mmap.mmap(descriptor, slots * _SLOT_BYTES)

    def write(self, slot: int, score: Score) -> None:
        """Fill a slot; by its worker, or by the arbiter before that worker exists."""
        _SLOT.pack_into(self._memory, slot * _SLOT_BYTES, *score)

    def read(self, slot: int) -> Score:
        """What a slot says."""
        return Score(*_SLOT.unpack_from(self._memory, slot * _SLOT_BYTES))
