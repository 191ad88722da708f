"""Calls an application and puts its answer together (PEP 3333); knows nothing of sockets, threads and waiting.

What it has to say to the client goes to a ``Sink``, which each worker class brings along.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from logging import Logger
from types import TracebackType
from typing import Any, Protocol

from server_core.gateway.environ import Environ, FileWrapper, Request
from server_core.http.pages import error_page
from server_core.http.response import (
    ASKS_CLOSE,
    CHUNKED,
    CLOSE,
    DATE,
    DROPPED,
    EARLY_HINTS,
    HEADER_LINES,
    KEEP_ALIVE,
    LAST_CHUNK,
    LENGTH,
    PLAIN,
    SERVER,
    STATUS_LINES,
)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
WSGIApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class ClientGone(OSError):
    """The client closed the connection or did not take the answer in time; nobody's fault and never a traceback."""


class Sink(Protocol):
    """Where an answer goes.  Each method raises ClientGone once there is nobody to send to."""

    def send_part(self, data: bytes) -> None:
        """Send now, whatever follows."""

    def send_hints(self, data: bytes) -> None:
        """The same for an interim answer, which may be left out if the client could misunderstand it."""

    def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """Send ``count`` bytes of a file; owns ``descriptor`` from now on."""

    def send_last(self, data: bytes, keep_alive: bool) -> None:
        """Send the end of the answer; the connection is not the answer's any more."""

    def send_large(self, head: bytes, body: bytes, keep_alive: bool) -> None:
        """The same for a whole answer whose body should not be copied."""

    def cut(self) -> None:
        """End the connection so that the client sees that the answer is not whole."""


class ServerLines:
    """The header lines that the server adds to every answer; ``tick`` renews the date, once a second."""

    __slots__ = ("both", "date", "server")

    def __init__(self, server: bytes) -> None:
        self.server = b"Server: " + server + b"\r\n" if server else b""
        self.date = self.both = b""

    def tick(self, date: str) -> None:
        """Take over the text of a Date field."""
        self.date = b"Date: " + date.encode("ascii") + b"\r\n"
        self.both = self.date + self.server


#: of an answer that has not begun
NO_HEADERS: list[tuple[str, str]] = []
#: from here on a second buffer in the same system call is cheaper than a copy
LARGE = 32768
#: answers that never have a body (RFC 9110, 6.4.1), whatever the application yields
_BODYLESS = ("204", "304")

#: the last status and headers that were right, their lines, the Content-Length in them or -1, and: never a body?
_said: tuple[str, list[tuple[str, str]], bytes, int, bool] = ("", [], b"", -1, False)


class Response:
    """One answer, from ``start_response`` to its last byte.  To be called before it as ``wsgi.early_hints``.

    ``status`` and ``headers`` are the application's last word, ``sent`` counts bytes of body.
    """

    __slots__ = tuple(
        (
            "_added _bodyless _chunked _ended _head_only _head_sent _http11 _keep_alive _left "
            "_lines _log _server_lines _sink headers sent status"
        ).split()
    )

    def __init__(
        self, sink: Sink, server_lines: ServerLines, log: Logger, head_only: bool, http11: bool, keep_alive: bool
    ) -> None:
        self._sink = sink
        self._server_lines = server_lines
        self._log = log
        self._head_only = head_only
        self._http11 = http11
        self._keep_alive = keep_alive
        self._head_sent = self._ended = self._chunked = self._bodyless = False
        self._left = -1  # body bytes that the declared Content-Length still allows; -1 when none is declared
        self.status = ""
        self.headers = NO_HEADERS
        self.sent = 0

    # -- what the application calls

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333: keep status and headers until the first block; checks them at once, so that the error is near."""
        if exc_info is not None:
            try:
                if self._head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no reference cycle through the traceback
        elif self.status:
            raise RuntimeError("start_response was called twice without exc_info (PEP 3333)")
        if type(headers) is not list:  # an iterator could be read only once
            headers = list(headers)
        said = _said
        if status == said[0] and headers == said[1]:  # an application repeats itself: it has been judged already
            self._lines, self._left, self._bodyless = said[2], said[3], said[4]
            self._added = self._server_lines.both
        else:
            self._judge(status, headers)
        if self._head_only:
            self._bodyless = True
        self.status = status
        self.headers = headers
        return self._write

    def _judge(self, status: str, headers: list[tuple[str, str]]) -> None:
        """Check status and headers, and make lines of them."""
        global _said
        lines = [STATUS_LINES[status]]
        left = -1
        both = added = self._server_lines.both
        plain = True
        headers = headers.copy()  # another thread may change what the application keeps
        for header in headers:
            line, kind = HEADER_LINES[header]
            if not kind:
                lines.append(line)
            elif kind == LENGTH:
                if left >= 0:
                    raise ValueError("more than one Content-Length header")
                left = int(header[1])
                if status[:3] != "204":  # RFC 9110, 8.6: no Content-Length in a 204
                    lines.append(line)
            elif kind != DROPPED:
                plain = False
                added = self._special(line, kind, lines, added)
        self._lines, self._left, self._added = b"".join(lines), left, added
        self._bodyless = status[:3] in _BODYLESS
        if plain and added is both:
            _said = (status, headers, self._lines, left, self._bodyless)

    def _special(self, line: bytes, kind: int, lines: list[bytes], added: bytes) -> bytes:
        """The application says what the server would have said: its word stands, and is not doubled."""
        if kind == ASKS_CLOSE:
            self._keep_alive = False
            return added
        lines.append(line)
        return added.replace(self._server_lines.date if kind == DATE else self._server_lines.server, b"")

    def _write(self, data: bytes) -> None:
        """The write() callable of PEP 3333: sent before this returns or kept by the sink."""
        if type(data) is not bytes:
            raise TypeError(f"write() takes bytes, not {type(data).__name__}")
        if data:
            self._send_block(data, whole=False)

    def __call__(self, headers: Iterable[tuple[str, str]]) -> None:
        """``wsgi.early_hints``: send these header fields at once, in an interim answer 103 (RFC 8297).

        Does nothing for a client that speaks HTTP/1.0 (RFC 9110, 15.2) or could misunderstand it, and when the answer
        itself has begun: hints that come too late are no fault.  Raises TypeError and ValueError as ``start_response``
        does.
        """
        # RFC 9110, 8.6 and 7.6.1: what is said of length and connection is the answer's own.
        lines = [line for line, kind in map(HEADER_LINES.__getitem__, headers) if kind in (PLAIN, DATE, SERVER)]
        if lines and self._http11 and not (self._head_sent or self._ended):
            self._sink.send_hints(b"".join((EARLY_HINTS, *lines, b"\r\n")))

    # -- what the gateway calls

    def send(self, result: Iterable[bytes]) -> None:
        """Send what the application returned; close() is the caller's.  Raises what the application raises."""
        kind = type(result)
        if (kind is list or kind is tuple) and not self._head_sent:
            body = result[0] if len(result) == 1 else b"".join(result)  # type: ignore[index,arg-type]
            if type(body) is not bytes:
                raise TypeError(f"the application's iterable gave {type(body).__name__}, not bytes")
            if self._left != len(body) or self._bodyless or not self._keep_alive or not self._http11:
                self._send_whole(body)
                return
            # The usual answer: nothing to think about.
            self.sent = size = self._left
            self._head_sent = self._ended = True
            if size > LARGE:
                self._sink.send_large(b"".join((self._lines, self._added, b"\r\n")), body, True)
            else:
                self._sink.send_last(b"".join((self._lines, self._added, b"\r\n", body)), True)
            return
        if kind is FileWrapper and not self._head_sent and self._send_file(result):  # type: ignore[arg-type]
            return
        for block in result:
            if type(block) is not bytes:
                raise TypeError(f"the application's iterable gave {type(block).__name__}, not bytes")
            if block and not self._send_block(block, whole=True):
                break
        self._finish()

    def fail(self, accept: str) -> None:
        """The application failed: 500 if nothing has been sent, else cut the connection (never a quiet end).

        ``accept`` is the client's Accept field.
        """
        if self._ended:
            return
        self._ended = True
        if self._head_sent:
            self._sink.cut()
            return
        self.status = "500 Internal Server Error"
        page = error_page(500, self._server_lines.both, accept=accept, head_only=self._head_only)
        self._sink.send_last(page, keep_alive=False)

    # -- how it is put on the wire

    def _head(self, length: int) -> bytes:
        """The whole head; ``length`` is the Content-Length to state when the application stated none, or -1."""
        if not self.status:
            raise RuntimeError("the application never called start_response (PEP 3333)")
        framing = b""
        if self._left < 0:
            if length >= 0:
                framing = b"Content-Length: %d\r\n" % length
            elif self._bodyless:
                pass
            elif self._http11:
                self._chunked = True
                framing = CHUNKED
            else:
                self._keep_alive = False
        connection = CLOSE if not self._keep_alive else b"" if self._http11 else KEEP_ALIVE
        self._head_sent = True
        return b"".join((self._lines, framing, self._added, connection, b"\r\n"))

    def _send_whole(self, body: bytes) -> None:
        """All of the answer is there, so head and body leave in one piece."""
        size = len(body)
        if not self.status or self._bodyless:
            # What GET would state: an empty body in answer to HEAD, or a 304, says nothing of GET's.
            body, head = b"", self._head(size if size and self._head_only and self.status[:3] not in _BODYLESS else -1)
        else:
            if self._left != size and self._left >= 0:
                body = self._misfit(body, size)
                size = len(body)
            head = self._head(size)
            self.sent = size
        self._ended = True
        if len(body) > LARGE:
            self._sink.send_large(head, body, self._keep_alive)
        else:
            self._sink.send_last(head + body, self._keep_alive)

    def _misfit(self, body: bytes, size: int) -> bytes:
        if size > self._left:
            self._log.error("The application sent more bytes than its Content-Length of %d: cut there.", self._left)
            return body[: self._left]
        self._too_short(size)
        return body

    def _too_short(self, size: int) -> None:
        self._log.error(
            "The application sent %d bytes but stated a Content-Length of %d: the connection is closed, "
            "so that the client can tell.",
            size,
            self.sent + self._left if self._head_sent else self._left,
        )
        self._keep_alive = False

    def _send_block(self, block: bytes, whole: bool) -> bool:
        """One non-empty block; ``whole`` when a block that fills the Content-Length may be the last one.

        False for a block that is not wanted at all: to ask for more could go on for ever.
        """
        if self._ended:
            self._log.error("The application sent more bytes than its Content-Length: cut there.")
            return False
        if self._bodyless:
            if self._head_sent:
                return False
            self._sink.send_part(self._head(-1))
            return True
        head = self._head(-1) if not self._head_sent else b""
        if self._left >= 0:
            if len(block) > self._left:
                self._log.error("The application sent more bytes than its Content-Length: cut there.")
                block = block[: self._left]
            self._left -= len(block)
        self.sent += len(block)
        if self._chunked:
            data = b"%b%x\r\n%b\r\n" % (head, len(block), block)
        else:
            data = head + block if head else block
        if whole and self._left == 0:
            self._ended = True
            self._sink.send_last(data, self._keep_alive)
        else:
            self._sink.send_part(data)
        return True

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Hand a plain file to the sink; False when it is none, and must be iterated like anything else."""
        extent = wrapper.extent() if self.status and not self._bodyless else None
        if extent is None or extent[2] <= 0:
            return False
        descriptor, offset, count = extent
        if self._left > count:
            self._too_short(count)
        elif self._left >= 0:
            count = self._left
        self._sink.send_part(self._head(count))
        self._left = 0
        self.sent = count
        if count:
            self._sink.send_file(os.dup(descriptor), offset, count)
        self._finish()
        return True

    def _finish(self) -> None:
        """The iterable is exhausted."""
        if self._ended:
            return
        if not self._head_sent:
            self._send_whole(b"")
            return
        self._ended = True
        if self._left > 0 and not self._bodyless:
            self._too_short(self.sent)
        self._sink.send_last(LAST_CHUNK if self._chunked else b"", self._keep_alive)


def respond(application: WSGIApplication, request: Request, environ: Environ, response: Response, log: Logger) -> None:
    """Call the application and send its answer; whatever it raises is logged and answered, never passed on.

    SystemExit and KeyboardInterrupt raised by the application end one request, not the worker.
    """
    result: Iterable[bytes] = ()
    target = request.target  # now: when it is answered, the client's next request may aim at another one
    try:
        result = application(environ, response.start_response)
        response.send(result)
    except ClientGone:
        fail(response, request)
    except BaseException:
        log.exception("Error in the application at %s %s", request.template["REQUEST_METHOD"], target)
        fail(response, request)
    finally:
        if type(result) is not list:
            close = getattr(result, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException:
                    log.exception("Error in close() at %s %s", request.template["REQUEST_METHOD"], target)


def fail(response: Response, request: Request) -> None:
    """End a failed answer; a client that is gone does not need it."""
    try:
        response.fail(request.template.get("HTTP_ACCEPT", ""))
    except ClientGone:
        pass
