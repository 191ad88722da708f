"""Knows how an answer is spelt (RFC 9112, section 4; RFC 9110) and refuses what must never be sent.

Header lines that an application repeats (nearly all) are checked and encoded once and then remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone

from server_core.http.head import FIELD_VALUE, TCHAR

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: the status line of an interim answer, which header lines and an empty line follow (RFC 8297)
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\n"
CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"

# What a header line is besides itself; PLAIN lines need no further thought.
PLAIN, LENGTH, DATE, SERVER, ASKS_CLOSE, DROPPED = range(6)
Line = tuple[bytes, int]

_is_status = re.compile(rf"[2-5][0-9]{{2}}(?: {FIELD_VALUE})?").fullmatch
# What an application that answers so would need instead.
_INTERIM = {
    "101": "a WSGI application cannot change the protocol (PEP 3333): websockets need an ASGI application and "
    "worker_class asgi, or one of tornado's and worker_class tornado",
    "103": "early hints are sent by environ['wsgi.early_hints']",
}
_is_name = re.compile(rf"[{TCHAR}]+").fullmatch
_is_value = re.compile(FIELD_VALUE).fullmatch
_is_length = re.compile(r"[0-9]{1,19}").fullmatch
_is_protocol = re.compile(rf"[{TCHAR}]+(?:/[{TCHAR}]+)?").fullmatch

# PEP 3333, "Other HTTP Features": hop-by-hop fields are the server's.  Connection and Keep-Alive are spelt by many
# an application out of habit and lose nothing when we say it ourselves; the others would change framing or protocol.
_REFUSED = frozenset(
    {"transfer-encoding", "te", "trailer", "trailers", "upgrade", "proxy-authenticate", "proxy-authorization"}
)
_KINDS = {
    "content-length": LENGTH,
    "date": DATE,
    "server": SERVER,
    "keep-alive": DROPPED,
    "proxy-connection": DROPPED,
}

_MAX_KNOWN = 1024
_MAX_KNOWN_VALUE = 128


class _StatusLines(dict[str, bytes]):
    """WSGI status such as ``"200 OK"`` -> status line.

    Raises TypeError or ValueError for what is no final status (RFC 9110, 15: 1xx is never an application's answer).
    """

    def __missing__(self, status: str) -> bytes:
        if type(status) is not str:
            raise TypeError(f"a status is a str, not {type(status).__name__}")
        if not _is_status(status):
            if (instead := _INTERIM.get(status[:3])) is not None:
                raise ValueError(f"{status!r} is no status of an answer: {instead}")
            raise ValueError(f"{status!r} is no status: three digits from 200 to 599, a space and a reason")
        # RFC 9112, 4: the space is there even when the reason is not.
        line = f"HTTP/1.1 {status}{' ' * (len(status) == 3)}\r\n".encode("latin-1")
        if len(self) < _MAX_KNOWN:
            self[status] = line
        return line


class _HeaderLines(dict[tuple[str, str], Line]):
    """A response header, (name, value) -> its line as bytes, and its kind.

    Raises TypeError for what is no pair of str, ValueError for what must not be sent: CR, LF, NUL, characters beyond
    latin-1, a hop-by-hop name, a Content-Length that is no number.
    """

    def __missing__(self, header: tuple[str, str]) -> Line:
        name, value = header
        if type(name) is not str or type(value) is not str:
            raise TypeError(f"a header is two str, not {type(name).__name__} and {type(value).__name__}")
        if not _is_name(name):
            raise ValueError(f"{name!r} is no header name")
        if not _is_value(value):
            raise ValueError(f"header {name} has a character that cannot be sent: {value!r}")
        lower = name.lower()
        if lower in _REFUSED:
            raise ValueError(f"header {name} is hop-by-hop and the server's own (PEP 3333)")
        kind = _KINDS.get(lower, PLAIN)
        if kind == LENGTH and not _is_length(value):
            raise ValueError(f"Content-Length {value!r} is no number")
        if lower == "connection":
            kind = ASKS_CLOSE if value.strip().lower() == "close" else DROPPED
        line = (f"{name}: {value}\r\n".encode("latin-1"), kind)
        # A cookie is said once and to one client: it would only push out what is said often.
        if len(value) <= _MAX_KNOWN_VALUE and lower != "set-cookie":
            if len(self) >= _MAX_KNOWN:
                self.clear()
            self[header] = line
        return line


STATUS_LINES = _StatusLines()
HEADER_LINES = _HeaderLines()


def switching(protocol: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The lines of an answer 101, after which the connection speaks ``protocol`` (RFC 9110, 15.2.2 and 7.8).

    What ``headers`` say of length and connection is left out.  Raises TypeError and ValueError for what must not be
    sent.
    """
    if not _is_protocol(protocol):
        raise ValueError(f"{protocol!r} in the header Upgrade is no protocol")
    lines = [line for line, kind in map(HEADER_LINES.__getitem__, headers) if kind in (PLAIN, DATE, SERVER)]
    first = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n"
    return b"".join((first.encode("ascii"), *lines))


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """Seconds since the epoch as an IMF-fixdate (RFC 9110, 5.6.7), whatever the locale."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02d} {month} {moment.year} {moment:%H:%M:%S} GMT"
