"""Knows how a request head is spelt (RFC 9112, sections 2 to 5); what is accepted beyond spelling is policy's.

One compiled expression checks a whole head at once, a second one splits its field lines.  Both are deterministic (at
every position at most one branch can go on), so their time is linear in the input.  Only a head that they do not
match is looked at line by line, to say what is wrong with it or that it is not whole yet.
"""

from __future__ import annotations

import re

from server_core.errors import ProtocolError
from server_core.settings import Limits

# RFC 9110, 5.6.2: token.
TCHAR = r"!#$%&'*+.^_`|~0-9A-Za-z-"
# RFC 9112, 3.2: a target is made of visible ASCII; "#" begins a fragment, which is never sent (RFC 3986, 3.5).
TARGET_CHAR = r'!"$-~'
# RFC 9110, 5.5: visible ASCII, SP, HTAB and obs-text.  CR, LF, NUL and the other controls never are.
FIELD_VALUE = r"[\t -~\x80-\xff]*"

MAX_METHOD = 32
MAX_EMPTY_LINES = 4

_REQUEST_LINE = rf"([{TCHAR}]{{1,{MAX_METHOD}}}) ([{TARGET_CHAR}]+) HTTP/1\.([0-9])\r\n"
_FIELD_LINE = rf"[{TCHAR}]+:{FIELD_VALUE}\r\n"

match_head = re.compile(rf"{_REQUEST_LINE}((?:{_FIELD_LINE})*)\r\n").match
# On a block that match_head has passed: name, then the value without the white space round it (RFC 9112, 5.1).
_split_fields = re.compile(r"([^:\r\n]+):[ \t]*([^\r\n]*[^\r\n \t]|)[ \t]*\r\n").findall

_is_method = re.compile(rf"[{TCHAR}]{{1,{MAX_METHOD}}}").fullmatch
_is_target = re.compile(rf"[{TARGET_CHAR}]+").fullmatch
_is_path = re.compile(rf"/[{TARGET_CHAR}]*").fullmatch
_is_version = re.compile(r"HTTP/([0-9])\.([0-9])").fullmatch
_is_field_line = re.compile(rf"[{TCHAR}]+:{FIELD_VALUE}").fullmatch
_begins_with_method = re.compile(rf"[{TCHAR}]{{1,{MAX_METHOD}}} ").match
_may_begin = re.compile(rf"[{TCHAR}\r]").match

#: method, target, minor version, the block of field lines, length of the head in the buffer
Head = tuple[str, str, int, str, int]


class HeadLimits:
    """The limits of a head, with the one number that spares a small head from being measured line by line."""

    __slots__ = ("field", "fields", "head", "line", "small")

    def __init__(self, limits: Limits) -> None:
        self.line = limits.limit_request_line
        self.field = limits.limit_request_field_size
        self.fields = limits.limit_request_fields
        self.head = limits.limit_request_head
        self.small = min(self.line, self.field, self.head)


def parse(text: str, limits: HeadLimits) -> Head | None:
    """Read one request head from the beginning of ``text`` (latin-1 decoded bytes).

    Returns None while the head is not whole.  Raises ProtocolError for a head that can never become right: 400, 414,
    431 or 505.  Any way of cutting the same bytes gives the same result in the end.
    """
    found = match_head(text)
    if found is None or (end := found.end()) > limits.small:
        start = _judge(text, limits)
        if start is None:
            return None
        found = match_head(text, start)
        if found is None:  # the judge knows every reason why the expression does not match
            raise ProtocolError(400, "malformed head")
        end = found.end()
    method, target, minor, block = found.groups()
    return method, target, 0 if minor == "0" else 1, block, end


def split_block(block: str, limits: HeadLimits) -> list[tuple[str, str]]:
    """The field lines of a head that ``parse`` has passed, as (name, value).  Raises ProtocolError 431 for too many."""
    lines = _split_fields(block)
    if len(lines) > limits.fields:
        raise ProtocolError(431, f"more than {limits.fields} fields (limit_request_fields)")
    return lines


def _judge(text: str, limits: HeadLimits) -> int | None:
    """Go through a head line by line: where it starts when it is whole and right, None while it is not whole."""
    start = 0
    while text.startswith("\r\n", start):  # RFC 9112, 2.2: empty lines before the request line
        start += 2
    if start > 2 * MAX_EMPTY_LINES:
        raise ProtocolError(400, "too many empty lines before the request line")
    if not _may_begin(text, start):
        if start == len(text):
            return None
        raise ProtocolError(400, "the first byte cannot begin a request")
    position = start
    judge_line = _judge_request_line
    limit, status, setting = limits.line, 414, "limit_request_line"
    fields = 0
    while True:
        newline = text.find("\n", position)
        # Without the line's end, also when only the CR of it has come.
        end = newline if newline >= 0 else len(text)
        ends_in_cr = text.endswith("\r", position, end)
        length = end - ends_in_cr - position
        if length > limit:
            if position == start and not _begins_with_method(text, start):  # RFC 9112, 3: 414 is for targets
                raise ProtocolError(400, "the method is not a token")
            raise ProtocolError(status, f"a line of more than {limit} bytes ({setting})")
        if position + length - start > limits.head:
            raise ProtocolError(431, f"a head of more than {limits.head} bytes (limit_request_head)")
        if newline < 0:
            return None
        if not ends_in_cr:
            raise ProtocolError(400, "a line that does not end in CR LF")
        if not length and position > start:
            return start
        judge_line(text[position : newline - 1])
        if position > start:
            fields += 1
            if fields > limits.fields:
                raise ProtocolError(431, f"more than {limits.fields} fields (limit_request_fields)")
        judge_line = _judge_field_line
        limit, status, setting = limits.field, 431, "limit_request_field_size"
        position = newline + 1


def _judge_request_line(line: str) -> None:
    parts = line.split(" ")
    if len(parts) != 3:
        raise ProtocolError(400, "a request line is method, target and version with one space between")
    method, target, version = parts
    if not _is_method(method):
        raise ProtocolError(400, "the method is not a token")
    found = _is_version(version)
    if found is None:
        raise ProtocolError(400, "the version is not HTTP/1.0 or HTTP/1.1")
    if found[1] != "1":
        raise ProtocolError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if not _is_target(target):
        raise ProtocolError(400, "a character that cannot stand in a target")


def _judge_field_line(line: str) -> None:
    if not _is_field_line(line):
        raise ProtocolError(400, "a field line that is not a name, a colon and a value")


#: what of a head is the same as in an earlier one: its bytes up to the target, those behind it, room for the target
Repeat = tuple[bytes, bytes, int]
NO_REPEAT: Repeat = (b"\n", b"\n", 0)


def repeat_of(data: bytes, method: str, target: str, limits: HeadLimits) -> Repeat:
    """What a further head has in common with ``data``, one whole head that was parsed, if only its target differs."""
    prefix = method.encode("ascii") + b" "
    if not data.startswith(prefix):  # empty lines came first
        return NO_REPEAT
    suffix = data[len(prefix) + len(target) :]
    line = limits.line - len(prefix) - len(" HTTP/1.1")
    head = limits.head - len(prefix) - len(suffix) + len("\r\n")
    return prefix, suffix, min(line, head)


def repeated_target(data: bytes, repeat: Repeat) -> str:
    """The target, a path, of a head that differs from an earlier one in nothing else; "" when it is no such head.

    Most clients repeat method and fields word for word on a kept connection, and need not have them parsed again.
    """
    prefix, suffix, room = repeat
    if data.endswith(suffix) and data.startswith(prefix):
        target = data[len(prefix) : -len(suffix)].decode("latin-1")
        if len(target) <= room and _is_path(target):
            return target
    return ""


def check_open_line(buffer: bytearray, limits: HeadLimits) -> None:
    """Refuse an unfinished head whose last, open line is too long already; costs no more than that line.

    For a connection that drips: the head is parsed again only when a line has ended, so that reading it byte by byte
    stays linear.  Raises ProtocolError 414 or 431, or 400 when the first byte cannot begin a request.
    """
    open_line = buffer.rfind(b"\n") + 1
    length = len(buffer) - open_line
    # A request line is longer than that: only empty lines came before.
    misbegun = length > 0 and open_line <= 2 * MAX_EMPTY_LINES and not _may_begin(chr(buffer[open_line]))
    if misbegun or length > limits.small or len(buffer) > limits.head:
        _judge(buffer.decode("latin-1"), limits)
