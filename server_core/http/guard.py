"""Reads the bytes of one connection by our rules, for whoever serves on a loop that is not ours; knows bytes only.

What is accepted and refused is decided in ``head``, ``fields``, ``policy`` and ``framing``, as for our own engine.  A
foreign library is given what was understood here, never the client's bytes: so they cannot be read differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf

from server_core.errors import ProtocolError
from server_core.http.fields import Fields, combine, key_of
from server_core.http.framing import Body, begin_body
from server_core.http.head import NO_REPEAT, HeadLimits, check_open_line, parse, repeat_of, repeated_target, split_block
from server_core.http.policy import admit, host_is_allowed
from server_core.settings import Limits

# RFC 6455, 4.1: 16 bytes in base64.
_is_key = re.compile(r"[A-Za-z0-9+/]{22}==").fullmatch

#: what is known of a request that could not be read
NOTHING_TOLD: Mapping[str, str] = {}


class Heard:
    """One head as it was understood.  ``length`` is that of its body in bytes, or ``policy.CHUNKED``.

    ``lines`` are the field lines as they came.  Whatever is taken out of ``fields`` is not said in ``headers`` either.
    """

    __slots__ = ("expects", "fields", "keep_alive", "length", "lines", "method", "minor", "path", "query", "target")

    def __init__(self, method: str, target: str, minor: int, lines: list[tuple[str, str]], fields: Fields) -> None:
        """Raises ProtocolError as ``policy.admit`` does."""
        self.method = method
        self.target = target
        self.minor = minor
        self.lines = lines
        self.fields = fields
        self.path, self.query, self.keep_alive, self.length, self.expects = admit(method, target, minor, fields)

    def aim(self, target: str) -> None:
        """The same head with another path."""
        self.target = target
        self.path, _, self.query = target.partition("?")

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The field lines with names in lower case, without those that are dropped; Host as it counts."""
        fields = self.fields
        host = fields.get("HTTP_HOST", "")
        return [
            (b"host", host.encode("latin-1"))  # that of an absolute target stands in its place
            if key == "HTTP_HOST"
            else (name.lower().encode("ascii"), value.encode("latin-1"))
            for key, name, value in ((key_of(name), name, value) for name, value in self.lines)
            if key in fields
        ]

    def asks_for_websocket(self) -> bool:
        """RFC 6455, 4.2.1.  Raises ProtocolError 400 when it does, but not in the way of version 13, the only one."""
        fields = self.fields
        if (
            "HTTP_UPGRADE" not in fields
            or "websocket" not in _options(fields["HTTP_UPGRADE"])
            or "upgrade" not in _options(fields.get("HTTP_CONNECTION", ""))
            or self.method != "GET"
            or not self.minor
            or self.length
        ):
            return False
        if fields.get("HTTP_SEC_WEBSOCKET_VERSION") != "13" or not _is_key(fields.get("HTTP_SEC_WEBSOCKET_KEY", "")):
            raise ProtocolError(400, "a malformed handshake of a websocket")
        return True


def _options(value: str) -> list[str]:
    return [option.strip(" \t") for option in value.lower().split(",")]


def spelt(method: str, target: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A head in HTTP/1.1, for a library that wants bytes."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii") + lines + b"\r\n"


class Guard:
    """Takes the bytes of one connection in any pieces: ``head`` until there is one, then ``body`` until ``whole``.

    ``told`` is what is known of the request that a ProtocolError was raised for: a part of its environ.
    """

    __slots__ = tuple("_body _buffer _head_limits _heard _hosts _last _limits _probes _repeat _seen told whole".split())

    def __init__(
        self, limits: Limits, head_limits: HeadLimits, hosts: tuple[str, ...] = (), probes: tuple[str, ...] = ()
    ) -> None:
        """``hosts`` are those for which requests may come, none for all (check_hosts); ``probes`` are paths at which
        GET and HEAD may name any."""
        self._limits = limits
        self._head_limits = head_limits
        self._hosts = hosts
        self._probes = probes
        self._buffer = bytearray()
        self._seen = False  # the buffer was parsed already: only more bytes can make it whole
        self._body: Body | None = None
        # The last head of a request without a body, for a client that repeats it, or all of it but the target.
        self._last = b""
        self._repeat = NO_REPEAT
        self._heard: Heard | None = None
        self.whole = True
        self.told = NOTHING_TOLD

    @property
    def held(self) -> int:
        """How many bytes are here that nobody has asked for yet."""
        return len(self._buffer)

    def hold(self, data: bytes) -> None:
        """Bytes of a request that comes later."""
        self._buffer += data
        self._seen = False

    def rest(self) -> bytes:
        """All bytes that have not been read, for another protocol that begins here."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def head(self, data: bytes) -> Heard | None:
        """The next head, if it is whole with these bytes.  Raises ProtocolError.

        A client that repeats itself gets the same ``Heard`` again, aimed at the path of now.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
            if self._seen and b"\n" not in data:
                check_open_line(buffer, self._head_limits)
                return None
            return self._read(buffer.decode("latin-1"), b"")
        heard = self._heard
        if heard is not None:
            if data == self._last:
                return heard
            target = repeated_target(data, self._repeat)
            if target:
                self._last = data
                heard.aim(target)
                return heard
        return self._read(data.decode("latin-1"), data)

    def _read(self, text: str, data: bytes) -> Heard | None:
        """``data`` is the whole text when the buffer holds nothing of it."""
        self.told = NOTHING_TOLD
        limits = self._head_limits
        head = parse(text, limits)
        if head is None:
            self._buffer += data
            self._seen = True
            return None
        method, target, minor, block, end = head
        lines = split_block(block, limits)
        fields = combine(lines)
        self.told = {
            **fields,
            "REQUEST_METHOD": method,
            "RAW_URI": target,
            "SERVER_PROTOCOL": f"HTTP/1.{minor}",
        }
        heard = Heard(method, target, minor, lines, fields)
        is_model = True
        if self._hosts and "HTTP_HOST" in fields and not host_is_allowed(fields["HTTP_HOST"], self._hosts):
            if heard.path not in self._probes or method not in ("GET", "HEAD"):
                raise ProtocolError(400, "a host that is not allowed (check_hosts)")
            is_model = False
        if heard.length:
            self._body = begin_body(heard.length, self._limits)
            self.whole = False
        self._seen = False
        if not data:
            del self._buffer[:end]
        elif end < len(text):
            self._buffer += data[end:]
        elif is_model and not heard.length and heard.path == target.partition("?")[0]:  # absolute ones change a field
            self._last, self._heard = data, heard
            self._repeat = repeat_of(data, method, target, limits)
        return heard

    def body(self, data: bytes, most: float = inf) -> list[bytes]:
        """Pieces of the body; ``whole`` is set with the last one.  Raises ProtocolError.

        With ``most`` steps at once (as in ``ChunkedBody.feed``) there may be a ``backlog``: ask again with b"".
        """
        body = self._body
        assert body is not None
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer.clear()
        pieces = body.feed(data, most)
        if body.done:
            self._buffer += body.rest
            self._body = None
            self.whole = True
        return pieces

    @property
    def backlog(self) -> bool:
        """Has ``body`` stopped before it had read all?"""
        return self._body is not None and self._body.backlog
