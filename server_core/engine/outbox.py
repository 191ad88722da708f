"""Keeps what a client has not taken yet, and sends it on as the socket takes it; decides nothing else.

Small remains are kept by reference, more in a private temporary file, so that the application's thread is free long
before the client has read.  The thread that makes the answer and the thread that sees the socket ready may both be
here at once: hence the lock, which only connections with remains ever pay for.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from threading import Lock
from typing import IO

from server_core.gateway.wsgi import ClientGone

_SENDFILE_MOST = 1 << 22


class FileSlice:
    """Bytes of a file that are still to be sent; ``owned`` descriptors are closed with it."""

    __slots__ = ("count", "descriptor", "offset", "owned")

    def __init__(self, descriptor: int, offset: int, count: int, owned: bool) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.count = count
        self.owned = owned

    def close(self) -> None:
        """Close the descriptor if it is ours."""
        if self.owned:
            os.close(self.descriptor)


class Outbox:
    """What is left to send on one connection, in order; ``size`` is the number of bytes.

    Up to ``memory_limit`` bytes are kept in memory, ``file_limit`` more in a file; beyond that ``send`` waits, as long
    as the client takes something every ``write_timeout`` seconds.
    """

    __slots__ = (
        "_items",
        "_limit",
        "_lock",
        "_memory",
        "_memory_limit",
        "_socket",
        "_spool",
        "_spooled",
        "_write_timeout",
        "size",
    )

    def __init__(self, sock: socket.socket, memory_limit: int, file_limit: int, write_timeout: float) -> None:
        self._socket = sock
        self._memory_limit = memory_limit
        self._limit = memory_limit + file_limit
        self._write_timeout = write_timeout
        self._items: deque[memoryview | FileSlice] = deque()
        self._memory = 0
        self._spool: IO[bytes] | None = None
        self._spooled = 0
        self._lock = Lock()
        self.size = 0

    def send(self, data: bytes) -> None:
        """Send what the socket takes and keep the rest.  Raises ClientGone when there is nobody to send to."""
        if self.size:
            self.add(data)
            self._push()
        else:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise ClientGone("the client has closed the connection") from error
            if sent == len(data):
                return
            self.add(memoryview(data)[sent:])
        if self.size > self._limit:
            self._wait_for_room()

    def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """The same for a part of a file; ``descriptor`` is ours from now on."""
        with self._lock:
            self.size += count
            self._items.append(FileSlice(descriptor, offset, count, owned=True))
        self._push()

    def _push(self) -> None:
        try:
            self.flush()
        except OSError as error:
            raise ClientGone("the client has closed the connection") from error

    def _wait_for_room(self) -> None:
        """The application is far ahead of its client: its thread waits here, and only here."""
        writable = select.poll()
        writable.register(self._socket.fileno(), select.POLLOUT)
        while self.size > self._limit // 2:
            if not writable.poll(self._write_timeout * 1000):
                raise ClientGone("the client does not take the answer (write_timeout)")
            self._push()

    def add(self, data: bytes | memoryview) -> None:
        """Keep ``data`` behind all that is kept already.  Raises OSError when the temporary file cannot grow."""
        count = len(data)
        if not count:
            return
        with self._lock:
            self.size += count
            if self._memory + count <= self._memory_limit or not self._items:
                self._items.append(memoryview(data))
                self._memory += count
                return
            if self._spool is None:
                import tempfile  # not before it is needed: it brings a megabyte of other modules

                self._spool = tempfile.TemporaryFile(prefix="prefork-serve-answer-", buffering=0)  # noqa: SIM115
            view = memoryview(data)
            while view:
                view = view[os.pwrite(self._spool.fileno(), view, self._spooled + count - len(view)) :]
            last = self._items[-1]
            if isinstance(last, FileSlice) and last.offset + last.count == self._spooled and not last.owned:
                last.count += count
            else:
                self._items.append(FileSlice(self._spool.fileno(), self._spooled, count, owned=False))
            self._spooled += count

    def flush(self) -> int:
        """Send what the socket takes now; returns the bytes that moved.  Raises OSError for a broken connection."""
        before = self.size
        with self._lock:
            try:
                while self._items:
                    item = self._items[0]
                    if isinstance(item, FileSlice):
                        self._send_slice(item)
                    else:
                        self._send_memory(item)
            except BlockingIOError:
                pass
            if not self._items and self._spool is not None:
                self._spool.close()
                self._spool, self._spooled = None, 0
        return before - self.size

    def _send_memory(self, view: memoryview) -> None:
        sent = self._socket.send(view)
        self.size -= sent
        self._memory -= sent
        if sent == len(view):
            self._items.popleft()
        else:
            self._items[0] = view[sent:]

    def _send_slice(self, piece: FileSlice) -> None:
        sent = os.sendfile(self._socket.fileno(), piece.descriptor, piece.offset, min(piece.count, _SENDFILE_MOST))
        if sent == 0:
            raise ConnectionError("the file has become shorter while it was sent")
        self.size -= sent
        piece.offset += sent
        piece.count -= sent
        if piece.count == 0:
            self._items.popleft()
            piece.close()

    def close(self) -> None:
        """Give back descriptors and disk space."""
        with self._lock:
            for item in self._items:
                if isinstance(item, FileSlice):
                    item.close()
            self._items.clear()
            self.size = 0
            if self._spool is not None:
                self._spool.close()
                self._spool = None
