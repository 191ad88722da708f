"""Reads the lines around a place in a source file and hides the secrets in them; knows whose code a file is.

Only whole files are believed: what a single line shows, be it from a traceback, may be the inside of a secret.
"""

from __future__ import annotations

import io
import os
import re
import site
import stat
import sysconfig
import tokenize
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from server_core.reload.code_masking import Secrets
from server_core.reload.masking import MASK, Known, Range, merged

#: in bytes; nobody writes a larger one by hand
LARGEST = 1 << 20


@dataclass(frozen=True)
class Line:
    """A line of source as it can be shown; ``places[i]`` is where its i-th character is now, ``raw`` what it was."""

    number: int
    text: str
    raw: str
    places: list[int]

    def marks(self, carets: tuple[int, int]) -> tuple[int, int] | None:
        """A part of the line without its indentation -> that part in ``text``; None when there is none."""
        indent = len(self.raw) - len(self.raw.lstrip())
        last = len(self.raw)
        start, end = (self.places[min(place + indent, last)] for place in carets)
        return (start, max(end, start + 1)) if self.text else None


class Source:
    """A source file whose secrets have been found; ``values`` are these."""

    def __init__(self, text: str) -> None:
        """Lines of ``text`` end by a line feed alone."""
        self._text = text
        self._secrets = Secrets(text)
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._everywhere: list[Range] | None = None  # known secrets in the whole text, when it is broken
        self.values = self._secrets.values

    def lines(self, number: int, before: int, after: int, known: Known) -> list[Line]:
        """The line of this number, and so many around it, without empty ones at the edges; [] when it is not there."""
        if not 1 <= number <= len(self._starts):
            return []
        lines = [
            self._line(each, known)
            for each in range(max(number - before, 1), min(number + after, len(self._starts)) + 1)
        ]
        while lines[0].number < number and not lines[0].text.strip():
            del lines[0]
        while lines[-1].number > number and not lines[-1].text.strip():
            del lines[-1]
        return lines

    def _line(self, number: int, known: Known) -> Line:
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self._text)
        return _show(
            number, self._text[start:end], [(a - start, b - start) for a, b in self._hidden(start, end, known)]
        )

    def _hidden(self, start: int, end: int, known: Known) -> Iterable[Range]:
        """What is secret in this part: by its name, or because it is known, where it stands in a string or comment."""
        found = self._secrets.ranges[max(bisect_left(self._secrets.ranges, (start, start)) - 1, 0) :]
        ranges = []
        for each in found:
            if each[0] >= end:
                break
            ranges.append(each)
        if self._secrets.parses:
            for first, last in self._secrets.literals(start, end):
                ranges += [(a + first, b + first) for a, b in known.ranges(self._text[first:last])]
        else:
            if self._everywhere is None:
                self._everywhere = known.ranges(self._text)
            ranges += [(a, b) for a, b in self._everywhere if a < end and start < b]
        return merged((max(a, start), min(b, end)) for a, b in ranges)


def _show(number: int, raw: str, hidden: Iterable[Range]) -> Line:
    text, at = "", 0
    places: list[int] = []
    for start, end in hidden:
        places += range(len(text), len(text) + start - at)
        text += raw[at:start]
        places += [len(text)] * (end - start)
        text += MASK
        at = end
    places += range(len(text), len(text) + len(raw) - at + 1)
    return Line(number, text + raw[at:], raw, places)


def read_source(path: str) -> Source | None:
    """A Python file; None when it is none, or cannot be read, or is too large."""
    # What is named in a traceback need not be what it says: an exception's message may hold a forged one.
    if not path.endswith(".py"):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # waits for nobody at a named pipe
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(LARGEST + 1)
    except (OSError, ValueError):
        return None
    if len(data) > LARGEST:
        return None
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:  # which may be what is broken
        encoding = "utf-8"
    try:
        text = data.decode(encoding, "replace")
    except (LookupError, ValueError):
        return None
    return Source(text.replace("\r\n", "\n").replace("\r", "\n"))


# --- whose code is it?

_OURS = tuple(
    os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))), package, "")
    for package in ("server_core", "django_serve", "flask_serve")
)
_STANDARD = tuple({os.path.join(os.path.realpath(sysconfig.get_path(name)), "") for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({os.path.join(os.path.realpath(path), "") for path in site.getsitepackages()})
_PACKAGE = re.compile(r".*/(?:site|dist)-packages/([^/]+)", re.DOTALL)


def library_of(path: str) -> str:
    """What a file belongs to that is not the application's: a package, "Python" or "the server"; else ""."""
    if path.startswith("<"):  # <frozen importlib._bootstrap>; but <string> may be anybody's
        return "Python" if path.startswith("<frozen ") else ""
    real = os.path.realpath(path) if "\0" not in path else path
    for each in (path, real):
        installed = _PACKAGE.match(each)
        if installed:
            return installed[1].removesuffix(".py")
    for root in _INSTALLED:
        if real.startswith(root):
            return real[len(root) :].partition("/")[0].removesuffix(".py")
    if real.startswith(_OURS):
        return "the server"
    return "Python" if real.startswith(_STANDARD) else ""
