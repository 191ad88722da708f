"""Shared memory with one slot for each worker: what it is, when it last showed a sign of life, what it holds.

Written by the worker, read by the arbiter and the other workers at any time; survives the worker.  No locks: each field
has one writer, and each is written in one piece.  Nobody relies on what is read: the application can write there too.
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
# Of the 32-bit words of a slot: how many connections this worker has, and one more; 0 when it takes none.
_SLOT_WORDS = _SLOT_BYTES // 4
_HELD = _SLOT.size // 4
#: the stages of a server; it only goes on to the next.  Slot 0 is no worker's: the stage is its first word.
STARTING, SERVING, ENDING = range(3)
_STAGE = struct.Struct("=I")
#: a worker compares itself with no more slots than that, because it does so often
MOST_COMPARED = 16


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

    @property
    def stage(self) -> int:
        """That of the whole server, as the arbiter has told."""
        return int(_STAGE.unpack_from(self._memory)[0])

    def advance(self, stage: int) -> None:
        """The server is at that stage at least; by the arbiter."""
        _STAGE.pack_into(self._memory, 0, max(stage, self.stage))

    def write(self, slot: int, score: Score) -> None:
        """Fill a slot; by its worker, or by the arbiter before that worker exists."""
        _SLOT.pack_into(self._memory, slot * _SLOT_BYTES, *score)

    def clear(self, slot: int) -> None:
        """There is no worker in this slot; by the arbiter."""
        self._memory[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES] = bytes(_SLOT_BYTES)

    def share(self, slot: int) -> Share:
        """For the worker in ``slot``: what it holds beside the others."""
        return Share(memoryview(self._memory).cast("I"), slot, min(MOST_COMPARED, self.slots))

    def read(self, slot: int) -> Score:
        """What a slot says."""
        return Score(*_SLOT.unpack_from(self._memory, slot * _SLOT_BYTES))


class Share:
    """How many connections a worker has, beside the others that take connections too."""

    def __init__(self, words: memoryview[int], slot: int, slots: int) -> None:
        self._words = words
        self._mine = slot * _SLOT_WORDS + _HELD
        self._all = words[_HELD : slots * _SLOT_WORDS : _SLOT_WORDS]
        self._slot = slot
        self._retired = False

    def tell(self, connections: int) -> None:
        """This worker has so many now."""
        if not self._retired:
            self._words[self._mine] = connections + 1

    def retire(self) -> None:
        """This worker takes no connections any more."""
        self._retired = True
        self._words[self._mine] = 0

    def fewest(self) -> int | None:
        """The number of connections of that other worker which has the fewest; None when there is no other."""
        words = self._all.tolist()
        if self._slot < len(words):
            words[self._slot] = 0
        others = [word for word in words if word]
        return min(others) - 1 if others else None
