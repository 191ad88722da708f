"""What comes on a connection before HTTP or TLS: the PROXY protocol, and plain HTTP where TLS is spoken.

The bytes are only looked at and stay in the socket, but for those that are nobody else's: what follows is the loop's.
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING

from server_core.engine.connection import PATIENCE_SECONDS
from server_core.engine.site import Site
from server_core.errors import ProtocolError
from server_core.http.fields import combine
from server_core.http.head import parse, split_block
from server_core.http.pages import error_page
from server_core.http.policy import valid_host
from server_core.http.proxy_protocol import parse_origin

if TYPE_CHECKING:
    from server_core.asgi.service import Service

#: more than what is looked at may be long
MOST = 65536
#: a greeting that has not come whole is looked at again after so long
AGAIN_SECONDS = 0.02
#: the first byte of TLS (RFC 8446, 5.1: the content type "handshake")
HANDSHAKE = b"\x16"


class Greeting:
    """One new connection, until it is the loop's; ``address`` and ``port`` are the peer's."""

    def __init__(self, service: Service, sock: socket.socket, address: str, port: str, site: Site) -> None:
        self._service = service
        self._socket = sock
        self._address = address
        self._port = port
        self._scheme = ""
        self._site = site
        self._awaits_proxy = service.proxies.speaks_first(address)
        self._deadline = monotonic() + service.timeouts.head_timeout
        self._watch()

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:
            self._service.loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        try:
            data = self._socket.recv(MOST, socket.MSG_PEEK)
            if not data:
                self.close()
            elif self._awaits_proxy:
                self._read_proxy(data)
            elif data.startswith(HANDSHAKE):
                self._open()
            else:
                self._refuse(self._plain(data))
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        except ProtocolError as error:
            self._refuse(error)

    def _read_proxy(self, data: bytes) -> None:
        origin = parse_origin(data, self._service.proxies.protocol)
        if origin is None:  # the loop would tell at once of the same bytes
            self._service.loop.remove_reader(self._socket.fileno())
            self._service.loop.call_later(AGAIN_SECONDS, self._watch)
            return
        self._socket.recv(origin.end)
        if origin.address:
            self._address, self._port, self._scheme = origin.address, origin.port, origin.scheme
        self._awaits_proxy = False
        if self._site.tls is None:
            self._open()

    def _open(self) -> None:
        self._leave()
        self._service.open(self._socket, self._address, self._port, self._scheme, self._site, deadline=self._deadline)

    def _plain(self, data: bytes) -> ProtocolError:
        """What is said to plain HTTP where TLS is spoken."""
        limits = self._service.head_limits
        host = ""
        try:
            head = parse(data.decode("latin-1"), limits)
            host = combine(split_block(head[3], limits)).get("HTTP_HOST", "") if head is not None else ""
        except ProtocolError:
            pass
        where = f"this port speaks https: https://{host}/" if valid_host(host) else "this port speaks https"
        return ProtocolError(400, "plain HTTP on a port that speaks TLS (certfile)", where)

    def _refuse(self, error: ProtocolError) -> None:
        self._service.log.debug("Refused a connection of %s: %s", self._address or "a unix socket", error)
        self._leave()
        try:
            self._socket.send(error_page(error.status, self._service.server_lines.both, advice=error.advice))
            self._socket.recv(MOST)  # what is unread would make the end a reset
        except OSError:
            pass
        self._socket.close()

    def _leave(self) -> None:
        self._service.loop.remove_reader(self._socket.fileno())
        self._service.greetings.discard(self)

    def waited(self, now: float) -> float:
        """For how many seconds this client has been waited for; 0 when it has just come."""
        waited = now - (self._deadline - self._service.timeouts.head_timeout)
        return waited if waited > PATIENCE_SECONDS else 0.0

    def close(self) -> None:
        """End the connection, without a word."""
        self._leave()
        self._socket.close()

    def hurry(self, until: float) -> None:
        """Nobody is waited for beyond this moment."""
        self._deadline = min(self._deadline, until)

    def look(self, now: float) -> None:
        """Once in a while: is the time over?"""
        if now > self._deadline:
            self.close()
