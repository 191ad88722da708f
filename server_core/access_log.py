"""Writes a line for each exchange in the format that was asked for; knows the atoms, and nothing of the engine.

The format is compiled once.  Lines are gathered and written together once a turn, so that a request never pays for a
system call of its own.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any

from server_core.console import local_time, request_line, wants_color
from server_core.errors import ConfigError
from server_core.exchange import Exchange
from server_core.logs import follow, open_log_file

# Everything that begins like an atom, so that a misspelt one is refused and not written as it stands.
_ATOM = re.compile(r"%\((?:\{([^}]+)\}([ioe])\)s|([^)]*)(\)s)?)")


def _user(environ: dict[str, Any]) -> str:
    kind, _, value = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if kind.lower() != "basic":
        return "-"
    try:
        return base64.b64decode(value, validate=True).decode("utf-8").partition(":")[0] or "-"
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "-"


class _Clock:
    """The time of an exchange as ``[23/Nov/2026:05:00:00 +0000]``, made once a second."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        self._zone = zone
        self._second = -1
        self._text = ""

    def __call__(self, ended: float) -> str:
        second = int(ended)
        if second != self._second:
            self._text = local_time(second, self._zone, "[%d/%b/%Y:%H:%M:%S %z]")
            self._second = second
        return self._text


def _header(headers: list[tuple[str, str]], lower: str) -> str:
    return next((value for name, value in headers if name.lower() == lower), "-")


def _environ(key: str, missing: str = "-") -> str:
    return f"get({key!r}) or {missing!r}"


_METHOD, _RAW_URI, _PROTOCOL = _environ("REQUEST_METHOD"), _environ("RAW_URI"), _environ("SERVER_PROTOCOL")

#: Gunicorn's atoms: name -> what it means, and how it is read: Python, in which the parts of an ``Exchange`` have their
#: names, and ``get`` is that of its environ
ATOMS: dict[str, tuple[str, str]] = {
    "h": ("address of the client", _environ("REMOTE_ADDR")),
    "l": ("always -", "'-'"),
    "u": ("user name of HTTP basic authentication", "'-' if 'HTTP_AUTHORIZATION' not in environ else user(environ)"),
    "t": ("time at which the answer was complete", "clock(ended)"),
    "r": ("request line", f"'%s %s %s' % ({_METHOD}, {_RAW_URI}, {_PROTOCOL})"),
    "m": ("method", _METHOD),
    "U": ("path of the URL, without the query", f"str({_RAW_URI}).partition('?')[0]"),
    "q": ("query", _environ("QUERY_STRING", "")),
    "H": ("protocol", _PROTOCOL),
    "s": ("status code", "status[:3] or '-'"),
    "B": ("bytes of body sent", "sent"),
    "b": ("bytes of body sent, - for none", "sent or '-'"),
    "f": ("Referer field", _environ("HTTP_REFERER")),
    "a": ("User-Agent field", _environ("HTTP_USER_AGENT")),
    "T": ("time taken in whole seconds", "int(seconds)"),
    "M": ("time taken in milliseconds", "int(seconds * 1000)"),
    "D": ("time taken in microseconds", "int(seconds * 1000000)"),
    "L": ("time taken in seconds, with decimals", "format(seconds, '.6f')"),
    "p": ("process id of the worker", "f'<{getpid()}>'"),
}


def _named(name: str, kind: str) -> str:
    """``{name}i`` a request field, ``{name}o`` a response header, ``{name}e`` a key of the environ."""
    if kind == "e":
        return f"str(get({name!r}, '')) or '-'"  # False and 0 are something there
    if kind == "i":
        key = name.upper().replace("-", "_")
        return _environ(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key)
    return f"header(headers, {name.lower()!r})"


# What would break a quoted string, or a line: "\x7f-\x9f" because a terminal obeys some of them.  All but the first two
# are not printable.
_unsafe = re.compile(r'["\\\x00-\x1f\x7f-\x9f]')


def _escape(found: re.Match[str]) -> str:
    return "\\" + found[0] if found[0] in '"\\' else f"\\x{ord(found[0]):02x}"


#: a format for people, who get a line of its own making
DEVELOPMENT_FORMAT = "dev"


def compile_format(
    form: str, origin: str = "default", zone: tzinfo | None = None, color: bool = False
) -> Callable[[Exchange], str]:
    """A function that makes the line of an exchange; raises ConfigError for an atom that does not exist.

    ``zone`` is that of its times, None the system's.
    """
    if form == DEVELOPMENT_FORMAT:
        return request_line(color, zone)
    template: list[str] = []
    atoms: list[str] = []
    position = 0
    for found in _ATOM.finditer(form):
        template.append(form[position : found.start()].replace("%", "%%") + "%s")
        if found[1] is not None:
            atoms.append(_named(found[1], found[2]))
        elif found[3] in ATOMS and found[4]:
            atoms.append(ATOMS[found[3]][1])
        else:
            raise ConfigError(
                f"access_log_format: {found[0]} ({origin}) is no atom: there are "
                f"{', '.join(f'%({name})s' for name in ATOMS)}, and %({{name}}i)s, %({{name}}o)s, %({{name}}e)s for "
                "request fields, response headers and environ."
            )
        position = found.end()
    return _compile("".join(template) + form[position:].replace("%", "%%"), atoms, zone)


def _compile(form: str, atoms: list[str], zone: tzinfo | None) -> Callable[[Exchange], str]:
    # As one function, because a call for each atom would be a third of what a small request costs.  Only what is in
    # ATOMS and names in quotes get into its text.  Nearly all lines need no escape, and the quickest way to see it is
    # that they have no more quotes than the format; where the format itself has something of the kind, all are checked.
    values = f"({''.join(f'{atom}, ' for atom in atoms)})"
    text = f"""
def format_exchange(exchange):
    environ, status, headers, sent, ended, seconds = exchange
    get = environ.get
    line = {form!r} % {values}
    if line.isprintable() and line.count('"') == quotes and '\\\\' not in line:
        return line
    return {form!r} % tuple([escape(str(value)) for value in {values}])
"""
    known: dict[str, Any] = {
        "quotes": form.count('"'),
        "escape": lambda value: _unsafe.sub(_escape, value),
        "user": _user,
        "header": _header,
        "clock": _Clock(zone),
        "getpid": os.getpid,
    }
    exec(text, known)
    made: Callable[[Exchange], str] = known["format_exchange"]
    return made


class AccessLog:
    """Gathers lines with ``record`` and writes them with ``flush``."""

    def __init__(
        self,
        form: str,
        path: str | None,
        handlers: Sequence[logging.Handler] = (),
        zone: tzinfo | None = None,
        color: str = "never",
    ) -> None:
        """``path`` "-" is standard output; ``zone`` and ``color`` are the settings log_timezone and color."""
        colored = color == "always" or (color == "auto" and path == "-" and wants_color(1))
        self._format = compile_format(form, zone=zone, color=colored)
        self._lines: deque[str] = deque()
        self._handlers = handlers
        self._descriptor = -1
        self._path = ""
        if path == "-":
            self._descriptor = 1
        elif path is not None:
            self._descriptor = open_log_file(path)
            self._path = os.path.abspath(path)  # the application may change the directory

    def record(self, exchange: Exchange) -> None:
        """Take note of an exchange."""
        try:
            line = self._format(exchange)
        except Exception as error:  # the application may have put anything into the environ
            line = f"an exchange that cannot be told: {type(error).__name__}"
        self._lines.append(line)

    def reopen(self) -> None:
        """Go on in the file that has the log's name now.  Raises OSError, and then nothing has changed."""
        if self._path:
            follow(self._descriptor, self._path)

    def flush(self) -> None:
        """Write what was noted since the last time, in one piece."""
        if not self._lines:
            return
        lines = []
        try:
            while True:
                lines.append(self._lines.popleft())
        except IndexError:  # several threads may be here: each line goes to one of them
            pass
        if self._descriptor >= 0:
            data = memoryview("\n".join([*lines, ""]).encode("utf-8", "backslashreplace"))
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                pass  # a full disk must not stop the server
        for handler in self._handlers:
            for line in lines:
                handler.handle(logging.LogRecord("access", logging.INFO, "", 0, line, None, None))
