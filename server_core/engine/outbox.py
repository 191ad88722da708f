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
from collections.abc import Callable
from threading import Lock
from time import monotonic

from server_core.gateway.wsgi import ClientGone

_SENDFILE_MOST = 1 << 22


class FileSlice:
    """Bytes of a file that are still to be sent; its descriptor is ours.  A temporary file of the outbox ``grows``."""

    __slots__ = ("count", "descriptor", "grows", "offset")

    def __init__(self, descriptor: int, offset: int, count: int, grows: bool) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.count = count
        self.grows = grows


class Outbox:
    """What is left to send on one connection, in order; ``size`` is the number of bytes.

    Up to ``memory_limit`` bytes are kept in memory, ``file_limit`` more in a file; beyond that ``send`` waits, as long
    as the client takes something every ``write_timeout`` seconds; ``progress`` is called meanwhile.
    """

    __slots__ = (
        "_file_limit",
        "_items",
        "_limit",
        "_lock",
        "_memory",
        "_memory_limit",
        "_progress",
        "_socket",
        "_write_timeout",
        "size",
    )

    def __init__(
        self,
        sock: socket.socket,
        memory_limit: int,
        file_limit: int,
        write_timeout: float,
        progress: Callable[[], None],
    ) -> None:
        self._socket = sock
        self._memory_limit = memory_limit
        self._file_limit = file_limit
        self._limit = memory_limit + file_limit
        self._write_timeout = write_timeout
        self._progress = progress
        self._items: deque[memoryview | FileSlice] = deque()
        self._memory = 0
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
            self._items.append(FileSlice(descriptor, offset, count, grows=False))
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
        deadline = monotonic() + self._write_timeout
        while self.size > self._limit // 2:
            before = self.size
            writable.poll(min(self._write_timeout, 1.0) * 1000)
            self._push()
            if self.size < before:
                deadline = monotonic() + self._write_timeout
                self._progress()  # slow, but alive, and so is the worker
            elif monotonic() > deadline:
                raise ClientGone("the client does not take the answer (write_timeout)")

    def add(self, data: bytes | memoryview) -> None:
        """Keep ``data`` behind all that is kept already.  Raises OSError when a temporary file cannot grow."""
        count = len(data)
        if not count:
            return
        with self._lock:
            if not self._items or not self._file_limit or self._memory + count <= self._memory_limit:
                self._items.append(memoryview(data))
                self._memory += count
            else:
                self._add_to_file(memoryview(data))
            self.size += count

    def _add_to_file(self, data: memoryview) -> None:
        last = self._items[-1]
        # Several files of limited size, each given back when it is sent: one file would grow with the whole answer.
        if not isinstance(last, FileSlice) or not last.grows or last.offset + last.count >= self._file_limit // 8:
            import tempfile  # not before it is needed: it brings a megabyte of other modules

            with tempfile.TemporaryFile(prefix="prefork-serve-answer-", buffering=0) as file:
                last = FileSlice(os.dup(file.fileno()), 0, 0, grows=True)
            self._items.append(last)
        while data:
            written = os.pwrite(last.descriptor, data, last.offset + last.count)
            last.count += written
            data = data[written:]

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
            os.close(piece.descriptor)

    def close(self) -> None:
        """Give back descriptors and disk space."""
        with self._lock:
            for item in self._items:
                if isinstance(item, FileSlice):
                    os.close(item.descriptor)
            self._items.clear()
            self.size = 0
