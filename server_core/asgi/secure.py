"""TLS on an event loop: a protocol for the loop's transport, and a transport for the protocol above; knows no HTTP.

Not the loop's own: there the deadlines of ``outlet`` would not hold.  Its transport tells nothing of what waits in the
transport below, it waits 30 seconds for the goodbye of each client, and cuts a rest that takes longer than that; and
what is shaking hands belongs to nobody who could close it for the sake of others.
"""

from __future__ import annotations

import asyncio
from logging import Logger
from ssl import MemoryBIO, SSLContext, SSLError, SSLWantReadError, SSLZeroReturnError
from typing import Any

from server_core.engine.transport import FAILED, said_by_openssl

#: OpenSSL is given and asked for so much at a time, because it keeps the memory for the most that it ever had of both
SLICE = 8192
#: what is encrypted before the transport below is given it
SENT_AT_ONCE = 8 * SLICE
#: what a client may make us say (answers to its updates of keys) without listening to it
MOST_UNHEARD = 65536


class Secure(asyncio.Transport, asyncio.Protocol):
    """The server's end of a TLS connection; ``protocol`` has a connection from the beginning, and hears nothing before
    the handshake is over: its deadlines are those of the handshake, too.  ``address`` is the client's, for the log."""

    def __init__(self, protocol: Any, context: SSLContext, address: str, log: Logger) -> None:
        super().__init__()
        self._protocol = protocol
        self._context = context
        self._address = address
        self._log = log
        self._incoming, self._outgoing = MemoryBIO(), MemoryBIO()
        self._tls: Any = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._transport: Any = None
        self._ended = False  # the client says nothing more
        self._parted = False  # nor do we
        self._unheard = 0  # bytes that we were made to say, and that may not have left

    # -- what the loop says

    def connection_made(self, transport: Any) -> None:
        """The transport below, at the beginning."""
        self._transport = transport
        self._protocol.connection_made(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over, whoever has ended it."""
        self._ended = self._parted = True
        # OpenSSL's memory, which is much: what is left, and refers to each other, waits for the garbage collector.
        self._tls = self._incoming = self._outgoing = None  # type: ignore[assignment]
        self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """The client does not take what it was sent."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._protocol.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Records, or parts of some; the handshake is made on the way."""
        if self._ended:  # whatever it is, it is not ours
            return
        view = memoryview(data)
        pieces: list[bytes] = []
        failure = ""
        ended = False
        while view and not ended:
            self._incoming.write(view[:SLICE])
            view = view[SLICE:]
            try:
                while piece := self._tls.read(SLICE):
                    pieces.append(piece)
                ended = True
            except SSLWantReadError:
                pass
            except SSLZeroReturnError:  # so it is told when we have said goodbye ourselves
                ended = True
            except SSLError as error:
                failure, ended = said_by_openssl(error), True  # not itself: it refers to this frame, and so to data
        self._speak()
        if pieces:
            self._protocol.data_received(b"".join(pieces))
        if failure:
            self._log.debug(FAILED, self._address or "a unix socket", failure)
            self._ended = self._parted = True  # the alert that tells the client why has left
            self._transport.close()
        elif ended:
            self.eof_received()

    def eof_received(self) -> bool:
        """The client has said goodbye, or has ended its half without a word: those who know lengths will see."""
        if not self._ended:
            self._ended = True
            if not self._protocol.eof_received():
                self.close()
        return True  # it is we who close

    def _speak(self) -> None:
        """Send what OpenSSL itself has to say: the handshake, alerts, updates of keys."""
        said = self._outgoing.read()
        if not said:
            return
        if not self._transport.get_write_buffer_size():
            self._unheard = 0
        self._unheard += len(said)
        if self._unheard > MOST_UNHEARD:
            self.abort()
        else:
            self._transport.write(said)

    # -- what the protocol above asks

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See ``asyncio.Transport``."""
        view = memoryview(data)
        while view and not self._parted:
            part, view = view[:SENT_AT_ONCE], view[SENT_AT_ONCE:]
            try:
                while part:
                    part = part[self._tls.write(part[:SLICE]) :]
            except SSLError as error:
                self._log.debug(FAILED, self._address or "a unix socket", said_by_openssl(error))
                self._parted = True
                self.abort()
                return
            self._transport.write(self._outgoing.read())

    def can_write_eof(self) -> bool:
        """RFC 8446, 6.1: one half can be ended without the other."""
        return True

    def write_eof(self) -> None:
        """Say goodbye, and end our half."""
        self._part()
        self._transport.write_eof()

    def close(self) -> None:
        """Say goodbye, and close when that and all before it has left; the client's goodbye is not waited for."""
        self._part()
        self._transport.close()

    def _part(self) -> None:
        if self._parted:
            return
        self._parted = True
        try:
            self._tls.unwrap()
        except (SSLError, ValueError):  # its goodbye has not come, or there was no handshake
            pass
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """See ``asyncio.Transport``, as for the following."""
        return bool(self._transport.is_closing())

    def get_protocol(self) -> Any:
        """Whom we tell."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Whom to tell from now on."""
        self._protocol = protocol

    def is_reading(self) -> bool:
        """Of the transport below, as all that follows."""
        return bool(self._transport.is_reading())

    def pause_reading(self) -> None:
        """What is decrypted already is told all the same."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The opposite."""
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """How many bytes wait, encrypted."""
        return int(self._transport.get_write_buffer_size())

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """When ``pause_writing`` and ``resume_writing`` are called."""
        low, high = self._transport.get_write_buffer_limits()
        return low, high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The same."""
        self._transport.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What loops tell of a TLS connection, and what they tell of every connection."""
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":
            return self._context
        if name == "cipher":
            return self._tls and self._tls.cipher()
        if name == "peercert":
            return self._tls and self._tls.getpeercert()
        return self._transport.get_extra_info(name, default)
