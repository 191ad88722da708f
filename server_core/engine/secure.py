"""A client connection that speaks TLS: what begins and ends otherwise than on a plain one; the rest is the same.

Whoever speaks plain HTTP to it is told, in plain HTTP, where to go.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from server_core.engine.connection import Connection
from server_core.engine.outbox import Outbox
from server_core.engine.outlet import ANSWER, NOTHING, PROXY, WRITE
from server_core.engine.peer import told_by
from server_core.engine.poller import HANGUP
from server_core.engine.redirect import Redirecting
from server_core.engine.screened import Screened, ScreenedRedirecting
from server_core.engine.site import Site
from server_core.engine.transport import FAILED, SENT_AT_ONCE, NotTLS, Transport, said_by_openssl
from server_core.errors import ProtocolError
from server_core.http.fields import combine
from server_core.http.head import parse, split_block
from server_core.http.policy import valid_host

if TYPE_CHECKING:
    from ssl import SSLContext

    from server_core.engine.engine import Engine


class SecureOutbox(Outbox):
    """Files are read and encrypted: the kernel cannot send them by itself."""

    __slots__ = ()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # So much may wait in the transport, encrypted, besides what is kept here as it is.
        self._budget.take_memory(SENT_AT_ONCE, always=True)
        self._memory = SENT_AT_ONCE

    def _send_file(self, _to: int, descriptor: int, offset: int, count: int) -> int:
        data = os.pread(descriptor, min(count, SENT_AT_ONCE), offset)
        return self._socket.send(data)


def introduced(site: Site, transport: Transport) -> Site:
    """``site`` as requests of this client see it; those that have shown no certificate share it.  Raises OSError."""
    try:
        told = told_by(transport.tls)
    except ValueError as error:
        raise ConnectionError("what stands in the client's certificate is no text") from error
    if "SSL_CLIENT_CERT" in told:
        return site._replace(environ={**site.environ, **told})
    key = (site.socket, *told.values())
    known = _KNOWN.get(key)
    if known is None:
        known = _KNOWN[key] = site._replace(environ={**site.environ, **told})
    return known


#: by the socket of a site, the version of TLS and the cipher, which are few
_KNOWN: dict[tuple[object, ...], Site] = {}


class SecureConnection(Connection):
    """``_transport`` is None before TLS begins (the PROXY protocol comes first) and when it has ended."""

    __slots__ = ("_context", "_plain", "_transport")

    _outbox_class = SecureOutbox

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        address: str,
        port: str,
        site: Site,
        now: float,
    ) -> None:
        super().__init__(engine, sock, address, port, site, now)
        assert site.tls is not None
        self._context: SSLContext = site.tls
        self._plain = sock
        self._transport: Transport | None = None
        if self.state != PROXY:
            self._secure(b"")

    def _secure(self, received: bytes) -> None:
        """From here on all goes by the transport.  While it shakes hands, no head of a request has come: so the
        deadline is that of the head, counted from the accept."""
        transport = self._transport = Transport(self._plain, self._context, received, self._engine.requeue)
        self._socket, self._receive, self._send = transport, self._receive_first, transport.send

    def _receive_first(self, most: int, flags: int = 0) -> bytes:
        """The first bytes after the handshake: from now on it is known who sends them."""
        transport = self._transport
        assert transport is not None
        try:
            data = transport.recv(most, flags)
        except BlockingIOError:
            raise
        except OSError as error:
            if why := said_by_openssl(error):
                self._engine.log.debug(FAILED, self._address or "a unix socket", why)
            raise
        if data:
            self._site = introduced(self._site, transport)
            self._receive = transport.recv
        return data

    def _go_plain(self) -> None:
        """The opposite."""
        plain = self._plain
        self._transport = None
        self._socket, self._receive, self._send = plain, plain.recv, plain.send

    def _begin(self, received: bytes) -> None:
        self._buffer = NOTHING
        self._secure(received)
        self._unread = bool(received)

    def _take(self, mask: int) -> bytes:
        if self._transport is not None:
            self._transport.hung_up = mask & HANGUP != 0
        try:
            return super()._take(mask)
        except NotTLS as found:
            self._go_plain()
            host = self._host_in(found.begins)
            advice = f"this port speaks https: https://{host}/" if host else "this port speaks https"
            self._refuse(ProtocolError(400, "plain HTTP on a port that speaks TLS (certfile)", advice))
            return b""

    def _host_in(self, begins: bytes) -> str:
        """The host that a plain request is for, "" unless it can be told for sure."""
        limits = self._engine.head_limits
        try:
            head = parse(begins.decode("latin-1"), limits)
            host = combine(split_block(head[3], limits)).get("HTTP_HOST", "") if head is not None else ""
        except ProtocolError:
            return ""
        return host if valid_host(host) else ""

    # -- ending

    def cut(self) -> None:
        """End the connection without the end of the answer, and without a goodbye that would make it look whole."""
        self._go_plain()
        super().cut()

    def reset(self) -> None:
        """End the connection without waiting for anything."""
        self._go_plain()
        super().reset()

    def _begin_linger(self) -> None:
        # What the client still sends is thrown away: nobody needs to decrypt it.
        if self._parts():
            super()._begin_linger()

    def _close(self) -> None:
        if self._outbox is not None:  # another thread may be sending; not after this
            self._outbox.close()
            self._outbox = None
        if self._parts():
            super()._close()

    def _parts(self) -> bool:
        """Say goodbye, if TLS is still spoken.  False when that has to wait for a client that takes its answer slowly:
        then all is done as if the goodbye were the last byte of that answer."""
        transport = self._transport
        if transport is not None and not transport.say_goodbye() and self.state in (ANSWER, WRITE):
            self._keep_alive = False
            self._kept().add_always(b"?")
            self._begin_write()
            self.rest()
            return False
        self._go_plain()
        return True


class ScreenedSecure(Screened, SecureConnection):
    """One whose requests are screened."""

    __slots__ = ()


def connect(engine: Engine, sock: socket.socket, address: str, port: str, site: Site, now: float) -> Connection:
    """A connection of the kind that its site wants."""
    screened = engine.screen is not None
    kind = Screened if screened else Connection
    if site.tls is not None:
        kind = ScreenedSecure if screened else SecureConnection
    elif site.redirect_port:
        kind = ScreenedRedirecting if screened else Redirecting
    return kind(engine, sock, address, port, site, now)
