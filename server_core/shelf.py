"""Where the arbiter lays the newest state of something for all of its descendants; knows not what it is.

Memory that is shared, and that descendants can only read: whoever has inherited it finds out by itself that there is
something new, be it busy, asleep or not yet born when it came, and whatever the application does to its descriptors.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct

from server_core.process import memory_directory

#: all that can lie there, and a second one beside it; memory is taken for what does lie there
_SIZE = 16 << 20
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
            os.truncate(self._writing, _SIZE)
            os.pwrite(self._writing, _HEAD.pack(0, _HEAD.size, 0), 0)
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE, access=mmap.ACCESS_READ)

    @property
    def number(self) -> int:
        """How often something has been laid here."""
        return self._head()[0]

    def _head(self) -> tuple[int, int, int]:
        return _HEAD.unpack_from(self._memory)

    def lay(self, data: bytes) -> None:
        """Replace what lies there.  Raises OSError when there is no room; then it stays."""
        number, offset, length = self._head()
        # Beside the present one, which somebody may be reading.
        begin = _HEAD.size if _HEAD.size + len(data) <= offset else offset + length
        if begin + len(data) > _SIZE or os.pwrite(self._writing, data, begin) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.pwrite(self._writing, _HEAD.pack(number + 1, begin, len(data)), 0)

    def take(self) -> tuple[int, bytes] | None:
        """Number and data of what lies there; None when it is being replaced at this moment."""
        number, offset, length = head = self._head()
        data = self._memory[offset : offset + length]
        return (number, data) if self._head() == head else None

    def close(self) -> None:
        """Give it back; processes do it by ending."""
        self._memory.close()
        os.close(self.descriptor)
        if self._writing >= 0:
            os.close(self._writing)
