"""Reads requests from bytes with the pure floor alone, as a connection does, and says what came of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from server_core.errors import ProtocolError
from server_core.http.fields import combine
from server_core.http.framing import Body, begin_body
from server_core.http.head import (
    NO_REPEAT,
    HeadLimits,
    check_open_line,
    parse,
    repeat_of,
    repeated_target,
    split_block,
)
from server_core.http.policy import admit
from server_core.settings import Limits


@dataclass(frozen=True)
class Request:
    """A whole request that was accepted."""

    method: str
    path: str
    query: str
    minor: int
    keep_alive: bool
    expects: bool
    fields: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """All that came of some bytes: accepted requests, the status of a refusal (0: none), what is still open.

    ``open`` is "" between requests, "head" or "body" inside one, and "end" when nothing more is read.
    """

    requests: tuple[Request, ...]
    refused: int
    open: str


class RequestReader:
    """Takes the bytes of one connection in any pieces."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._all_limits = limits or Limits()
        self._limits = HeadLimits(self._all_limits)
        self._buffer = bytearray()
        self._seen = False  # the buffer was parsed already: only the end of a line can change the result
        self._head: tuple[Any, ...] = ()
        self._repeat = NO_REPEAT
        self._repeated: tuple[Any, ...] = ()
        self._body: Body | None = None
        self._pieces: list[bytes] = []
        self._requests: list[Request] = []
        self._refused = 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        """More bytes have come."""
        if self._ended:
            return
        if not self._buffer and self._body is None:
            target = repeated_target(data, self._repeat)
            if target:
                path, _, query = target.partition("?")
                self._head = (self._repeated[0], path, query, *self._repeated[3:])
                self._accept(b"")
                return
        self._buffer += data
        try:
            while self._buffer and not self._ended:
                before = len(self._requests), self._body
                if self._body is None:
                    self._read_head(data)
                else:
                    self._read_body()
                if before == (len(self._requests), self._body):
                    break
        except ProtocolError as error:
            self._refused = error.status
            self._ended = True

    def _read_head(self, data: bytes) -> None:
        if self._seen and b"\n" not in data:
            check_open_line(self._buffer, self._limits)
            return
        head = parse(self._buffer.decode("latin-1"), self._limits)
        self._seen = head is None
        if head is None:
            return
        method, target, minor, block, end = head
        alone = self._buffer == data and end == len(data)
        del self._buffer[:end]
        fields = combine(split_block(block, self._limits))
        path, query, keep_alive, length, expects = admit(method, target, minor, fields)
        self._head = (method, path, query, minor, keep_alive, expects, tuple(sorted(fields.items())))
        if length:
            self._body = begin_body(length, self._all_limits)
        else:
            if alone and path == target.partition("?")[0]:
                self._repeat = repeat_of(data, method, target, self._limits)
                self._repeated = self._head
            self._accept(b"")

    def _read_body(self) -> None:
        body = self._body
        assert body is not None
        data = bytes(self._buffer)
        self._buffer.clear()
        self._pieces += body.feed(data)
        if body.done:
            self._buffer += body.rest
            self._accept(b"".join(self._pieces))
            self._body = None
            self._pieces = []

    def _accept(self, body: bytes) -> None:
        request = Request(*self._head, body)
        self._requests.append(request)
        self._ended = not request.keep_alive

    @property
    def outcome(self) -> Outcome:
        """What has come of the bytes so far."""
        if self._ended:
            state = "end"
        elif self._body is not None:
            state = "body"
        else:
            state = "head" if self._buffer else ""
        return Outcome(tuple(self._requests), self._refused, state)


def read(pieces: Iterable[bytes], limits: Limits | None = None) -> Outcome:
    """What comes of these bytes, when they arrive in these pieces."""
    reader = RequestReader(limits)
    for piece in pieces:
        reader.feed(piece)
    return reader.outcome


def byte_by_byte(data: bytes) -> list[bytes]:
    """The smallest pieces there are."""
    return [data[index : index + 1] for index in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """``data`` cut at ``places`` (any numbers: those beyond the end are ignored)."""
    marks = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]
