"""Connections that an application has taken over, as ``IOStream``s; what is said on them it knows itself.

A stream reads from and writes to the loop's transport, not to the socket: so it makes no difference whether there is
TLS, and bytes that came together with the request are not lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler

from server_core.asgi.outlet import ANSWER, CLOSED, Outlet

if TYPE_CHECKING:
    from server_core.asgi.connection import Connection

#: so much is read before the application asks for it, and given to the transport at once
AHEAD = 65536
#: RFC 6455, 7.4, and IANA's registry
SERVICE_RESTART = 1012


class Taken(Outlet):
    """What the loop tells of a connection that belongs to an application; ``over`` is called when it is closed.

    ``tell`` is called with events (of ``IOLoop``), of those that are watched, as long as they are there.  ``handler``
    is whose connection it is in the application, if that is known.
    """

    __slots__ = ("_events", "_is_told", "_over", "_received", "handler", "tell")

    def __init__(self, line: Connection, handler: object, over: Callable[[Taken], None]) -> None:
        super().__init__(line.service, line.socket)
        self._transport = line.transport
        self._over = over
        self.tell: Callable[[int], None] | None = None
        self._events = 0
        self._is_told = False
        self.handler = handler
        self.congested = line.congested
        self.deadline = inf
        self.state = ANSWER
        self._received = bytearray(line.hand_over(self))
        self._transport.resume_reading()

    # -- what the loop says

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._received += data
        if len(self._received) > AHEAD:
            self._transport.pause_reading()
        self._look_at_events()

    def eof_received(self) -> bool:
        """The client says nothing more; with TLS that is the end."""
        self._eof = True
        self._look_at_events()
        return self._transport.get_extra_info("ssl_object") is None

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over, whoever has ended it."""
        self.state = CLOSED
        self.resume_writing()
        self._over(self)

    def resume_writing(self) -> None:
        """The client takes what it is sent."""
        super().resume_writing()
        self._look_at_events()

    # -- what the stream asks

    def watch(self, events: int) -> None:
        """From now on tell of these."""
        self._events = events
        self._look_at_events()

    def _there(self) -> int:
        there = 0
        if self._received or self._eof or self.state == CLOSED:
            there |= IOLoop.READ
        if not self.congested:
            there |= IOLoop.WRITE
        return there & self._events

    def _look_at_events(self) -> None:
        if self._there() and not self._is_told:
            self._is_told = True
            self._service.loop.call_soon(self._tell_events)

    def _tell_events(self) -> None:
        self._is_told = False
        events = self._there()
        if events and self.tell is not None:
            self.tell(events)
            self._look_at_events()

    def take(self, buffer: bytearray | memoryview) -> int | None:
        """Put what has been received into ``buffer``: how many bytes; None when there are none yet, 0 at the end."""
        size = min(len(buffer), len(self._received))
        if not size:
            return 0 if self._eof or self.state == CLOSED else None
        buffer[:size] = self._received[:size]
        del self._received[:size]
        if len(self._received) <= AHEAD and not self._transport.is_closing():
            self._transport.resume_reading()
        return size

    def give(self, data: memoryview) -> int:
        """Send some of ``data``: how many bytes.  Raises BlockingIOError, or ConnectionResetError."""
        if self.state == CLOSED:
            raise ConnectionResetError("the client is gone")
        if self.congested:
            raise BlockingIOError
        with data[:AHEAD] as part:
            block = bytes(part)
        self._write(block)
        return len(block)

    def restart(self) -> None:
        """The server is restarted: a websocket is told so; of any other protocol nothing is known."""
        if isinstance(self.handler, WebSocketHandler):
            self.handler.close(SERVICE_RESTART, "service restart")
            # The client may go on talking; who answered it would only meet an error.
            vars(self.handler)["on_message"] = _forget

    def _expire(self) -> None:
        """There is no deadline."""


def _forget(message: object) -> None:
    """In place of a handler's ``on_message``."""


class Stream(IOStream):
    """A taken connection as the application has it."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        super().__init__(taken.socket)
        self.io_loop: Any = Loop(self.io_loop, taken)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """See ``BaseIOStream``."""
        return self._taken.take(buf)

    def write_to_fd(self, data: memoryview) -> int:
        """See ``BaseIOStream``."""
        return self._taken.give(data)

    def close_fd(self) -> None:
        """See ``BaseIOStream``; what was written still leaves."""
        self._taken.close()
        self.socket = None  # type: ignore[assignment]


class Loop:
    """The loop as a ``Stream`` sees it: the events of its socket are the connection's, all else is the loop's own.

    The socket itself is watched by the transport, and a loop lets nobody else do that.
    """

    def __init__(self, loop: IOLoop, taken: Taken) -> None:
        self._loop = loop
        self._taken = taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_handler(self, fd: Any, handler: Callable[[Any, int], None], events: int) -> None:
        """As an ``IOLoop`` does."""
        if fd is self._taken.socket:
            self._taken.tell = partial(handler, fd)
            self._taken.watch(events)
        else:
            self._loop.add_handler(fd, handler, events)

    def update_handler(self, fd: Any, events: int) -> None:
        """As an ``IOLoop`` does."""
        if fd is self._taken.socket:
            self._taken.watch(events)
        else:
            self._loop.update_handler(fd, events)

    def remove_handler(self, fd: Any) -> None:
        """As an ``IOLoop`` does."""
        if fd is self._taken.socket:
            self._taken.tell = None
        else:
            self._loop.remove_handler(fd)


class Streams:
    """All connections of a worker that applications have taken over, and what still runs there after its answer."""

    def __init__(self) -> None:
        self.connections: set[Any] = set()  # the service knows them all
        self.tasks: set[asyncio.Task[Any]] = set()
        self._taken: set[Taken] = set()
        self._restarts = False

    def __bool__(self) -> bool:
        """A handshake is a request like any other, which the application answers."""
        return False

    def open(self, service: Any, connection: Any, heard: Any, known: Any, environ: Any) -> None:
        """Nobody asks for this."""
        raise NotImplementedError

    def take(self, line: Connection, handler: object, over: Callable[[], None]) -> Stream:
        """The connection of a request is the application's from now on; ``over`` is called when it is closed."""
        service = line.service

        def forget(taken: Taken) -> None:
            self._taken.discard(taken)
            over()
            service.forget(taken)

        taken = Taken(line, handler, forget)
        self._taken.add(taken)
        service.replace(line, taken)
        if self._restarts:  # as soon as the application has made a websocket of it
            service.loop.call_soon(taken.restart)
        return Stream(taken)

    def look(self, now: float) -> None:
        """The service does it."""

    def shut_down(self) -> None:
        """The server is restarted: who comes back comes to another worker."""
        self._restarts = True
        for taken in list(self._taken):
            taken.restart()
