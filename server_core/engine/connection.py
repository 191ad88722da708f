"""One client connection: reads requests and hands them to the gateway when they are whole; ``outlet`` answers."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from io import BytesIO
from math import inf
from time import monotonic, perf_counter, time
from typing import IO, TYPE_CHECKING

from server_core.engine.outlet import ANSWER, BODY, HEAD, LINGER, NOTHING, PROXY, RECEIVE, RECEIVE_BODY, WRITE, Outlet
from server_core.engine.poller import HANGUP
from server_core.engine.site import Site
from server_core.engine.spool import Spool
from server_core.errors import ProtocolError
from server_core.exchange import Exchange, exchange_of
from server_core.gateway.environ import Request
from server_core.gateway.wsgi import Response, respond
from server_core.http.fields import Fields, combine
from server_core.http.framing import Body, begin_body
from server_core.http.head import NO_REPEAT, check_open_line, parse, repeat_of, repeated_target, split_block
from server_core.http.pages import error_page
from server_core.http.policy import admit, host_is_allowed
from server_core.http.proxy_protocol import parse_origin
from server_core.http.response import CONTINUE

if TYPE_CHECKING:
    from server_core.engine.engine import Engine


#: what the access log has of a request that could not be read
NOTHING_TOLD: Mapping[str, str] = {"REQUEST_METHOD": "-", "RAW_URI": "-", "SERVER_PROTOCOL": "-"}
#: how many parts of chunks are read before other clients have their turn: a chunk may have a single byte
STEPS_AT_ONCE = 300
#: a client that has sent no request yet, or not all of one, is not closed before for the sake of others
PATIENCE_SECONDS = 1.0
#: more than anybody waits
LONGEST_WAIT = 1e9


class Connection(Outlet):
    """The reading half of a client's connection; the other half is its ``Outlet``."""

    __slots__ = tuple(
        "_address _body _last _last_request _port _repeat _request _scheme _site _spool _trusted requests".split()
    )

    def __init__(self, engine: Engine, sock: socket.socket, address: str, port: str, site: Site, now: float) -> None:
        super().__init__(engine, sock, now + engine.timeouts.head_timeout)
        self._address = address
        self._port = port
        self._scheme = ""  # "" is that of the site
        self._site = site
        self._trusted = False
        self._body: Body | None = None
        self._spool: Spool | None = None
        self._request: Request | None = None  # whose body is being read
        # The last head of a request without a body, for a client that repeats it, or all of it but the target.
        self._last = b""
        self._repeat = NO_REPEAT
        self._last_request: Request | None = None
        self.requests = 0
        if engine.proxies.exist:
            self._trusted = engine.proxies.trusts(address)
            if engine.proxies.speaks_first(address):
                self.state = PROXY
                self._seen = True  # nothing can be made of the buffer until more has come

    @property
    def idle(self) -> bool:
        """Is no request under way, not even a part of one?"""
        return (self.state == HEAD and not self._buffer) or self.state == PROXY

    # -- events; the caller owns the claim

    def run(self, mask: int) -> None:
        """Go on with whatever this connection is about; gives the claim back sooner or later."""
        self.missed = False
        if self.state != HEAD or self._buffer:
            self._go_on(mask)
            return
        data = self._take(mask)
        if not data:
            return
        request = self._last_request
        if request is None:
            self._read_head(data)
        elif data == self._last:
            self._answer(request, None)
        elif target := repeated_target(data, self._repeat):
            self._last = data
            path, _, query = target.partition("?")
            request.aim(target, path, query)
            self._answer(request, None)
        else:
            self._read_head(data)

    def _go_on(self, mask: int) -> None:
        """With what an earlier event has begun."""
        state = self.state
        if state == HEAD:
            if not self._seen:
                self._unread = True  # the event may have told of more, and will not tell again
                self._read_head(b"")
            elif data := self._take(mask):
                self._read_head(data)
        elif state == BODY:
            if self._body is not None and self._body.backlog:
                self._take_body(b"")
            elif data := self._take(mask):
                self._take_body(data)
        elif state == WRITE:
            self._unread = True  # an edge that we do not follow now
            self._write_on()
        elif state == LINGER:
            self._linger()
        elif state == PROXY and (data := self._take(mask)):
            self._read_proxy(data)

    def expire(self) -> None:
        """The deadline has passed.  What the client has sent may not have been read yet, if we were long away in the
        application: so it has one more chance, a moment in which everything that has come is read."""
        state = self.state
        if state == WRITE and self._takes_its_answer():
            self.rest()
        elif not self.late and state != LINGER:
            self.late = True
            self.deadline = monotonic() + self._engine.last_chance_seconds
            self.release()
            self._engine.requeue(self.descriptor)
        elif (state == HEAD and self._buffer) or state == BODY:
            setting = "head_timeout" if state == HEAD else "body_timeout"
            refuse = self._refuse if state == HEAD else self._refuse_body
            refuse(ProtocolError(408, f"the request did not arrive in time ({setting}, min_data_rate)"))
        elif state == WRITE:
            self.reset()
        else:
            self._close()

    def waited(self, now: float) -> float:
        """For how many seconds this connection has been waiting for its client; 0 when a request is under way.

        A client that has just come, or is just sending, is not yet waited for.  Who was refused and only has to hear it
        goes before all others.
        """
        if self.state == LINGER:
            waited = now - self.since
            return waited + LONGEST_WAIT if waited > PATIENCE_SECONDS else 0.0
        if self.state not in (HEAD, PROXY):
            return 0.0
        if self.requests and not self._buffer:
            return now - (self.deadline - self._engine.idle_seconds)
        waited = now - (self.deadline - self._engine.timeouts.head_timeout)
        return waited if waited > PATIENCE_SECONDS else 0.0

    def evict(self) -> bool:
        """Close to make room for others, unless the client has sent something meanwhile; the caller owns the claim."""
        if self.state != LINGER:
            try:
                self._socket.recv(1, socket.MSG_PEEK)
            except OSError:  # nothing has come, or the connection is broken
                pass
            else:
                self.rest()
                return False
        self._close()
        return True

    def turn_away(self) -> None:
        """There is no room for this new client; the caller owns the claim."""
        self._refuse(ProtocolError(503, "all connections are busy (worker_connections, full_policy)"))

    # -- reading

    def _take(self, mask: int) -> bytes:
        """What the client has sent; b"" when there is nothing to go on with, and all that is due then has been done."""
        most = RECEIVE if self.state != BODY else RECEIVE_BODY
        try:
            data = self._receive(most)
        except BlockingIOError:
            self._unread = False
            self.rest()
            return b""
        except OSError:
            self._close()
            return b""
        # Less than was asked for: the socket is drained, and only the end of the stream can follow unannounced.
        self._unread = len(data) == most or mask & HANGUP != 0
        if not data:
            if self.state == BODY:  # RFC 9112, 8: incomplete, and never to be taken as whole
                self._refuse_body(ProtocolError(400, "the client ended the connection inside the body"))
            else:
                self._close()
        return data

    def _read_proxy(self, data: bytes) -> None:
        """Bytes of what a proxy says before the first request (``proxy_protocol``)."""
        data = bytes(self._buffer) + data
        try:
            origin = parse_origin(data, self._engine.proxies.protocol)
        except ProtocolError as error:
            self._refuse(error)
            return
        if origin is None:
            self._buffer = bytearray(data)
            self.rest()
            return
        if origin.address:
            self._address, self._port, self._scheme = origin.address, origin.port, origin.scheme
            self._trusted = self._engine.proxies.trusts(origin.address)
        self.state = HEAD
        self._seen = False
        self._begin(data[origin.end :])
        self.rest()  # which comes back for what is in the buffer

    def _begin(self, received: bytes) -> None:
        """The PROXY header is read: the client begins, with these bytes."""
        self._buffer = bytearray(received) or NOTHING

    def _read_head(self, data: bytes) -> None:
        """Bytes of a head, to be added to those in the buffer."""
        engine = self._engine
        buffer = self._buffer
        fields: Fields = {}
        try:
            if not buffer:
                text = data.decode("latin-1")
            else:
                buffer += data
                if self._seen and b"\n" not in data:
                    check_open_line(buffer, engine.head_limits)
                    self.rest()
                    return
                text = buffer.decode("latin-1")
            head = parse(text, engine.head_limits)
            if head is None:
                if not buffer:
                    self._buffer = bytearray(data)
                if not self._seen:
                    self._seen = True
                    if self.requests or not buffer:
                        self.late = False
                        self.deadline = engine.now + engine.timeouts.head_timeout
                self.rest()
                return
            method, target, minor, block, end = head
            fields = combine(split_block(block, engine.head_limits))
            path, query, keep_alive, length, expects = admit(method, target, minor, fields)
            if (
                engine.hosts
                and "HTTP_HOST" in fields
                and not host_is_allowed(fields["HTTP_HOST"], engine.hosts)
                and not (engine.screen is not None and engine.screen.asks(method, path))
            ):
                raise ProtocolError(400, "a host that is not allowed (check_hosts)")
            body = begin_body(length, engine.limits) if length else None
            client = engine.proxies.client(fields, self._address, self._port, self._scheme, self._trusted)
            request = Request(self._site.environ, fields, method, minor, keep_alive, *client)
        except ProtocolError as error:
            known = (
                {"REQUEST_METHOD": method, "RAW_URI": target, "SERVER_PROTOCOL": f"HTTP/1.{minor}"} if fields else {}
            )
            self._refuse(error, {**fields, **known})
            return
        request.aim(target, path, query)
        self._seen = False
        if end == len(text):
            if buffer:
                self._buffer = NOTHING
            elif body is None and path == target.partition("?")[0]:  # not in absolute-form, which changes a field
                self._last, self._last_request = data, request
                self._repeat = repeat_of(data, method, target, engine.head_limits)
        else:
            self._buffer = buffer[end:] if buffer else bytearray(data[end:])
        if body is None:
            self._answer(request, None)
        else:
            self._await_body(request, body, expects)

    def _await_body(self, request: Request, body: Body, expects: bool) -> None:
        """The head of a request is read, and its body begins in the buffer."""
        engine = self._engine
        self._request = request
        self._body = body
        self._spool = Spool(engine.limits.body_buffer_size, engine.budget)
        self.state = BODY
        self.since = monotonic()
        self.deadline = self.since + engine.timeouts.body_timeout
        if expects and not self._buffer:  # RFC 9110, 10.1.1: not needed when the body is on its way already
            try:
                self._send(CONTINUE)
            except OSError:
                self._close()
                return
        if self._buffer:
            first, self._buffer = bytes(self._buffer), NOTHING
            self._take_body(first)
        else:
            self.rest()

    def _take_body(self, data: bytes) -> None:
        body, spool, request = self._body, self._spool, self._request
        assert body is not None
        assert spool is not None
        assert request is not None
        try:
            pieces = body.feed(data, STEPS_AT_ONCE)
            if pieces:
                spool.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            file = spool.whole() if body.done else None
        except ProtocolError as error:
            self._refuse_body(error)
            return
        except OSError as error:
            file = None
            no_room = error.strerror
        else:
            no_room = ""
        if no_room:
            self._engine.log.error("A request body cannot be kept in a temporary file: %s", no_room)
            self._refuse_body(ProtocolError(503, "no room for the body"))
            return
        if file is None:
            self._extend(spool.size, self._engine.timeouts.body_timeout)
            self._unread = self._unread or body.backlog
            self.rest()
            return
        self._body = self._spool = self._request = None
        if body.rest:
            self._buffer = bytearray(body.rest)
        try:
            self._answer(request, file)
        finally:
            spool.close()

    # -- answering

    def _answer(self, request: Request, body: IO[bytes] | None) -> None:
        """Call the application.  When this returns, the claim may be somebody else's already."""
        engine = self._engine
        self.state = ANSWER
        self.deadline = inf
        self.requests = number = self.requests + 1
        environ = request.template.copy()
        environ["wsgi.input"] = BytesIO() if body is None else body  # its own: an application may leave its mark on it
        keep_alive = request.keep_alive and engine.keeps_alive and number < engine.most_requests
        response = Response(self, engine.server_lines, engine.log, request.head_only, request.http11, keep_alive)
        environ["wsgi.early_hints"] = response  # itself: a method of it would be one more object for each request
        started = perf_counter()
        respond(engine.application, request, environ, response, engine.log)
        ended = perf_counter()
        engine.leave(ended, ended - started)
        if engine.record is not None:
            told = (environ, response.status, response.headers, response.sent, time(), ended - started)
            engine.record(exchange_of(told))

    def send_hints(self, data: bytes) -> None:
        """Send an interim answer, unless a proxy that does not understand it would take it for the whole answer.

        On a unix socket there is nobody but proxies.
        """
        if self._engine.proxies.take_hints or (self._address and not self._trusted):
            self.send_part(data)

    # -- ending

    def _refuse_body(self, error: ProtocolError) -> None:
        """Refuse a request whose head was right."""
        assert self._request is not None
        self._refuse(error, self._request.template)

    def _refuse(self, error: ProtocolError, told: Mapping[str, str] = NOTHING_TOLD) -> None:
        """Answer what is not a request that we accept; after it nothing more is read as one (CVE-2024-49768).

        ``told`` is what is known of the request: a part of its environ.
        """
        engine = self._engine
        engine.log.debug("Refused a request of %s with %d: %s", self._address or "a unix socket", error.status, error)
        if self._spool is not None:
            self._spool.close()
        self._body = self._spool = self._request = None
        try:
            self._send(
                error_page(
                    error.status,
                    engine.server_lines.both,
                    accept=told.get("HTTP_ACCEPT", ""),
                    head_only=told.get("REQUEST_METHOD") == "HEAD",
                    advice=error.advice,
                    location=error.location,
                )
            )
        except OSError:
            self._close()
            return
        if engine.record is not None:
            environ = {"REMOTE_ADDR": self._address, **NOTHING_TOLD, **told}
            engine.record(Exchange(environ, str(error.status), [], 0, time(), 0.0))
        self._begin_linger()

    def _close(self) -> None:
        if self._spool is not None:
            self._spool.close()
        super()._close()
