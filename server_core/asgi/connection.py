"""One client connection on an event loop: hears requests one after the other; how they are sent ``outlet`` knows.

Requests that a client sends ahead wait here until it is their turn: neither the application nor a library sees them.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from math import inf
from time import monotonic, perf_counter, time
from typing import TYPE_CHECKING, Any

from server_core.asgi.outlet import ANSWER, CLOSED, HEAD, LINGER, LINGER_SILENCE, REST, Outlet
from server_core.engine.connection import LONGEST_WAIT, NOTHING_TOLD, PATIENCE_SECONDS, STEPS_AT_ONCE
from server_core.engine.outbox import unread
from server_core.engine.site import Site
from server_core.errors import ProtocolError
from server_core.exchange import Exchange, exchange_of
from server_core.gateway.calls import Answer, Call
from server_core.gateway.environ import Request
from server_core.http.guard import Guard, Heard
from server_core.http.pages import error_page
from server_core.http.response import CONTINUE

if TYPE_CHECKING:
    from server_core.asgi.service import Service

#: so much of a body, or of requests sent ahead, is read before the application asks for it
AHEAD = 65536
#: so much of a body that the application has not read is read to its end, to keep the connection
MOST_REST = 65536


class Connection(Outlet):
    """The reading half of a client's connection; the other half is its ``Outlet``.

    ``address`` and ``port`` are the peer's, ``scheme`` is "" unless a proxy has told it.  Who is not
    ``is_wanted``, for want of room, is told so.
    """

    __slots__ = tuple(
        (
            "_address _call _came _comes_back _counted _guard _heard _is_wanted _known _paused _port _request "
            "_scheme _server _site _started _target _trusted _wait_began _waited requests"
        ).split()
    )

    #: are there requests that are no application's?
    screens = False

    def __init__(
        self,
        service: Service,
        sock: socket.socket,
        address: str,
        port: str,
        scheme: str,
        site: Site,
        is_wanted: bool = True,
    ) -> None:
        super().__init__(service, sock)
        self._site = site
        self._is_wanted = is_wanted
        self._address = address
        self._port = port
        self._scheme = scheme
        self._trusted = service.proxies.exist and service.proxies.trusts(address)
        probes = service.screen.paths if service.screen is not None else ()
        self._guard = Guard(service.limits, service.head_limits, service.hosts, probes)
        self._call: Call | None = None
        self._paused = False  # we do not read
        self._comes_back = False  # ``_go_on`` will be called
        self._counted = False  # the head that is coming has a deadline of its own
        self._heard: Heard | None = None
        self._request: Request | None = None
        self._target = ""
        self._known: Any = None  # what the application's interface has made of the head
        self._server: tuple[str, int | None] | None = None
        self._started = 0.0
        # Of the body: its bytes that have come, how long the application has waited for them, since when it does.
        self._came = 0
        self._waited = self._wait_began = 0.0
        self.requests = 0

    # -- what the loop says

    def connection_made(self, transport: Any) -> None:
        """The transport, at the beginning."""
        super().connection_made(transport)
        self._service.made(self)
        if not self._is_wanted:
            self._refuse(ProtocolError(503, "all connections are busy (worker_connections, full_policy)"), {})

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over, whoever has ended it."""
        self.state = CLOSED
        self.resume_writing()
        if self._call is not None:
            self._call.hang_up(gone=True)
            self._call.give_up()
        self._service.forget(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client, whichever."""
        state = self.state
        if state == HEAD:
            self._hear(data)
        elif state == ANSWER:
            if self._guard.whole:
                self._guard.hold(data)
                if self._guard.held > AHEAD:
                    self._pause()
            else:
                self._take_body(data)
        elif state == REST:
            self._drop_body(data)
        elif state == LINGER:
            self.deadline = min(monotonic() + LINGER_SILENCE, self.since + self._service.linger_seconds)

    def eof_received(self) -> bool:
        """The client says nothing more.  It may still listen."""
        self._eof = True
        call = self._call
        if self.state != ANSWER or call is None:
            return self._comes_back
        if not self._guard.whole:  # RFC 9112, 8: incomplete, and never to be taken as whole
            self.refuse_body(ProtocolError(400, "the client ended the connection inside the body"))
            return False
        call.hang_up(gone=False)
        return True

    # -- reading

    def _hear(self, data: bytes) -> None:
        """Bytes of a head."""
        guard = self._guard
        try:
            heard = guard.head(data)
            if heard is None:
                if self._eof:
                    self._end()
                if not self._counted and guard.held:
                    self._counted = True
                    if self.requests:  # the time of a new connection counts from its beginning
                        self.deadline = monotonic() + self._service.timeouts.head_timeout
                return
            if heard is not self._heard:
                self._know(heard)
            elif heard.target is not self._target:
                self._aim(heard)
            if self.screens and self._is_answered(heard):
                return
            is_websocket = self._service.websockets and heard.asks_for_websocket()
        except ProtocolError as error:
            self._refuse(error, guard.told)
            return
        self.requests += 1
        self._counted = False
        if is_websocket:
            assert self._request is not None
            self._service.open_websocket(self, heard, self._known, self._request.template)
        else:
            self._begin(heard)

    def _is_answered(self, heard: Heard) -> bool:
        """Has this request, which is no application's, been answered?  Raises ProtocolError to refuse it."""
        return False

    def _know(self, heard: Heard) -> None:
        """Make of a head what all its requests have in common.  Raises ProtocolError for a proxy's contradiction."""
        service = self._service
        client = service.proxies.client(heard.fields, self._address, self._port, self._scheme, self._trusted)
        self._request = Request(self._site.environ, heard.fields, heard.method, heard.minor, heard.keep_alive, *client)
        scheme = client[2] or self._site.environ["wsgi.url_scheme"]
        told = (client[0], int(client[1] or 0)) if client[0] else None
        self._known = service.interface.know(heard, told, self._local(), scheme)
        self._heard = heard
        self._aim(heard)

    def _aim(self, heard: Heard) -> None:
        assert self._request is not None
        self._request.aim(heard.target, heard.path, heard.query)
        self._service.interface.aim(self._known, heard)
        self._target = heard.target

    def _begin(self, heard: Heard) -> None:
        """A request has come: call the application."""
        service = self._service
        request = self._request
        assert request is not None
        self.state = ANSWER
        self.deadline = inf
        answer = Answer(
            self,
            service.server_lines,
            service.log,
            request.head_only,
            request.http11,
            request.keep_alive and service.keeps_alive and self.requests < service.most_requests,
        )
        whole = self._guard.whole
        named = f"{heard.method} {heard.target}"
        environ = request.template
        call = self._call = service.interface.call(
            self, self._known, environ, named, answer, service.log, more=not whole
        )
        if service.record is not None:
            self._started = perf_counter()
        if not whole and self._guard.held:
            self._take_body(b"")
            if self._call is not call:  # and it was refused
                return
        service.call(call)
        if self._eof:  # it came together with this request, and nobody will tell again
            self.eof_received()

    def send_hints(self, data: bytes) -> None:
        """As the connections of the engine do: not to a proxy that would take an interim answer for the whole one."""
        if self._service.proxies.take_hints or (self._address and not self._trusted):
            self._write(data)

    def _take_body(self, data: bytes) -> None:
        """Bytes of the body for the application."""
        guard, call = self._guard, self._call
        assert call is not None
        try:
            pieces = guard.body(data, STEPS_AT_ONCE)
        except ProtocolError as error:
            self.refuse_body(error)
            return
        call.feed(pieces, not guard.whole)
        self._came += sum(map(len, pieces))
        if guard.whole:
            self.deadline = inf
        if guard.backlog:
            self._pause()
            self._come_back()
        elif call.size > AHEAD or guard.held > AHEAD:
            self._pause()

    def _drop_body(self, data: bytes) -> None:
        """Bytes of a body that nobody wants any more: they stand before the next request."""
        guard = self._guard
        try:
            self._came += sum(map(len, guard.body(data, STEPS_AT_ONCE)))
        except ProtocolError:
            self._begin_linger()
            return
        if guard.whole:
            self._rest()
        elif self._came > MOST_REST:
            self._begin_linger()
        elif guard.backlog:
            self._pause()
            self._come_back()

    def _come_back(self) -> None:
        """Go on with what is here when others have had their turn."""
        if not self._comes_back:
            self._comes_back = True
            self._service.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._comes_back = False
        if self.state == HEAD:
            self._resume()
            if self._guard.held:
                self._hear(b"")
        elif self.state in (ANSWER, REST) and self._guard.backlog:
            self._resume()
            (self._take_body if self.state == ANSWER else self._drop_body)(b"")

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # -- what a call asks of its line, besides what an outlet can

    def continues(self) -> None:
        """The application waits for the body: from now on the client has to go on."""
        if self._wait_began:
            return
        heard = self._heard
        assert heard is not None
        if heard.expects and not self._came:  # RFC 9110, 10.1.1: not needed when the body is on its way already
            heard.expects = False
            self._write(CONTINUE)
        timeouts = self._service.timeouts
        self._wait_began = now = monotonic()
        seconds = timeouts.body_timeout
        if timeouts.min_data_rate:
            seconds = min(seconds, seconds + self._came / timeouts.min_data_rate - self._waited)
        self.deadline = now + seconds
        if seconds <= 0:  # too slow already, whatever comes next
            self._service.loop.call_soon(self._expire)

    def received(self) -> None:
        """The application has taken what there was of the body: nobody waits for the client until it asks for more."""
        if self._wait_began:
            self._waited += monotonic() - self._wait_began
            self._wait_began = 0.0
            self.deadline = inf
        if not self._guard.backlog and self._guard.held <= AHEAD:
            self._resume()

    def begins(self, call: Call) -> None:
        """The application has said status and headers."""
        heard = self._heard
        assert heard is not None
        if not self._guard.whole and (heard.expects or heard.length - self._came > MOST_REST):
            call.answer.is_last()  # the body would have to be read to its end
        self._service.begin_soon(call.answer)

    def ends(self, call: Call) -> None:
        """The answer is over: told once, to everyone who wants to know."""
        service = self._service
        if service.record is not None:
            answer = call.answer
            seconds = perf_counter() - self._started
            service.record(exchange_of((call.environ, answer.status, answer.headers, answer.sent, time(), seconds)))
        service.answered()

    def leaves(self, call: Call) -> None:
        """The application has returned."""
        self._service.leave(call)

    def _answered(self, keep_alive: bool) -> None:
        """The answer is complete, as far as we are concerned."""
        self._call = None
        if self.state == CLOSED:
            return
        if not keep_alive:
            if self._guard.held or not self._guard.whole or unread(self.socket):
                self._begin_linger()
            else:
                self._end()
        elif self._guard.whole:
            self._rest()
        else:
            self.state = REST
            self._came = 0
            self.deadline = monotonic() + self._service.timeouts.body_timeout
            self._resume()
            if self._guard.held or self._guard.backlog:
                self._come_back()

    def _rest(self) -> None:
        """On to the next request."""
        self.state = HEAD
        self._came = 0
        self._waited = self._wait_began = 0.0
        self.deadline = monotonic() + self._service.idle_seconds
        if self._guard.held:
            self._come_back()  # behind everybody who has come meanwhile
        elif self._eof:
            self._end()
        elif self._paused:
            self._resume()

    # -- refusing and ending

    def refuse_body(self, error: ProtocolError) -> None:
        """Refuse a request whose head was right, and whose application runs already."""
        call = self._call
        assert call is not None
        self._call = None
        call.hang_up(gone=True)
        if call.answer.begun:
            self._end()
        else:
            self._tell(error, call.environ)
            call.answer.status = str(error.status)
        call.answer.give_up()  # else a head that the application has said would follow
        call.give_up()

    def _refuse(self, error: ProtocolError, told: Mapping[str, str]) -> None:
        """Answer what is not a request that we accept; after it nothing more is read as one (CVE-2024-49768)."""
        self._tell(error, told)
        if self._service.record is not None:
            environ = {"REMOTE_ADDR": self._address, **NOTHING_TOLD, **told}
            self._service.record(Exchange(environ, str(error.status), [], 0, time(), 0.0))
            self._service.refused()

    def _tell(self, error: ProtocolError, told: Mapping[str, str]) -> None:
        service = self._service
        service.log.debug("Refused a request of %s with %d: %s", self._address or "a unix socket", error.status, error)
        accept, head_only = told.get("HTTP_ACCEPT", ""), told.get("REQUEST_METHOD") == "HEAD"
        self._write(
            error_page(
                error.status,
                service.server_lines.both,
                accept=accept,
                head_only=head_only,
                advice=error.advice,
                location=error.location,
            )
        )
        self._begin_linger()

    # -- deadlines

    def _expire(self) -> None:
        if self.deadline > monotonic():
            return
        if self.state == HEAD and self._guard.held:
            self._refuse(ProtocolError(408, "the request did not arrive in time (head_timeout)"), {})
        elif self.state == ANSWER:
            self.refuse_body(ProtocolError(408, "the body did not arrive in time (body_timeout, min_data_rate)"))
        elif self.state == HEAD:
            self._end()
        else:
            self._transport.abort()

    @property
    def idle(self) -> bool:
        """Is no request under way, not even a part of one?"""
        return self.state == HEAD and not self._guard.held

    def waited(self, now: float) -> float:
        """For how many seconds this connection has been waiting for its client; 0 when a request is under way."""
        if self._transport.get_write_buffer_size():  # its answer is not taken yet
            return 0.0
        if self.state == LINGER and self.deadline < inf:  # who was refused and only has to hear it goes before all
            waited = now - self.since
            return waited + LONGEST_WAIT if waited > PATIENCE_SECONDS else 0.0
        if self.state != HEAD:
            return 0.0
        service = self._service
        if self.requests and not self._guard.held:
            return now - (self.deadline - service.idle_seconds)
        waited = now - (self.deadline - service.timeouts.head_timeout)
        return waited if waited > PATIENCE_SECONDS else 0.0

    def hurry(self, idle_until: float, linger_until: float) -> None:
        """Nobody waits for new requests any more, or listens to refused clients, beyond these moments."""
        if self.idle:
            self.deadline = min(self.deadline, idle_until)
        elif self.state == LINGER:
            self.deadline = min(self.deadline, linger_until)

    def _begin_linger(self) -> None:
        self._guard.rest()
        super()._begin_linger()
        self._resume()

    # -- another protocol

    def hand_over(self, protocol: Any) -> bytes:
        """The connection is another protocol's from now on; returns what has been received of it already."""
        self.state = CLOSED
        self._call = None
        self._transport.set_protocol(protocol)
        return self._guard.rest()

    @property
    def transport(self) -> Any:
        """The loop's."""
        return self._transport

    def _local(self) -> tuple[str, int | None] | None:
        """Our end of the connection."""
        if self._server is None:
            try:
                name: Any = self.socket.getsockname()
            except OSError:
                return None
            self._server = (name[0], name[1]) if isinstance(name, tuple) else (str(name), None)
        return self._server
