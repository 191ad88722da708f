"""Where the arbiter lays the newest state of something for all of its descendants; knows not what it is.

A file without a name, in memory where the system has that: whoever has inherited it finds out by itself that there is
something new, be it busy, asleep or not yet born when it came.  Descendants cannot write there.
"""

from __future__ import annotations

import os
import struct

from server_core.process import memory_directory

#: number, offset and length of what lies there
_HEAD = struct.Struct("=QQQ")


class Shelf:
    """``descriptor`` is what children inherit, and make a Shelf of that can be looked at."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._writing = -1
        if descriptor is None:
            import tempfile  # only in the arbiter: it brings a megabyte of other modules

            self._writing, path = tempfile.mkstemp(prefix="prefork-serve-", dir=memory_directory())
            try:
                descriptor = os.open(path, os.O_RDONLY)
            finally:
                os.unlink(path)
            os.pwrite(self._writing, _HEAD.pack(0, _HEAD.size, 0), 0)
        self.descriptor = descriptor

    @property
    def number(self) -> int:
        """How often something has been laid here."""
        return self._head()[0]

    def _head(self) -> tuple[int, int, int]:
        return _HEAD.unpack(os.pread(self.descriptor, _HEAD.size, 0))

    def lay(self, data: bytes) -> None:
        """Replace what lies there.  Raises OSError when there is no room; then it stays."""
        number, offset, length = self._head()
        # Beside the present one, which somebody may be reading.
        begin = _HEAD.size if _HEAD.size + len(data) <= offset else offset + length
        if os.pwrite(self._writing, data, begin) != len(data):
            raise OSError("not all of it could be written")
        os.pwrite(self._writing, _HEAD.pack(number + 1, begin, len(data)), 0)

    def take(self) -> tuple[int, bytes] | None:
        """Number and data of what lies there; None when it is being replaced at this moment."""
        head = self._head()
        data = os.pread(self.descriptor, head[2], head[1])
        return (head[0], data) if self._head() == head else None
