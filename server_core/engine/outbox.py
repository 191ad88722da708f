"""Keeps what a client has not taken yet, and sends it on as the socket takes it; decides nothing else.

Small remains are kept by reference, more in a private temporary file, so that the application's thread is free long
before the client has read.  The thread that makes the answer and the thread that sees the socket ready may both be
here at once: hence the lock, which only connections with remains ever pay for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import termios
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from time import monotonic
from typing import Protocol

from server_core.engine.budget import Budget
from server_core.gateway.wsgi import ClientGone
from server_core.settings import Timeouts

_SENDFILE_MOST = 1 << 22
#: what a piece costs besides its bytes
PIECE_BYTES = 256
#: of the space for temporary files: the rest is for bodies, which have no other way, and a disk is slower than a client
RESPONSES_PART = 1 / 16


class Stream(Protocol):
    """What a connection needs of a socket; one that speaks TLS has it too."""

    def recv(self, most: int, flags: int = 0, /) -> bytes:
        """Receive."""

    def send(self, data: bytes | memoryview, /) -> int:
        """Send what is taken."""

    def sendmsg(self, parts: tuple[bytes, bytes], /) -> int:
        """Send what is taken of both."""

    def fileno(self) -> int:
        """The socket's own descriptor: what is sent there goes out as it stands."""

    def setsockopt(self, level: int, name: int, value: bytes, /) -> None:
        """Change the socket."""

    def getsockopt(self, level: int, name: int, length: int, /) -> bytes:
        """Ask about the socket."""

    def shutdown(self, how: int, /) -> None:
        """End one or both directions of the socket."""

    def close(self) -> None:
        """Close the socket."""


#: waits until a descriptor can be written to, at most so many seconds
Wait = Callable[[int, float], None]


def queued(sock: Stream) -> int:
    """How many bytes the kernel holds that the peer has not acknowledged; 0 where it does not tell."""
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"), sys.byteorder)
    except OSError:
        return 0


def unread(sock: Stream) -> bool:
    """Has the peer sent something that was not received yet?"""
    try:
        return fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0"
    except OSError:
        return False


def charge(view: memoryview) -> int:
    """What it costs to keep ``view``: all of what it shows a part of, and the objects round it."""
    return memoryview(view.obj).nbytes + PIECE_BYTES


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

    Up to ``memory_limit`` bytes are kept in memory, ``file_limit`` more in a file, if the worker's ``budget`` has room
    for them; beyond that ``send`` waits, ``away`` from its place, as long as the client takes something every
    ``write_timeout`` seconds, and ``min_data_rate`` on the whole.
    """

    __slots__ = tuple(
        (
            "_away _budget _file_limit _given _items _limit _lock _memory _memory_limit _since _socket _space "
            "_taken _timeouts size"
        ).split()
    )

    # By the kernel itself.  Who speaks TLS (``secure``) has to read and encrypt what is in the file.
    _send_file: Callable[[int, int, int, int], int] = staticmethod(os.sendfile)

    def __init__(
        self,
        sock: Stream,
        memory_limit: int,
        file_limit: int,
        timeouts: Timeouts,
        budget: Budget,
        away: Callable[[Outbox], AbstractContextManager[Wait]],
    ) -> None:
        self._socket = sock
        self._memory_limit = memory_limit
        self._file_limit = file_limit
        self._limit = memory_limit + file_limit
        self._timeouts = timeouts
        self._budget = budget
        self._away = away
        self._since = 0.0  # when the client fell behind; 0 while it keeps up
        self._given = 0  # what it was given since then, and what it had not taken before
        self._taken = 0  # how much of that it has taken, when the application last looked
        self._items: deque[memoryview | FileSlice] = deque()
        self._memory = self._space = 0  # what is taken from the budget
        self._lock = Lock()
        self.size = 0

    def send(self, data: bytes) -> None:
        """Send what the socket takes and keep the rest.  Raises ClientGone when there is nobody to send to."""
        left = memoryview(data)
        self._given += len(data)
        if not self.size:
            if self._since and not queued(self._socket):
                self._since = 0.0  # the client has caught up
            try:
                left = left[self._socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError as error:
                raise ClientGone("the client has closed the connection") from error
            if not left:
                return
            if not self._since:
                self._since = monotonic()
                self._given = queued(self._socket) + len(left)
                self._taken = 0
        try:
            self.add(left)
        except OSError:  # no room anywhere: this block is kept in spite of it, and the next has to wait
            self.add_always(left)
            self._wait_until(self.size // 2)
            return
        self._push()
        if self.size > self._limit:
            self._wait_until(self._limit // 2)

    def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """The same for a part of a file; ``descriptor`` is ours from now on."""
        self._given += count
        with self._lock:
            self.size += count
            self._items.append(FileSlice(descriptor, offset, count, grows=False))
        self._push()

    def _push(self) -> None:
        try:
            self.flush()
        except OSError as error:
            raise ClientGone("the client has closed the connection") from error

    def _wait_until(self, size: int) -> None:
        """The application is far ahead of its client: its thread waits here, and only here."""
        patience, rate = self._timeouts.write_timeout, self._timeouts.min_data_rate
        deadline = monotonic() + patience
        with self._away(self) as wait_writable:
            while self.size > size:
                wait_writable(self._socket.fileno(), min(patience, 1.0))
                self._push()
                now = monotonic()
                taken = self._given - self.size - queued(self._socket)
                if taken > self._taken:
                    self._taken = taken
                    deadline = min(now + patience, self._since + patience + taken / rate) if rate else now + patience
                if now > deadline:
                    raise ClientGone("the client does not take the answer (write_timeout, min_data_rate)")

    def pace(self) -> float:
        """How fast the client takes its answer, in bytes a second."""
        return self._taken / max(monotonic() - self._since, 1.0)

    def cut(self) -> None:
        """While the application waits: let it find the client gone, at once."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def add(self, data: bytes | memoryview) -> None:
        """Keep ``data`` behind all that is kept already.  Raises OSError when there is no room for it."""
        view = memoryview(data)
        if not view:
            return
        with self._lock:
            fits = not self._items or not self._file_limit or self._memory + charge(view) <= self._memory_limit
            if not (fits and self._keep(view, always=False)):
                self._add_to_file(view)

    def add_always(self, data: bytes | memoryview) -> None:
        """Keep ``data`` in memory, room or not."""
        with self._lock:
            self._keep(memoryview(data), always=True)

    def _keep(self, view: memoryview, always: bool) -> bool:
        # A small rest of something large is worth a copy, so that the large thing can go.
        if len(view) <= charge(view) // 4:
            view = memoryview(bytes(view))
        if not self._budget.take_memory(charge(view), always=always):
            return False
        self._items.append(view)
        self._memory += charge(view)
        self.size += len(view)
        return True

    def _add_to_file(self, data: memoryview) -> None:
        if not self._file_limit or not self._budget.take_space(len(data), RESPONSES_PART):
            raise OSError(errno.ENOSPC, "no room for temporary files (response_file_size, limit_temp_space)")
        self._space += len(data)
        try:
            file = self._file_for_more()
            written = 0
            while written < len(data):
                written += os.pwrite(file.descriptor, data[written:], file.offset + file.count + written)
        except OSError:
            self._give_back(0, len(data))
            self._drop_empty_file()
            raise
        file.count += written
        self.size += written

    def _file_for_more(self) -> FileSlice:
        last = self._items[-1] if self._items else None
        # Several files of limited size, each given back when it is sent: one file would grow with the whole answer.
        if not isinstance(last, FileSlice) or not last.grows or last.offset + last.count >= self._file_limit // 8:
            import tempfile  # not before it is needed: it brings a megabyte of other modules

            with tempfile.TemporaryFile(
                prefix="prefork-serve-answer-", buffering=0, dir=self._budget.directory
            ) as file:
                last = FileSlice(os.dup(file.fileno()), 0, 0, grows=True)
            self._items.append(last)
        return last

    def _drop_empty_file(self) -> None:
        last = self._items[-1] if self._items else None
        if isinstance(last, FileSlice) and last.grows and not last.count:
            self._items.pop()
            os.close(last.descriptor)

    def could_hold(self, count: int) -> bool:
        """Would there be room for ``count`` bytes if no other client occupied any?"""
        budget = self._budget
        return count + PIECE_BYTES <= budget.memory_limit or bool(
            self._file_limit and count <= budget.space_limit * RESPONSES_PART
        )

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
        if sent == len(view):
            self._items.popleft()
            self._give_back(charge(view), 0)
        else:
            self._items[0] = view[sent:]

    def _send_slice(self, piece: FileSlice) -> None:
        sent = self._send_file(self._socket.fileno(), piece.descriptor, piece.offset, min(piece.count, _SENDFILE_MOST))
        if sent == 0:
            raise ConnectionError("the file has become shorter while it was sent")
        self.size -= sent
        piece.offset += sent
        piece.count -= sent
        if piece.count == 0:
            self._items.popleft()
            os.close(piece.descriptor)
            if piece.grows:  # the disk has its room back only now, all of it
                self._give_back(0, piece.offset)

    def _give_back(self, memory: int, space: int) -> None:
        self._memory -= memory
        self._space -= space
        self._budget.give_back(memory, space)

    def close(self) -> None:
        """Give back memory, descriptors and disk space."""
        with self._lock:
            for item in self._items:
                if isinstance(item, FileSlice):
                    os.close(item.descriptor)
            self._items.clear()
            self.size = 0
            if self._memory or self._space:
                self._give_back(self._memory, self._space)
