"""Knows where a request body ends (RFC 9112, sections 6 and 7) and how large it may be; not where it is kept.

A body is fed the bytes as they come and hands out the pieces that belong to it.  Both kinds have the same four
names: ``feed``, ``backlog``, ``done`` and ``rest`` (the bytes after the body, once it is done).
"""

from __future__ import annotations

import re
from math import inf

from server_core.errors import ProtocolError
from server_core.http.head import FIELD_VALUE, TCHAR
from server_core.http.policy import CHUNKED
from server_core.settings import Limits

# RFC 9112, 7.1.1: BWS is allowed round the marks of an extension, not after a bare size.
_EXTENSIONS = (
    rf'((?:[ \t]*;[ \t]*[{TCHAR}]+(?:[ \t]*=[ \t]*(?:[{TCHAR}]+|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)*)'
)
_match_size = re.compile(rf"([0-9A-Fa-f]{{1,16}}){_EXTENSIONS}\r\n".encode("latin-1")).fullmatch
_is_trailer = re.compile(rf"[{TCHAR}]+:{FIELD_VALUE}\r\n".encode("latin-1")).fullmatch

MAX_SIZE_LINE = 4096


class LengthBody:
    """A body of ``length`` bytes, by Content-Length (RFC 9112, 6.3, rule 6)."""

    __slots__ = ("left", "rest")
    backlog = False

    def __init__(self, length: int) -> None:
        self.left = length
        self.rest = b""

    @property
    def done(self) -> bool:
        """Is the body whole?"""
        return self.left == 0

    def feed(self, data: bytes, most: float = inf) -> list[bytes]:
        """Bytes from the connection in, pieces of the body out."""
        if len(data) > self.left:
            data, self.rest = data[: self.left], data[self.left :]
        self.left -= len(data)
        return [data]


class ChunkedBody:
    """A chunked body with its trailer section (RFC 9112, 7.1); trailers are checked, counted and dropped.

    ``feed`` raises ProtocolError 400 for a malformed chunk, 413 for a body that becomes too large and 431 for too many
    trailers.  ``backlog`` is set when it has stopped after ``most`` steps, and wants to be fed again, b"" if need be.
    """

    __slots__ = tuple("_chunk _extensions _fields _limits _pending _room _state _trailers backlog done rest".split())

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room = limits.limit_request_body
        self._state = self._size
        self._pending = b""  # an unfinished line
        self._chunk = 0  # bytes of the open chunk that are still to come
        self._extensions = 0
        self._trailers = 0
        self._fields = 0
        self.done = self.backlog = False
        self.rest = b""

    def feed(self, data: bytes, most: float = inf) -> list[bytes]:
        """Bytes from the connection in, pieces of the body out; in ``most`` steps, of which a chunk has three."""
        if self._pending:
            data, self._pending = self._pending + data, b""
        pieces: list[bytes] = []
        position = 0
        self.backlog = False
        while not self.done:
            following = self._state(data, position, pieces)
            if following < 0:
                self._pending = data[position:]
                return pieces
            position = following
            most -= 1
            if most <= 0 and not self.done:
                self.backlog = True
                self._pending = data[position:]
                return pieces
        self.rest = data[position:]
        return pieces

    # Each state reads one thing at ``position`` and returns the position behind it, or -1 when it is not whole yet.

    def _size(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = self._line(data, position, MAX_SIZE_LINE, 400)
        if end < 0:
            return -1
        found = _match_size(data, position, end)
        if found is None:
            raise ProtocolError(400, "a malformed chunk size")
        self._extensions += len(found[2])
        if self._extensions > self._limits.limit_chunk_extensions:
            raise ProtocolError(400, "too many bytes of chunk extensions (limit_chunk_extensions)")
        self._chunk = int(found[1], 16)
        self._room -= self._chunk
        if self._room < 0:
            raise too_large(self._limits)
        self._state = self._data if self._chunk else self._trailer
        return end

    def _data(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        piece = data[position : position + self._chunk]
        if not piece:
            return -1
        pieces.append(piece)
        self._chunk -= len(piece)
        if not self._chunk:
            self._state = self._data_end
        return position + len(piece)

    def _data_end(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        ending = data[position : position + 2]
        if ending == b"\r\n":
            self._state = self._size
            return position + 2
        if ending in (b"", b"\r"):
            return -1
        raise ProtocolError(400, "chunk data that does not end in CR LF")  # CVE-2025-43859

    def _trailer(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = self._line(data, position, self._limits.limit_request_field_size + 2, 431)
        if end < 0:
            return -1
        if end - position == 2 and data[position] == 13:
            self.done = True
            return end
        if not _is_trailer(data, position, end):
            raise ProtocolError(400, "a malformed trailer")
        self._fields += 1
        self._trailers += end - position
        limits = self._limits
        if self._fields > limits.limit_request_fields or self._trailers > limits.limit_request_trailers:
            raise ProtocolError(431, "too many trailers (limit_request_fields, limit_request_trailers)")
        return end

    @staticmethod
    def _line(data: bytes, position: int, limit: int, status: int) -> int:
        """The position behind the line that begins at ``position``, or -1 while it is open."""
        newline = data.find(b"\n", position, position + limit)
        if newline >= 0:
            return newline + 1
        if len(data) - position >= limit:
            raise ProtocolError(status, f"a line of {limit} bytes or more in a chunked body")
        return -1


Body = LengthBody | ChunkedBody


def begin_body(length: int, limits: Limits) -> Body:
    """A body of ``length`` bytes, or CHUNKED, as ``policy.admit`` says.  Raises ProtocolError 413 for a long one."""
    if length == CHUNKED:
        return ChunkedBody(limits)
    if length > limits.limit_request_body:
        raise too_large(limits)
    return LengthBody(length)


def too_large(limits: Limits) -> ProtocolError:
    """The refusal of a body for its size (RFC 9110, 15.5.14)."""
    return ProtocolError(413, f"a body of more than {limits.limit_request_body} bytes (limit_request_body)")
