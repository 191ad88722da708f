"""Keeps a request body until it is whole: in memory up to a threshold, then in a private temporary file."""

from __future__ import annotations

import io
from typing import IO


class Spool:
    """Takes the pieces of a body and gives them back as a file opened for reading from its beginning."""

    __slots__ = ("_file", "_limit", "_size")

    def __init__(self, limit: int) -> None:
        self._file: io.BytesIO | io.FileIO = io.BytesIO()
        self._limit = limit
        self._size = 0

    def write(self, piece: bytes) -> None:
        """Append; raises OSError when the temporary file cannot grow."""
        self._size += len(piece)
        if self._size > self._limit and isinstance(self._file, io.BytesIO):
            import tempfile  # not before it is needed: it brings a megabyte of other modules

            # Unbuffered, so that a full disk shows here and nowhere else.
            file = tempfile.TemporaryFile(prefix="prefork-serve-body-", buffering=0)  # noqa: SIM115
            _write_all(file, self._file.getbuffer())
            self._file = file
        _write_all(self._file, piece)

    def whole(self) -> IO[bytes]:
        """The body as ``wsgi.input``: it ends by itself, so that an application cannot read too far."""
        self._file.seek(0)
        return self._file if isinstance(self._file, io.BytesIO) else io.BufferedReader(self._file)

    def close(self) -> None:
        """Give back the memory or the disk space."""
        self._file.close()


def _write_all(file: io.BytesIO | io.FileIO, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
