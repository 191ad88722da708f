"""TLS on a socket that does not wait, with a socket's methods, their meaning and their errors; knows no HTTP.

OpenSSL gets and gives its bytes in memory, and the socket is read and written here.  So a turn costs one recv and one
send as it does without TLS, a write never has to be repeated, and nothing that a client does makes a read wait for a
write or a write for a read.  What OpenSSL does not allow is that two threads are in here at once: whoever owns the
connection reads, and who may send is the outbox's lock, or the owner while there is no outbox.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ssl import MemoryBIO, SSLCertVerificationError, SSLContext, SSLError, SSLWantReadError

#: OpenSSL is given and asked for so much at a time, because it keeps the memory for the most that it ever had of both
SLICE = 8192
#: what is encrypted before the socket is asked to take it, and waits here when it does not
SENT_AT_ONCE = 4 * SLICE
#: how many records are read before other clients have their turn: a record may have a single byte
STEPS_AT_ONCE = 300
#: what a client may make us say (answers to its updates of keys) without listening to it
MOST_UNHEARD = 65536

#: for the log: of whom, and what OpenSSL says
FAILED = "TLS with %s has failed: %s"

NOTHING = memoryview(b"")


class NotTLS(Exception):
    """The client speaks something else; ``begins`` is what it has sent so far."""

    def __init__(self, begins: bytes) -> None:
        super().__init__("this is no TLS")
        self.begins = begins


def said_by_openssl(error: OSError) -> str:
    """Why the connection cannot go on, in OpenSSL's words; "" when it is not OpenSSL that has said it."""
    if not isinstance(error, SSLError):
        return ""
    why = (error.reason or str(error)).replace("_", " ").lower()
    return f"{why}: {error.verify_message}" if isinstance(error, SSLCertVerificationError) else why


class Transport:
    """The server's end of a TLS connection on ``sock``.

    ``received`` are bytes of it that somebody has read already.  ``look_again`` is called with the descriptor when
    ``recv`` has returned less than it was asked for, and yet there may be more, of which no event will tell.
    ``hung_up`` is said by the caller: the end may follow what comes now, unannounced.  ``tls`` knows who the client is.
    """

    __slots__ = tuple(
        (
            "_begun _ended _incoming _left _look_again _more _outgoing _owed _parted _pending _raw _read "
            "_socket _write fileno getsockopt hung_up setsockopt shutdown tls"
        ).split()
    )

    def __init__(
        self, sock: socket.socket, context: SSLContext, received: bytes, look_again: Callable[[int], None]
    ) -> None:
        self._socket = sock
        self.fileno = sock.fileno
        self.setsockopt = sock.setsockopt
        self.getsockopt = sock.getsockopt
        self.shutdown = sock.shutdown  # of the socket alone: any thread may call it
        self._look_again = look_again
        self._incoming, self._outgoing = MemoryBIO(), MemoryBIO()
        tls = self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._read, self._write, self._pending = tls.read, tls.write, tls.pending
        self.hung_up = False
        self._begun = False  # the client has sent something
        self._ended = False  # and will send no more
        self._raw = memoryview(received) if received else NOTHING  # received, and not given to OpenSSL yet
        self._more = bool(received)  # there may be something to read without the socket
        self._left = b""  # encrypted, and not taken by the socket
        self._parted = False  # we have said goodbye
        self._owed = 0  # bytes that are encrypted, and that nobody was told to be sent: they will be offered again

    # -- reading

    def recv(self, most: int, flags: int = 0) -> bytes:
        """As ``socket.recv``: BlockingIOError when there is nothing, b"" at the end, be it announced or not.

        The handshake is made on the way.  With ``flags``, which can only be MSG_PEEK, not even that: whether anything
        has come.  Raises NotTLS when the first bytes are those of something else.
        """
        if flags:
            return b"?" if self._more else self._socket.recv(1, flags)
        if self._left:
            self._push()
        received = drained = False
        if not self._more:
            received, drained = True, self._receive(most)
        self._more = True
        pieces: list[bytes] = []
        room = most
        for _ in range(STEPS_AT_ONCE):
            try:
                piece = self._read(room)
            except SSLWantReadError:
                if self._raw:
                    self._feed()
                elif not received:
                    received, drained = True, self._receive(most)
                else:
                    self._more = not drained
                    break
                continue
            except SSLError:
                if not pieces:
                    raise  # the alert that tells the client why leaves before our goodbye
                break
            if not piece:  # its goodbye
                self._ended = True
                break
            pieces.append(piece)
            room -= len(piece)
            if not room:
                break
            if drained and not (self._raw or self._incoming.pending or self._pending()):
                self._more = False
                break
        if self._outgoing.pending:
            self._speak()
        if self._ended:
            if not pieces:
                return b""
            self._more = True  # the end, next time
        if self._more and room:
            self._look_again(self.fileno())
        if not pieces:
            raise BlockingIOError
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _receive(self, most: int) -> bool:
        """Take from the socket what is there; was that all?"""
        try:
            raw = self._socket.recv(most)
        except BlockingIOError:
            return True
        if not raw:
            # Not a word of it to OpenSSL: it would complain to the client.  A request that is cut short is refused by
            # those who know its length, and an answer may still be awaited.
            self._ended = True
            return True
        if self._begun and len(raw) <= SLICE:
            self._incoming.write(raw)
        else:
            self._raw = memoryview(raw)
            self._feed()
        return len(raw) < most and not self.hung_up

    def _feed(self) -> None:
        if not self._begun:
            self._begun = True
            if self._raw[:1].tobytes().isalpha():  # a method; a record of a handshake begins with 22
                raise NotTLS(self._raw.tobytes())
        self._incoming.write(self._raw[:SLICE])
        self._raw = self._raw[SLICE:] or NOTHING  # an empty view of a large thing would keep it alive

    # -- sending

    def send(self, data: bytes | memoryview) -> int:
        """As ``socket.send``: how many bytes were taken, fewer than all when the socket is full, and BlockingIOError
        for none.  What was not taken has to be offered again, before anything else: some of it may be encrypted."""
        if self._left:
            self._push()
        done = self._settle(len(data)) if self._owed else 0
        size = len(data)
        view = memoryview(data)
        while done < size and not self._left:
            records = []
            begin = done + self._owed
            while self._owed < SENT_AT_ONCE and begin < size:
                count = self._write(view[begin : begin + SLICE])
                records.append(self._outgoing.read())
                self._owed += count
                begin += count
            self._left = b"".join(records)
            self._push()
            done += self._settle(size - done)
        if not done and size:
            raise BlockingIOError
        return done

    def _settle(self, most: int) -> int:
        """How many of the bytes that are owed have left by now; they are owed no more.

        What is left is longer, by what records need, than the bytes in it: so it is never too many.
        """
        count = min(max(0, self._owed - len(self._left)), most)
        self._owed -= count
        return count

    def sendmsg(self, parts: tuple[bytes, bytes]) -> int:
        """As ``socket.sendmsg``, for a head and a large body."""
        head, body = parts
        begin = head + body[: SLICE - len(head) % SLICE]
        sent = self.send(begin)
        if sent == len(begin):
            try:
                sent += self.send(memoryview(body)[sent - len(head) :])
            except BlockingIOError:
                pass
        return sent

    def _speak(self) -> None:
        """Send what OpenSSL itself has to say: the handshake, alerts, updates of keys."""
        self._left += self._outgoing.read()
        if self._left:
            self._push()
        if len(self._left) > MOST_UNHEARD:
            raise ConnectionError("the client does not listen")

    def _push(self) -> None:
        try:
            self._left = self._left[self._socket.send(self._left) :]
        except BlockingIOError:
            pass

    # -- ending

    def say_goodbye(self) -> bool:
        """Tell the client that this was all (RFC 8446, 6.1); its own goodbye is not waited for.

        Not after something that is not whole: the client shall see that.  False when the socket is full: then this has
        to leave as if it were one more byte to be sent, whichever.
        """
        if self._parted or self._left or self._owed:
            return True
        self._parted = True
        try:
            self.tls.unwrap()
        except (SSLError, ValueError):  # its goodbye has not come, or there was no handshake
            pass
        try:
            self._speak()
        except OSError:
            return True
        self._owed = 1 if self._left else 0
        return not self._owed

    def close(self) -> None:
        """Close the socket, without a word."""
        self._socket.close()
