"""What is uvicorn's: lifespan, and websockets on connections that ask for one.  The only file that imports it.

Its HTTP is not used: a second reader of the same bytes could understand them differently than we do.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import traceback
from collections.abc import Callable
from logging import Logger
from math import inf
from time import monotonic, perf_counter, time
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from server_core.asgi.outlet import ANSWER, Outlet
from server_core.errors import AppLoadError
from server_core.exchange import Exchange
from server_core.gateway.asgi import ASGI, ASGIApplication, Message, Receive, Scope, Send
from server_core.gateway.environ import Environ
from server_core.gateway.loader import describe
from server_core.http.guard import Heard, spelt

if TYPE_CHECKING:
    from server_core.asgi.connection import Connection
    from server_core.asgi.service import Service

LOGGER = "uvicorn.error"
#: how long an application may take to accept a websocket that is asked for when its worker goes already
RESTART_SECONDS = 0.5
#: and how long a client may take to hear that it does
LAST_WORDS_SECONDS = 2.0


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """An event loop, "uvloop", "asyncio", or "auto": the former where it is installed."""
    if kind != "asyncio":
        try:
            loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
            return loop
        except ImportError:
            if kind == "uvloop":
                raise
    return asyncio.SelectorEventLoop()


def configure(application: ASGIApplication, lifespan: str, ws_max_size: int) -> Config:
    """uvicorn's configuration: all that is not said here is ours to do."""
    config = Config(
        application,
        http=asyncio.Protocol,
        lifespan=lifespan,  # type: ignore[arg-type]
        ws_max_size=ws_max_size,
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    config.load()
    return config


def share_log(log: Logger) -> None:
    """What uvicorn has to say goes to our log, unless the project has asked for it elsewhere."""
    logger = logging.getLogger(LOGGER)
    if not logger.hasHandlers() and not logging.getLogger("uvicorn").hasHandlers():
        logger.handlers = log.handlers
        logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)  # else it tells each websocket


class Lifespan:
    """The application's startup and shutdown; ``state`` is what it has put there for requests."""

    def __init__(self, config: Config, application: ASGIApplication, log: Logger) -> None:
        self._log = log
        self._application = application
        self._sentence = self._details = ""
        self._started = False
        config.loaded_app = self._run
        self._lifespan = config.lifespan_class(config)
        self._lifespan.logger = logging.getLogger(f"{LOGGER}.lifespan")
        self._lifespan.logger.disabled = True  # we say it ourselves
        self.state: dict[str, Any] = self._lifespan.state

    async def startup(self) -> None:
        """Raises AppLoadError when the application says that it cannot serve."""
        await self._lifespan.startup()
        if self._lifespan.should_exit:
            raise AppLoadError(self._sentence, self._details)
        if self._sentence:
            self._log.debug("Served without lifespan (asgi_lifespan auto): %s", self._sentence)
        self._started = True

    async def shutdown(self) -> None:
        """What fails is logged."""
        self._sentence = ""
        await self._lifespan.shutdown()
        if self._sentence:
            self._log.error("%s\n%s", self._sentence, self._details.rstrip())

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            if message["type"].endswith(".failed"):
                self._note(str(message.get("message") or ""))
            await send(message)

        try:
            await self._application(scope, receive, note)
        except BaseException as error:
            if not self._sentence:
                self._note(
                    "".join(traceback.format_exception(type(error), error, error.__traceback__)), describe(error)
                )
            raise

    def _note(self, details: str, raised: str = "") -> None:
        when = "shutdown" if self._started else "startup"
        lines = details.strip().splitlines()
        why = raised or (lines[-1] if lines else "it gave no reason")
        self._sentence = f"the application failed at its {when} (lifespan): {why}"
        self._details = details if len(lines) > 1 else ""


class LastWords(asyncio.Protocol):
    """Forgets what a client says until it has heard that its websocket is closed; ``protocol`` hears of the end."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._protocol.connection_lost(error)


class Lent(Outlet):
    """The transport of a connection that a protocol of uvicorn's has: it counts what is written.

    uvicorn waits for ever for a client that takes nothing: its buffer is never empty, so ``close`` never ends.  And it
    closes without having read what the client says meanwhile: the reset that this makes would destroy its last words.
    """

    __slots__ = ("_closes",)

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.service, connection.socket)
        self._transport = connection.transport
        self.state = ANSWER
        self.deadline = inf
        self._closes = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """As a transport does."""
        self._write(data)

    def look(self, now: float) -> None:
        """Its deadline is that of its last words."""
        if self._closes and self.deadline == inf and not self._transport.get_write_buffer_size():
            self.deadline = now + LAST_WORDS_SECONDS
        if now > self.deadline:
            self._transport.abort()
        else:
            super().look(now)

    def is_closing(self) -> bool:
        """As a transport does."""
        return self._closes or bool(self._transport.is_closing())

    def close(self) -> None:
        """As a transport does, but the client ends the connection, or its time does."""
        if not self.is_closing():
            self._closes = True
            self._transport.set_protocol(LastWords(self._transport.get_protocol()))
            self._transport.write_eof()


class Words:
    """uvicorn's logger, without the errors of applications, which are told by us, and of clients, who could fill it."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)

    def exception(self, words: str) -> None:
        """What the others are told at once."""
        self._logger.debug(words.strip(), exc_info=True)


class Websockets:
    """All websockets of a worker."""

    def __init__(self, config: Config, interface: ASGI, record: Callable[[Exchange], None] | None) -> None:
        self._config = config
        self._interface = interface
        self._state = ServerState()
        self._record = record
        self._restarts = False
        self._lent: dict[Any, Lent] = {}

    def __bool__(self) -> bool:
        """Is there a library that speaks the protocol?"""
        return self._config.ws_protocol_class is not None

    @property
    def connections(self) -> set[Any]:
        """Those that are open."""
        return self._state.connections

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """In which the application runs."""
        return self._state.tasks

    def open(self, service: Service, connection: Connection, heard: Heard, known: Scope, environ: Environ) -> None:
        """A client asks for one; from here on its connection is uvicorn's."""
        self._state.default_headers = service.default_headers()
        protocol: Any = self._config.ws_protocol_class(  # type: ignore[call-arg, misc]
            config=self._config, server_state=self._state, app_state=self._interface.state, _loop=service.loop
        )
        lent = self._lent[protocol] = Lent(connection)
        protocol.app = self._told(service, known, environ, lent)
        protocol.logger = Words(protocol.logger)
        protocol.connection_made(lent)
        rest = connection.hand_over(protocol)
        target = heard.path + ("?" + heard.query if heard.query else "")
        running = len(self.tasks)
        service.apart(protocol.data_received, spelt(heard.method, target, known["headers"]) + rest)
        if len(self.tasks) == running:  # the library has refused the handshake
            self._ended(service, environ, "400", 0.0)
        if self._restarts:
            service.loop.call_later(RESTART_SECONDS, self._close, protocol)

    def _told(self, service: Service, known: Scope, environ: Environ, lent: Lent) -> ASGIApplication:
        """The application, which is told of its request what we have understood; its end is told to the log."""
        application = self._interface.application
        template = {**known, "headers": known["headers"].copy()}

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            status = "500"
            was_told = False
            started = perf_counter()

            async def note(message: Message) -> None:
                nonlocal status
                kind = message["type"]
                if kind == "websocket.accept":
                    status = "101"
                elif kind == "websocket.close" and status != "101":
                    status = "403"
                elif kind == "websocket.http.response.start":
                    status = str(message["status"])
                await send(message)

            async def hear() -> Message:
                nonlocal was_told
                message = await receive()
                was_told = was_told or message["type"] == "websocket.disconnect"
                return message

            for key in ("client", "server", "path", "raw_path", "root_path", "headers"):
                scope[key] = template[key]
            scope["scheme"] = "wss" if template["scheme"] == "https" else "ws"
            try:
                await application(scope, hear, note)
            except Exception as error:
                if not (was_told or lent.is_closing()):
                    service.log.exception("Error in the application at websocket %s", scope["path"])
                    raise
                service.log.debug("At websocket %s, after the client had gone: %s", scope["path"], describe(error))
            finally:
                self._ended(service, environ, status, perf_counter() - started)

        return run

    def _ended(self, service: Service, environ: Environ, status: str, seconds: float) -> None:
        if self._record is not None:
            self._record(Exchange(environ, status, [], 0, time(), seconds))
        service.answered()

    def shut_down(self) -> None:
        """Close all: "service restart" (1012)."""
        self._restarts = True
        for protocol in list(self._state.connections):
            if getattr(protocol, "handshake_complete", True):
                self._close(protocol)
            else:  # it would be answered 500
                protocol.loop.call_later(RESTART_SECONDS, self._close, protocol)

    def _close(self, protocol: Any) -> None:
        if protocol in self._state.connections:
            self._lent[protocol].deadline = monotonic() + LAST_WORDS_SECONDS
            protocol.shutdown()

    def look(self, now: float) -> None:
        """Once in a while: who takes nothing of what it is sent is cut off."""
        for protocol, lent in list(self._lent.items()):
            if protocol in self._state.connections:
                lent.look(now)
            else:
                del self._lent[protocol]
