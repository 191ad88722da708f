"""Keeps a request body until it is whole: in memory up to a threshold, then in a private temporary file."""

from __future__ import annotations

import errno
import io
import os
from bisect import bisect_right
from typing import IO, TYPE_CHECKING

from server_core.engine.budget import Budget

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: shorter pieces are put together: each piece for itself would cost far more memory than it has bytes
SMALL_PIECE = 16384
#: a body in memory up to this size is copied into one piece, for which there is faster code
SMALL_BODY = 1 << 20
READ_BUFFER = 65536


class Spool:
    """Takes the pieces of a body and gives them back as a file opened for reading from its beginning.

    ``size`` counts the bytes so far.  Up to ``limit`` of them are in memory, if the worker's ``budget`` has room.
    """

    __slots__ = ("_budget", "_file", "_limit", "_memory", "_pieces", "_space", "_whole", "size")

    def __init__(self, limit: int, budget: Budget) -> None:
        self._pieces: list[bytes | bytearray] = []
        self._file: io.FileIO | None = None
        self._whole: IO[bytes] | None = None
        self._limit = limit
        self._budget = budget
        self._memory = self._space = 0  # what is taken from the budget
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Append; raises OSError when the temporary file cannot grow."""
        count = len(piece)
        self.size += count
        if self._file is None:
            if self.size <= self._limit and self._budget.take_memory(count):
                self._memory += count
                self._keep(piece)
                return
            self._file = self._move_to_file()
        self._take_space(count)
        _write_all(self._file, piece)

    def _keep(self, piece: bytes) -> None:
        pieces = self._pieces
        if len(piece) >= SMALL_PIECE:
            pieces.append(piece)
        elif pieces and isinstance(pieces[-1], bytearray) and len(pieces[-1]) < SMALL_PIECE:
            pieces[-1] += piece
        else:
            pieces.append(bytearray(piece))

    def _move_to_file(self) -> io.FileIO:
        import tempfile  # not before it is needed: it brings a megabyte of other modules

        self._take_space(self._memory)
        # Unbuffered, so that a full disk shows here and nowhere else.  Unlinked before its first byte, and mode 600.
        file = tempfile.TemporaryFile(prefix="prefork-serve-body-", buffering=0, dir=self._budget.directory)  # noqa: SIM115
        assert isinstance(file, io.FileIO)
        try:
            for piece in self._pieces:
                _write_all(file, piece)
        except OSError:
            file.close()
            raise
        self._pieces.clear()
        self._budget.give_back(self._memory, 0)
        self._memory = 0
        return file

    def _take_space(self, count: int) -> None:
        if not self._budget.take_space(count):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC) + " for temporary files (limit_temp_space)")
        self._space += count

    def whole(self) -> IO[bytes]:
        """The body as ``wsgi.input``: it ends by itself, so that an application cannot read too far."""
        if self._file is not None:
            self._file.seek(0)
            self._whole = io.BufferedReader(self._file, READ_BUFFER)
        elif self.size <= SMALL_BODY:
            self._whole = io.BytesIO(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
        else:
            self._whole = io.BufferedReader(Pieces(self._pieces), READ_BUFFER)
        return self._whole

    def close(self) -> None:
        """Give back the memory or the disk space."""
        self._pieces.clear()
        for file in (self._whole, self._file):
            if file is not None:
                file.close()
        if self._memory or self._space:
            self._budget.give_back(self._memory, self._space)
            self._memory = self._space = 0


class Pieces(io.RawIOBase):
    """Reads ``pieces`` of bytes as one file, and copies none of them for it."""

    def __init__(self, pieces: list[bytes | bytearray]) -> None:
        self._pieces = pieces
        self._ends: list[int] = []  # the position behind each piece
        end = 0
        for piece in pieces:
            end += len(piece)
            self._ends.append(end)
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, as a file would be."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; returns it.  Raises ValueError for one before the beginning."""
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._ends[-1] if self._ends else 0}
        if bases[whence] + offset < 0:
            raise ValueError(f"negative seek position {bases[whence] + offset}")
        self._position = bases[whence] + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` from one piece; returns the number of bytes, 0 at the end."""
        number = bisect_right(self._ends, self._position)
        if number == len(self._ends):
            return 0
        piece = self._pieces[number]
        begin = self._position - self._ends[number] + len(piece)
        room = memoryview(buffer).cast("B")
        count = min(len(room), len(piece) - begin)
        room[:count] = memoryview(piece)[begin : begin + count]
        self._position += count
        return count

    def readall(self) -> bytes:
        """The rest in one piece."""
        number = bisect_right(self._ends, self._position)
        if number == len(self._ends):
            return b""
        begin = self._position - self._ends[number] + len(self._pieces[number])
        self._position = self._ends[-1]
        return b"".join((memoryview(self._pieces[number])[begin:], *self._pieces[number + 1 :]))


def _write_all(file: io.FileIO, data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
