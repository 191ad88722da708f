"""Knows what can be shown of a failure: a sentence, and the exceptions with their places in the code, secrets hidden;
not how it is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server_core.reload.masking import Known, hide, secrets_in_text, secrets_of
from server_core.reload.sources import Line, Source, library_of, read_source
from server_core.reload.tracebacks import Failure, Frame, failures_in

#: of so many places of an exception, the innermost ones, the source is shown
MOST_SOURCES = 40
#: lines around a place
BEFORE, AFTER = 4, 3

# Things that can be read but not seen, or make what stands beside them look like something else.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


@dataclass(frozen=True)
class Place:
    """A frame as it is shown.  ``path`` is shorter than the file's, ``library`` is what it belongs to, "" for the
    application.  ``lines`` are those around it, none when the file cannot be read or has changed; ``here`` is the
    line itself, ``marks`` the part of it that is at fault."""

    frame: Frame
    path: str
    library: str
    lines: list[Line]
    here: Line | None
    marks: tuple[int, int] | None


@dataclass(frozen=True)
class Told:
    """An exception as it is shown; see ``Failure``."""

    message: str
    cause: bool | None
    places: list[Place]


@dataclass(frozen=True)
class Report:
    """A failure to boot: ``title`` is the application's, ``told`` is in the order of Python's tracebacks."""

    number: int
    title: str
    sentence: str
    told: list[Told]

    @property
    def lines(self) -> list[str]:
        """The traceback as Python would print it."""
        return [line for each in self.told for line in _printed(each)]


def report_of(title: str, sentence: str, details: str, number: int, environ: Mapping[str, str], folder: str) -> Report:
    """``details`` is a traceback; ``environ`` may hold secrets; paths are shown as seen from ``folder``.

    Reads the files that the traceback names.
    """
    failures = failures_in(details)
    libraries = {frame.file: library_of(frame.file) for failure in failures for frame in failure.frames}
    sources = {file: read_source(file) for file in libraries}
    values = secrets_of(environ)
    for file, source in sources.items():
        if source is not None and not libraries[file]:  # a library has no secrets, but words of all kinds
            values += source.values
    known = Known(values)

    def told(failure: Failure) -> Told:
        behind = len(failure.frames) - MOST_SOURCES
        places = [
            _place(frame, sources[frame.file] if index >= behind else None, libraries[frame.file], folder, known)
            for index, frame in enumerate(failure.frames)
        ]
        return Told(_without_secrets(failure.message, known), failure.cause, places)

    return Report(number, title, _without_secrets(sentence, known, title), [told(failure) for failure in failures])


def seen(text: str) -> str:
    """The text with what cannot be seen spelt as Python does, such as ``\\x1b``; tabs and line ends stay."""
    return _UNSEEN.sub(lambda match: ascii(match[0])[1:-1], text)


def _without_secrets(text: str, known: Known, title: str = "") -> str:
    """``title`` may be ``api:app``, which is not the value of a key."""
    plain = text.replace(title, "\0" * len(title), 1) if title else text
    return hide(text, [*secrets_in_text(plain), *known.ranges(plain)])


def _place(frame: Frame, source: Source | None, library: str, folder: str, known: Known) -> Place:
    path = frame.file
    inside = os.path.join(folder, "")
    if path.startswith(inside):
        path = path[len(inside) :]
    lines = source.lines(frame.line, BEFORE, AFTER, known) if source else []
    here = next((line for line in lines if line.number == frame.line), None)
    if here is not None and frame.code and here.raw.strip() != frame.code:  # it has changed since
        lines, here = [], None
    return Place(frame, path, library, lines, here, here.marks(frame.carets) if here and frame.carets else None)


def _printed(told: Told) -> Iterator[str]:
    if told.cause is not None:
        yield ""
        yield (
            "The above exception was the direct cause of the following exception:"
            if told.cause
            else "During handling of the above exception, another exception occurred:"
        )
        yield ""
    if told.places:
        yield "Traceback (most recent call last):"
    for place in told.places:
        frame = place.frame
        yield f'  File "{frame.file}", line {frame.line}' + (f", in {frame.function}" if frame.function else "")
        if place.here:
            indent = len(place.here.text) - len(place.here.text.lstrip())
            yield "    " + place.here.text[indent:].rstrip()
            if place.marks:
                yield "    " + carets(place.here.text, place.marks)[indent:]
        if frame.note:
            yield "  " + frame.note
    yield from told.message.split("\n")


def carets(text: str, marks: tuple[int, int]) -> str:
    """The line that marks a part of another one; its tabs are those of the other."""
    return re.sub(r"[^\t]", " ", text[: marks[0]]).ljust(marks[0]) + "^" * (marks[1] - marks[0])
