"""Keeps a request body until it is whole: in memory up to a threshold, then in a private temporary file."""

from __future__ import annotations

import errno
import io
import os
from typing import IO

from server_core.engine.budget import Budget


class Spool:
    """Takes the pieces of a body and gives them back as a file opened for reading from its beginning.

    ``size`` counts the bytes so far.  Up to ``limit`` of them are in memory, if the worker's ``budget`` has room.
    """

    __slots__ = ("_budget", "_file", "_limit", "_memory", "_space", "size")

    def __init__(self, limit: int, budget: Budget) -> None:
        self._file: io.BytesIO | io.FileIO | io.BufferedReader = io.BytesIO()
        self._limit = limit
        self._budget = budget
        self._memory = self._space = 0  # what is taken from the budget
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Append; raises OSError when the temporary file cannot grow."""
        count = len(piece)
        self.size += count
        if isinstance(self._file, io.BytesIO):
            if self.size <= self._limit and self._budget.take_memory(count):
                self._memory += count
                self._file.write(piece)
                return
            self._move_to_file(self._file)
        self._take_space(count)
        _write_all(self._file, piece)

    def _move_to_file(self, memory: io.BytesIO) -> None:
        import tempfile  # not before it is needed: it brings a megabyte of other modules

        self._take_space(self._memory)
        # Unbuffered, so that a full disk shows here and nowhere else.  Unlinked before its first byte, and mode 600.
        file = tempfile.TemporaryFile(prefix="prefork-serve-body-", buffering=0)  # noqa: SIM115
        _write_all(file, memory.getvalue())  # not its buffer: while that is exported, memory cannot be closed
        self._file = file
        self._budget.give_back(self._memory, 0)
        self._memory = 0

    def _take_space(self, count: int) -> None:
        if not self._budget.take_space(count):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC) + " for temporary files (limit_temp_space)")
        self._space += count

    def whole(self) -> IO[bytes]:
        """The body as ``wsgi.input``: it ends by itself, so that an application cannot read too far."""
        self._file.seek(0)
        if isinstance(self._file, io.FileIO):
            self._file = io.BufferedReader(self._file)
        return self._file

    def close(self) -> None:
        """Give back the memory or the disk space."""
        self._file.close()
        if self._memory or self._space:
            self._budget.give_back(self._memory, self._space)
            self._memory = self._space = 0


def _write_all(file: IO[bytes] | io.FileIO | io.BytesIO | io.BufferedReader, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
