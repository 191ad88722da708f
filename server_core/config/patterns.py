"""Knows how a pattern for files is written and which paths it means; looks at no file system.

The language is that of .gitignore without its ``!`` and backslashes.  A name without a slash means files and
directories of that name anywhere: ``*.txt``, ``docs``.  A slash at the end leaves only directories: ``docs/``.  With a
slash elsewhere it is a path: ``data/*.json``, ``./docs/``, ``/srv/shared/**/*.json``.  A directory means all that is in
it.  ``*`` and ``?`` stand for any characters of one name, ``[ab]`` for one of these, ``**`` for any directories.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_WILDCARDS = re.compile(r"[*?[]")
_BRACKETS = re.compile(r"\[(!?)(\][^]]*|[^]]+)\]")


@dataclass(frozen=True)
class Pattern:
    """A pattern in parts: ``parts`` are its names, ``base`` is "" for one that means a name anywhere.

    Otherwise ``base`` says from where the path leads: "/" from the root of the file system, "." from the project (the
    working directory or a directory that is watched), ".." and "../.." from above the working directory.
    """

    parts: tuple[str, ...]
    base: str = ""
    only_directories: bool = False


def parse_pattern(text: str) -> Pattern:
    """Read one pattern; raises ValueError with a phrase that completes "such a text ..."."""
    _refuse_strangers(text)
    base, rest = "", text
    if text.startswith("/"):
        base = "/"
    elif text.startswith(("./", "../")) or "/" in text.rstrip("/"):
        above = re.match(r"(\.{1,2}/+)*", text)
        assert above is not None
        rest = text[above.end() :]
        base = "/".join(part for part in above[0].split("/") if part == "..") or "."
    parts = tuple(part for part in rest.split("/") if part not in ("", "."))
    if not parts or parts == ("..",):
        raise ValueError("names no file: write ./** for all that is in a directory")
    if ".." in parts:
        raise ValueError("has .. after a name: it can only stand at the beginning")
    if any("**" in part and part != "**" for part in parts):
        raise ValueError("has ** beside other characters of a name: write **/*.txt")
    return Pattern(parts, base, only_directories=text.endswith("/"))


def _refuse_strangers(text: str) -> None:
    """What other languages of patterns know, or what is not whole, would silently mean something else here."""
    outside = _BRACKETS.sub("", text)
    if "[" in outside:
        raise ValueError("has a [ without its ]: write [[] for a bracket itself")
    if "/" in "".join(one[0] for one in _BRACKETS.finditer(text)):
        raise ValueError("has a / in brackets, which stand for one character of a name")
    if "{" in outside or "}" in outside:
        raise ValueError("has braces: write a pattern for each alternative, and [{] for a brace itself")
    if "\\" in text:
        raise ValueError("has a backslash: directories are separated by /, and [*] means a * itself")
    if text.startswith("~/"):
        raise ValueError("begins with ~, which only a shell knows: write the whole path")
    if text.startswith("!"):
        raise ValueError("begins with a !: what is not to be watched is said by reload_exclude")


def literal_head(parts: Iterable[str]) -> tuple[str, ...]:
    """The names before the first one with a wildcard."""
    head: list[str] = []
    for part in parts:
        if _WILDCARDS.search(part):
            break
        head.append(part)
    return tuple(head)


def expression(parts: Iterable[str], *, hidden: bool) -> str:
    """A regular expression for the path that these names make, without a slash in front.

    A wildcard stands for the dot at the beginning of a hidden name only with ``hidden``.  Nothing is refused here: what
    is not well formed means itself.
    """
    dot = "" if hidden else r"(?!\.)"
    *directories, last = parts
    written = [rf"(?:{dot}[^/]+/)*" if part == "**" else f"{_name(part, dot)}/" for part in directories]
    # At the end ** means all that is inside.
    written.append(rf"(?:{dot}[^/]+/)*{dot}[^/]+" if last == "**" else _name(last, dot))
    return "".join(written)


def _name(part: str, dot: str) -> str:
    written = [] if part.startswith(".") else [dot]
    place = 0
    while place < len(part):
        character = part[place]
        place += 1
        if character == "*":
            written.append("[^/]*")
        elif character == "?":
            written.append("[^/]")
        elif character == "[" and (one := _BRACKETS.match(part, place - 1)):
            written.append(f"(?!/)[{'^' if one[1] else ''}{_members(one[2])}]")
            place = one.end()
        else:
            written.append(re.escape(character))
    return "".join(written)


def _members(text: str) -> str:
    """What stands between brackets, for a regular expression: ranges as they are, all else escaped."""
    written = []
    place = 0
    while place < len(text):
        first, last = text[place], text[place + 2 : place + 3]
        if last and text[place + 1] == "-" and first <= last:
            written.append(f"{re.escape(first)}-{re.escape(last)}")
            place += 3
        else:
            written.append(re.escape(first))
            place += 1
    return "".join(written)
