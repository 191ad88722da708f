"""The sending half of a client connection, and its end: answers go out here, requests come in by ``connection``.

Knows nothing of other connections and of threads but this: whoever holds ``claim`` owns the connection, and only its
owner touches it.  Events that arrive meanwhile are noted in ``missed``, which is read again *after* the claim is given
back, so that no wake-up is lost.  An answer that waits for the end of the turn keeps the claim until it is sent.
"""

from __future__ import annotations

import socket
import struct
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from server_core.engine.outbox import Outbox, Stream, queued, unread

if TYPE_CHECKING:
    from server_core.engine.engine import Engine

# What the owner waits for, or is doing.
HEAD, BODY, ANSWER, WRITE, LINGER, CLOSED, PROXY = range(7)

RECEIVE = 65536
#: of a body, before other clients have their turn
RECEIVE_BODY = 1 << 18
#: how long a client that was refused may still send before the connection is cut, and how long it may be silent
LINGER_SECONDS = 30.0
LINGER_SILENCE = 5.0
#: how much of that is read before other clients have their turn
LINGER_BYTES = 1 << 20

NOTHING = bytearray()

_NO_LINGER = struct.pack("ii", 1, 0)


class Outlet:
    """A gateway's Sink on a socket.  ``deadline`` (monotonic seconds) is when the present state has lasted too long."""

    __slots__ = tuple(
        (
            "_buffer _engine _handed _keep_alive _out _outbox _queued _receive _seen _send _socket _taken "
            "_unread claim deadline descriptor late missed release since state"
        ).split()
    )

    _outbox_class: type[Outbox] = Outbox

    def __init__(self, engine: Engine, sock: Stream, deadline: float) -> None:
        self._engine = engine
        self._socket = sock
        self._receive = sock.recv
        self._send = sock.send
        self._buffer = NOTHING  # bytes received and not understood yet
        self._seen = False  # the buffer was parsed already: only more bytes can make it whole
        self._unread = False  # the socket may hold bytes although no further event will tell
        self._keep_alive = True
        self._out = b""  # the end of an answer, waiting for the end of the turn
        self._outbox: Outbox | None = None
        self.since = 0.0  # when the body, the rest of an answer or the lingering began
        # Of that rest of an answer, in bytes: what the kernel was handed, what it had before, what the client took.
        self._handed = self._queued = self._taken = 0
        lock = Lock()
        self.claim = lock.acquire
        self.release = lock.release
        self.missed = False
        self.late = False
        self.state = HEAD
        self.deadline = deadline
        self.descriptor = sock.fileno()

    def rest(self) -> None:
        """Give the claim back and wait for the next event, unless there is something to do already."""
        self.release()
        if self.missed or self._unread or (self._buffer and not self._seen):
            self._engine.requeue(self.descriptor)

    # What a gateway Sink can do.

    def send_part(self, data: bytes) -> None:
        """Send now; what the socket does not take is kept, and only beyond a limit the application waits."""
        self._kept().send(data)
        self._engine.progress()

    def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """Send a part of a file by sendfile(2), as the client takes it."""
        self._kept().send_file(descriptor, offset, count)

    def send_last(self, data: bytes, keep_alive: bool) -> None:
        """The end of the answer: leaves with the other answers of this turn, or at once if there is no such turn."""
        self._keep_alive = keep_alive
        outbox = self._outbox
        if outbox is not None:
            if outbox.size:
                try:
                    outbox.add(data)
                except OSError:
                    outbox.add_always(data)  # the last block of several: the others have found room
                self._begin_write()
                self._write_on()
                return
            outbox.close()
            self._outbox = None
        self._out = data
        self._engine.send_off(self)

    def send_large(self, head: bytes, body: bytes, keep_alive: bool) -> None:
        """A whole answer, at once: nothing is gained by holding so much until the end of the turn."""
        if self._outbox is not None:  # early hints were sent, and some of them may still be there
            self.send_part(head)
            self.send_part(body)
            self.send_last(b"", keep_alive)
            return
        try:
            sent = self._socket.sendmsg((head, body))
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close()
            return
        if sent == len(head) + len(body):
            self.send_last(b"", keep_alive)
            return
        self._keep_alive = keep_alive
        if self._keep_rest(memoryview(head)[sent:]) and self._keep_rest(memoryview(body)[max(0, sent - len(head)) :]):
            self._begin_write()
            self.rest()  # the socket was full: an event will tell when it is not
        else:
            self._close()

    def cut(self) -> None:
        """End the connection without the end of the answer."""
        self._close()

    def flush(self) -> None:
        """Send the end of the answer, if any of it is kept here, and go on.

        The caller owns the claim, by having taken us from ``pending`` or from before.
        """
        data, self._out = self._out, b""
        if data:
            try:
                sent = self._send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._close()
                return
            if sent != len(data):
                if not self._keep_rest(memoryview(data)[sent:]):
                    self._close()
                    return
                self._begin_write()
                self.rest()  # the socket was full: an event will tell when it is not
                return
        # All of it is in the kernel's hands: on to the next request, or to the end.
        if self._keep_alive:
            self.state = HEAD
            self.late = False
            self.deadline = monotonic() + self._engine.idle_seconds  # the application may have taken long
            self.release()
            if self.missed or self._unread or self._buffer:
                self._engine.requeue(self.descriptor)
        elif self._buffer or self._unread or self.missed or unread(self._socket):
            self._begin_linger()
        else:
            self._close()

    def _keep_rest(self, data: memoryview) -> bool:
        """Keep what the socket does not take; whoever has been taking an answer for the longest makes room for it."""
        outbox = self._kept()
        while True:
            try:
                outbox.add(data)
            except OSError as error:
                if not (outbox.could_hold(len(data)) and self._engine.connections.cut_slowest()):
                    self._engine.log.error("The rest of an answer cannot be kept: %s. Its connection is cut.", error)
                    return False
            else:
                return True

    def _kept(self) -> Outbox:
        if self._outbox is None:
            engine = self._engine
            self._outbox = self._outbox_class(
                self._socket,
                engine.limits.response_buffer_size,
                engine.limits.response_file_size,
                engine.timeouts,
                engine.budget,
                engine.away,
            )
        return self._outbox

    def _begin_write(self) -> None:
        """The answer is complete, and its client has not taken all of it."""
        self.state = WRITE
        self.since = monotonic()
        self._handed = self._taken = 0
        self._queued = queued(self._socket)
        self.deadline = self.since + self._engine.timeouts.write_timeout

    def _extend(self, moved: int, seconds: float) -> None:
        """The client goes on, ``moved`` bytes since ``since``: it has ``seconds`` more, unless it is too slow."""
        now = monotonic()
        rate = self._engine.timeouts.min_data_rate
        self.deadline = min(now + seconds, self.since + seconds + moved / rate) if rate else now + seconds
        if self.deadline > now:
            self.late = False

    def _takes_its_answer(self) -> bool:
        """Has the client taken anything since the last time this was asked?  The kernel asks for more in large steps
        only, and a client may need long for one of them."""
        taken = self._handed + self._queued - queued(self._socket)
        if taken <= self._taken:
            return False
        self._taken = taken
        self._extend(taken, self._engine.timeouts.write_timeout)
        return self.deadline > monotonic()

    def _write_on(self) -> None:
        outbox = self._outbox
        assert outbox is not None
        try:
            moved = outbox.flush()
        except OSError:
            self._close()
            return
        if outbox.size:
            if moved:
                self._handed += moved
                self._extend(self._handed, self._engine.timeouts.write_timeout)
            self.release()
            if self.missed:
                self._engine.requeue(self.descriptor)
            return
        outbox.close()
        self._outbox = None
        self.flush()

    def help(self) -> None:
        """An event came while the application is still producing: send what has been left over so far."""
        outbox = self._outbox
        if outbox is not None:
            try:
                outbox.flush()
            except OSError:
                pass  # the owner will meet it itself

    # -- ending

    def _begin_linger(self) -> None:
        """Half-close, then read and forget what the client still sends: a reset would destroy our last words."""
        self._buffer = NOTHING
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close()
            return
        self.state = LINGER
        self.since = monotonic()
        self.deadline = self.since + min(LINGER_SILENCE, self._engine.linger_seconds)
        self._linger()

    def _linger(self) -> None:
        received = 0
        try:
            while received < LINGER_BYTES:
                data = self._receive(RECEIVE)
                if not data:
                    self._close()
                    return
                received += len(data)
            self._unread = True
        except BlockingIOError:
            self._unread = False
        except OSError:
            self._close()
            return
        if received:
            self.deadline = min(monotonic() + LINGER_SILENCE, self.since + self._engine.linger_seconds)
        self.rest()

    def reset(self) -> None:
        """End the connection without waiting for anything: what the kernel holds for the client is given back too."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        except OSError:
            pass
        self._close()

    def _close(self) -> None:
        """End the connection.  The claim is never given back: whoever still has an event for us finds us taken."""
        self.state = CLOSED
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
        self._engine.forget(self.descriptor)
        self._socket.close()
