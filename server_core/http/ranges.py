"""Knows which bytes a Range field asks for (RFC 9110, section 14); does not know what they are, nor who sends them."""

from __future__ import annotations

import re

# The names of units have no case (RFC 9110, 14.1).  More digits than these are no position in any file.
_one_part = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE).fullmatch


def part_asked_for(field: str, size: int) -> range | None:
    """The positions of the bytes that the text ``field`` asks for, of a whole that has ``size`` bytes.

    Empty when there are none (416).  None for a field that is to be ignored (RFC 9110, 14.2): an invalid one, other
    units, and several parts, as nobody has to send these.
    """
    found = _one_part(field)
    if found is None:
        return None
    first, last = found.groups()
    if first:
        start = int(first)
        if last and int(last) < start:
            return None
        return range(start, min(int(last) + 1, size) if last else size)
    if not last or (size == 0 and int(last)):  # the end of nothing is there, but no Content-Range could say so
        return None
    return range(max(size - int(last), 0), size)
