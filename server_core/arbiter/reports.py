"""What a child says on its pipe: lines of JSON, and faulthandler's raw text when it dies; not what is done then."""

from __future__ import annotations

import json
import os
from typing import Any

Message = dict[str, Any]

#: all that can be said; numbers are those of processes and slots, wait statuses and counts
FORMS: tuple[dict[str, type], ...] = (
    {"imported": bool},
    {"failed": str, "details": str},
    {"forked": int, "slot": int},
    {"unforked": int, "why": str},
    {"exited": int, "status": int},
    {"ready": int},
    {"recycle": int},
    {"finding": str},
    {"place": str, "pattern": str},
    {"stale": str, "number": int},
)

#: a child may be in the hands of an attacker, and must not keep the arbiter busy or fill its memory
MOST_AT_ONCE = 1 << 17
MOST_LAST_WORDS = 1 << 18
LARGEST_NUMBER = (1 << 31) - 1


def parse_message(line: bytes) -> Message | None:
    """A line as a message, None when it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if type(message) is not dict or {key: type(value) for key, value in message.items()} not in FORMS:
        return None
    numbers = [value for value in message.values() if type(value) is int]
    return message if all(0 <= number <= LARGEST_NUMBER for number in numbers) else None


class Reports:
    """Our end of what a child says; to a worker, something can be said in return.

    ``closed`` is set when the child (and everyone it forked) has let go of the other end; ``last_words`` is the text
    that is no message: the stacks of all threads, when the child was killed for being silent or by a fault.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.closed = False
        self.last_words = ""
        self._buffer = b""

    def read(self) -> list[Message]:
        """The messages that have come; never waits."""
        if self.closed:
            return []
        while len(self._buffer) < MOST_AT_ONCE:
            try:
                data = os.read(self.descriptor, 65536)
            except BlockingIOError:
                break
            except ConnectionResetError:  # it died before it had read all that we told it
                data = b""
            if not data:
                self.close()
                self._buffer += b"\n"  # ends a line that was cut short
                break
            self._buffer += data
        if len(self._buffer) >= MOST_AT_ONCE:
            self._buffer += b"\n"  # no message is that long
        *lines, self._buffer = self._buffer.split(b"\n")
        messages: list[Message] = []
        others: list[bytes] = []
        for line in filter(None, lines):
            message = parse_message(line)
            if message is not None:
                messages.append(message)
            else:
                others.append(line + b"\n")
        if others:
            self.last_words = (self.last_words + b"".join(others).decode("utf-8", "replace"))[-MOST_LAST_WORDS:]
        return messages

    def send(self, **message: object) -> bool:
        """Tell a worker something, as a line of JSON; False when it cannot take it now.  Never waits."""
        data = json.dumps(message).encode("ascii") + b"\n"
        try:
            return not self.closed and os.write(self.descriptor, data) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        """Listen no more."""
        if not self.closed:
            self.closed = True
            os.close(self.descriptor)
