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
import time
from collections import deque
from collections.abc import Callable

from server_core.errors import ConfigError
from server_core.exchange import Exchange
from server_core.logs import open_log_file

Atom = Callable[[Exchange], str]

# Everything that begins like an atom, so that a misspelt one is refused and not written as it stands.
_ATOM = re.compile(r"%\((?:\{([^}]+)\}([ioe])\)s|([^)]*)(\)s)?)")


def _user(exchange: Exchange) -> str:
    kind, _, value = str(exchange.environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if kind.lower() != "basic":
        return "-"
    try:
        return base64.b64decode(value, validate=True).decode("utf-8").partition(":")[0] or "-"
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "-"


def _environ(key: str, missing: str = "-") -> Atom:
    return lambda exchange: str(exchange.environ.get(key, "")) or missing


_method, _raw_uri, _protocol = _environ("REQUEST_METHOD"), _environ("RAW_URI"), _environ("SERVER_PROTOCOL")


def _request_line(exchange: Exchange) -> str:
    # Through the same readers as everything else: an application may have changed or deleted what it likes.
    return f"{_method(exchange)} {_raw_uri(exchange)} {_protocol(exchange)}"


class _Clock:
    """The time of an exchange as ``[23/Nov/2026:05:00:00 +0000]``, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, exchange: Exchange) -> str:
        second = int(exchange.ended)
        if second != self._second:
            self._text = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(second))
            self._second = second
        return self._text


#: Gunicorn's atoms: name -> what it means, how it is read
ATOMS: dict[str, tuple[str, Callable[[], Atom]]] = {
    "h": ("address of the client", lambda: _environ("REMOTE_ADDR")),
    "l": ("always -", lambda: lambda exchange: "-"),
    "u": ("user name of HTTP basic authentication", lambda: _user),
    "t": ("time at which the answer was complete", _Clock),
    "r": ("request line", lambda: _request_line),
    "m": ("method", lambda: _environ("REQUEST_METHOD")),
    "U": ("path of the URL, without the query", lambda: lambda exchange: _raw_uri(exchange).partition("?")[0]),
    "q": ("query", lambda: _environ("QUERY_STRING", "")),
    "H": ("protocol", lambda: _environ("SERVER_PROTOCOL")),
    "s": ("status code", lambda: lambda exchange: exchange.status[:3] or "-"),
    "B": ("bytes of body sent", lambda: lambda exchange: str(exchange.sent)),
    "b": ("bytes of body sent, - for none", lambda: lambda exchange: str(exchange.sent or "-")),
    "f": ("Referer field", lambda: _environ("HTTP_REFERER")),
    "a": ("User-Agent field", lambda: _environ("HTTP_USER_AGENT")),
    "T": ("time taken in whole seconds", lambda: lambda exchange: str(int(exchange.seconds))),
    "M": ("time taken in milliseconds", lambda: lambda exchange: str(int(exchange.seconds * 1000))),
    "D": ("time taken in microseconds", lambda: lambda exchange: str(int(exchange.seconds * 1000000))),
    "L": ("time taken in seconds, with decimals", lambda: lambda exchange: f"{exchange.seconds:.6f}"),
    "p": ("process id of the worker", lambda: lambda exchange: f"<{os.getpid()}>"),
}


def _named(name: str, kind: str) -> Atom:
    """``{name}i`` a request field, ``{name}o`` a response header, ``{name}e`` a key of the environ."""
    if kind == "e":
        return _environ(name)
    if kind == "i":
        key = name.upper().replace("-", "_")
        return _environ(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key)
    lower = name.lower()
    return lambda exchange: next((value for header, value in exchange.headers if header.lower() == lower), "-")


# What would break a quoted string, or a line: "\x7f-\x9f" because a terminal obeys some of them.
_unsafe = re.compile(r'["\\\x00-\x1f\x7f-\x9f]')


def _escape(found: re.Match[str]) -> str:
    return "\\" + found[0] if found[0] in '"\\' else f"\\x{ord(found[0]):02x}"


def compile_format(form: str, origin: str = "default") -> Callable[[Exchange], str]:
    """A function that makes the line of an exchange; raises ConfigError for an atom that does not exist."""
    template: list[str] = []
    atoms: list[Atom] = []
    position = 0
    for found in _ATOM.finditer(form):
        template.append(form[position : found.start()].replace("%", "%%") + "%s")
        if found[1] is not None:
            atoms.append(_named(found[1], found[2]))
        elif found[3] in ATOMS and found[4]:
            atoms.append(ATOMS[found[3]][1]())
        else:
            raise ConfigError(
                f"access_log_format: {found[0]} ({origin}) is no atom: there are "
                f"{', '.join(f'%({name})s' for name in ATOMS)}, and %({{name}}i)s, %({{name}}o)s, %({{name}}e)s for "
                "request fields, response headers and environ."
            )
        position = found.end()
    line = "".join(template) + form[position:].replace("%", "%%") + "\n"
    needs_escape = _unsafe.search

    def format_exchange(exchange: Exchange) -> str:
        values = [atom(exchange) for atom in atoms]
        if needs_escape("".join(values)):
            values = [_unsafe.sub(_escape, value) for value in values]
        return line % tuple(values)

    return format_exchange


class AccessLog:
    """Gathers lines with ``record`` and writes them with ``flush``."""

    def __init__(self, form: str, path: str | None, syslog: logging.Handler | None = None) -> None:
        self._format = compile_format(form)
        self._lines: deque[str] = deque()
        self._syslog = syslog
        self._descriptor = -1
        if path == "-":
            self._descriptor = 1
        elif path is not None:
            self._descriptor = open_log_file(path)

    def record(self, exchange: Exchange) -> None:
        """Take note of an exchange."""
        try:
            line = self._format(exchange)
        except Exception as error:  # the application may have put anything into the environ
            line = f"an exchange that cannot be told: {error!r}\n"
        self._lines.append(line)

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
            data = memoryview("".join(lines).encode("utf-8", "backslashreplace"))
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                pass  # a full disk must not stop the server
        if self._syslog is not None:
            for line in lines:
                self._syslog.emit(logging.LogRecord("access", logging.INFO, "", 0, line.rstrip("\n"), None, None))
