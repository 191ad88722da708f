"""A TLS client whose records one sees: each ``sendall`` is one record (or more, if it is long), cut as a test likes.

It has a socket's methods, so that what speaks plain HTTP in the tests speaks https by it.
"""

from __future__ import annotations

import io
import socket
import ssl
from contextlib import suppress
from typing import Any


class TlsClient:
    """The client's end on ``sock``; with ``shake`` the handshake is made at once.

    ``said_goodbye`` tells whether the server announced the end, ``ended`` whether it came.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        shake: bool = True,
        session: ssl.SSLSession | None = None,
        name: str = "localhost",
    ) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)
        self.said_goodbye = self.ended = False
        if shake:
            self.handshake()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def __enter__(self) -> TlsClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- bytes on the wire

    def wire_bytes(self) -> bytes:
        """What has to be sent now: records, not yet on their way."""
        return self.outgoing.read()

    def flush(self) -> None:
        """Send them."""
        data = self.wire_bytes()
        if data:
            self.sock.sendall(data)

    def fill(self) -> None:
        """Wait for bytes of the server."""
        data = self.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    # -- a socket's methods

    def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()
            except ssl.SSLError:
                self.flush()
                raise
            else:
                self.flush()
                return

    def encrypt(self, data: bytes) -> bytes:
        """``data`` as records, the fewest that it takes."""
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]
        return self.wire_bytes()

    def sendall(self, data: bytes) -> None:
        self.sock.sendall(self.encrypt(data))

    def recv(self, most: int) -> bytes:
        while not self.ended:
            try:
                data = self.tls.read(most)
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()
            except ssl.SSLEOFError:
                self.ended = True
            except ssl.SSLZeroReturnError:  # so it is told to those who have said goodbye themselves
                self.said_goodbye = self.ended = True
            else:
                if data:
                    return data
                self.said_goodbye = self.ended = True
        return b""

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        return io.BufferedReader(_Raw(self), 65536)

    def say_goodbye(self) -> None:
        """That nothing more will be sent; what the server sends can still be read."""
        try:
            self.tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLError):
            pass
        self.flush()

    def shutdown(self, how: int) -> None:
        """RFC 8446, 6.1: a goodbye, and then what a plain socket does; the server may have hung up meanwhile."""
        with suppress(OSError):
            if how != socket.SHUT_RD:
                self.say_goodbye()
            self.sock.shutdown(how)

    def close(self) -> None:
        self.sock.close()


class _Raw(io.RawIOBase):
    def __init__(self, client: TlsClient) -> None:
        self._client = client

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._client.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def trusting(cafile: str | None = None, **options: Any) -> ssl.SSLContext:
    """A client's context that trusts ``cafile``, or, without one, everybody."""
    context = ssl.create_default_context(cafile=cafile)
    if cafile is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for name, value in options.items():
        setattr(context, name, value)
    return context
