"""Knows which variables of the environment are from ./.env, so that a new generation gets what stands there now.

Frameworks read such files into the environment of the process that starts the server, and never overwrite what is
there: without this, what was read at the start would be inherited for ever.  Reading the file is their business; here
only plain lines NAME=VALUE are understood, quoted or not, and anything else stays as it was at the start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, MutableMapping

FILES = (".flaskenv", ".env")  # where both have a name, the second one counts

_match_line = re.compile(
    r"""[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*"""
    r"""(?:'([^']*)'|"([^"\\$]*)"|([^'"\s#$\\][^#$\\\n]*?|))[ \t]*(?:[ \t]\#.*)?"""
).fullmatch


def read_files(directory: str = ".") -> dict[str, str]:
    """The variables in the files of a directory; no files are an empty dict."""
    found: dict[str, str] = {}
    for name in FILES:
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                lines = file.read().splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in filter(None, map(_match_line, lines)):
            found[line[1]] = next((value for value in line.groups()[1:] if value is not None), "")
    return found


def names_in_force(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """The variables whose values are those of the files in the current directory."""
    return tuple(sorted(name for name, value in read_files().items() if environ.get(name) == value))


def renew(environ: MutableMapping[str, str], names: Iterable[str]) -> None:
    """Give these variables the values that the files have now; those that are gone from there, go."""
    now = read_files()
    for name in names:
        if name in now:
            environ[name] = now[name]
        else:
            environ.pop(name, None)
