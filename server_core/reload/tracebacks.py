"""Reads a traceback that came as text: which exceptions, where, in which order; reads no files and hides nothing.

The source lines in the text are kept only to be compared with the files: what stands around a line, and so whether a
secret is in it, cannot be seen here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEADER = re.compile(r"(?:Exception Group )?Traceback \(most recent call last\):")
_FRAME = re.compile(r'  File "(.*)", line (\d{1,9})(?:, in (.*))?')
_REPEATED = re.compile(r"  (\[Previous line repeated \d+ more times?\])")
_CARETS = re.compile(r"\s+~*(\^+)[~^]*\s*|\s+(~+)\s*")
#: a line that stands for others
CUT = "..."
#: the sentence that Python puts between two exceptions -> does the second have the first as its cause?
_LINKS = {
    "The above exception was the direct cause of the following exception:": True,
    "During handling of the above exception, another exception occurred:": False,
}
# What an exception group draws before each line, and between its parts.
_MARGIN = re.compile(r"(?m)^ *(?:\| ?|\+ (?=Exception Group)|\+-[-+ \w.]*$)")


@dataclass
class Frame:
    """A place in a file.  ``function`` is "" for the place of a SyntaxError, ``note`` what Python remarks below.

    ``code`` is the source line without the space around it, "" when the text has none; ``carets`` is what is marked in
    it, as its first character and the one behind its last.
    """

    file: str
    line: int
    function: str
    code: str = ""
    carets: tuple[int, int] | None = None
    note: str = ""


@dataclass
class Failure:
    """One exception: ``frames`` with the innermost last, ``message`` with its type.

    ``cause``: is the failure before this one in the text its cause (``raise ... from``), or was this one raised while
    that one was handled (False)?  None when the text does not say.
    """

    frames: list[Frame] = field(default_factory=list)
    message: str = ""
    cause: bool | None = None


def failures_in(details: str) -> list[Failure]:
    """The exceptions in a text of ``traceback.format_exception``, in its order: the last one is what was raised."""
    if "Exception Group Traceback" in details:
        details = _MARGIN.sub("", details)
    failures: list[Failure] = []
    failure, message, code = Failure(), [], []  # type: Failure, list[str], list[str]
    in_frames = after_cut = False

    def end_frame() -> None:
        if failure.frames and code:
            failure.frames[-1].code = code[0].strip()
            failure.frames[-1].carets = _carets(code)
        code.clear()

    def end_failure() -> None:
        nonlocal failure
        end_frame()
        lines = "\n".join(message).strip("\n").split("\n")
        cause = _LINKS.get(lines[-1])
        failure.message = "\n".join(lines if cause is None else lines[:-1]).strip("\n")
        if failure.message or failure.frames:
            failures.append(failure)
        failure = Failure(cause=cause)
        message.clear()

    for line in details.split("\n"):
        if after_cut:  # it may be the rest of a line, of which kind is not known
            after_cut = False
        elif line == CUT:
            end_frame()
            in_frames = after_cut = True
        elif _HEADER.fullmatch(line):
            end_failure()
            in_frames = True
        elif not in_frames:
            message.append(line)
        elif found := _FRAME.fullmatch(line):
            if message:
                end_failure()
            end_frame()
            failure.frames.append(Frame(found[1], int(found[2]), found[3] or ""))
        elif line.startswith("    "):
            code.append(line[4:])
        elif found := _REPEATED.fullmatch(line):
            end_frame()
            if failure.frames:
                failure.frames[-1].note = found[1]
        elif line.strip() and not line[0].isspace():
            end_frame()
            message.append(line)
            in_frames = False
    end_failure()
    return failures


def _carets(code: list[str]) -> tuple[int, int] | None:
    """Which part of the first line the second one marks."""
    found = _CARETS.fullmatch("  " + code[1]) if len(code) > 1 else None
    if found is None:
        return None
    start, end = found.span(1 if found[1] else 2)
    before = len(code[0]) - len(code[0].lstrip()) + 2
    return max(start - before, 0), max(end - before, 0)
