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
from dataclasses import dataclass

from server_core.reload.code_masking import Secrets
from server_core.reload.masking import MASK, Known, Range, hide, merged

#: in bytes; nobody writes a larger one by hand
LARGEST = 1 << 19
_NEAR = 5000


@dataclass(frozen=True)
class Line:
    """A line of source: ``raw`` as it is, and what is ``hidden`` of it, in order."""

    number: int
    raw: str
    hidden: list[Range]

    @property
    def text(self) -> str:
        """The line as it can be shown."""
        return hide(self.raw, self.hidden)

    def marks(self, carets: tuple[int, int]) -> tuple[int, int] | None:
        """A part of the line without its indentation -> that part in ``text``; None when there is none."""
        indent = len(self.raw) - len(self.raw.lstrip())
        start, end = (self._place(min(place + indent, len(self.raw))) for place in carets)
        return (start, max(end, start + 1)) if self.raw else None

    def _place(self, at: int) -> int:
        """Where the character at ``at`` is in ``text``: that of a secret, at its beginning."""
        moved = 0
        for start, end in self.hidden:
            if at < end:
                return min(at, start) + moved
            moved += len(MASK) - (end - start)
        return at + moved


class Source:
    """A source file whose secrets have been found; ``values`` are these."""

    def __init__(self, text: str) -> None:
        """Lines of ``text`` end by a line feed alone."""
        secrets = Secrets(text)
        self.values = secrets.values
        self._text = text
        self._ranges = secrets.ranges
        self._ends = [match.start() for match in re.finditer(r"\n|\Z", text)]

    def lines(self, number: int, before: int, after: int, known: Known) -> list[Line]:
        """The line of this number, and so many around it, without empty ones at the edges; [] when it is not there."""
        if not 1 <= number <= len(self._ends):
            return []
        first = max(number - before, 1)
        ends = self._ends[first - 1 : number + after]
        start = self._ends[first - 2] + 1 if first > 1 else 0
        near = max(start - _NEAR, 0)  # of a known secret that has several lines, not all need be shown
        ranges = self._ranges + [(a + near, b + near) for a, b in known.ranges(self._text[near : ends[-1] + _NEAR])]
        ranges = [(a, b) for a, b in ranges if a < ends[-1] and start < b]
        lines = []
        for each, end in enumerate(ends, first):
            hidden = merged((max(a, start) - start, min(b, end) - start) for a, b in ranges)
            lines.append(Line(each, self._text[start:end], hidden))
            start = end + 1
        while lines[0].number < number and not lines[0].raw.strip():
            del lines[0]
        while lines[-1].number > number and not lines[-1].raw.strip():
            del lines[-1]
        return lines


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
