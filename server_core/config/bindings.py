"""Knows how an address to listen on is written; does not know whether it can be bound.

An address as written is a binding, an open socket is a listener: this file never opens one.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

#: of an address that names none, by what it says of itself
DEFAULT_PORTS = {"": 8000, "http": 80, "https": 443}

_EXAMPLES = "write 127.0.0.1:8000, [::1]:8000, unix:/run/app.sock or fd://3"
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_ONLY_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Binding:
    """An address to listen on, as written.

    ``kind`` tells which of the other fields count: ``host`` and ``port`` for "tcp" (port 0 lets the machine choose),
    ``path`` for "unix" (a leading ``@`` means a name in Linux's abstract namespace, not a file), ``fd`` for "fd" (a
    socket that was inherited open, as systemd hands them down).  ``scheme`` is "http" or "https" if the address says so
    itself, else "".  ``str()`` gives the canonical spelling.
    """

    kind: Literal["tcp", "unix", "fd"]
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    scheme: str = ""

    @property
    def is_abstract(self) -> bool:
        """True for a unix binding that is a name in Linux's abstract namespace and leaves no file."""
        return self.path.startswith("@")

    def __str__(self) -> str:
        begin = f"{self.scheme}://" if self.scheme else ""
        if self.kind == "unix":
            return f"{begin}unix:{self.path}"
        if self.kind == "fd":
            return f"{begin}fd://{self.fd}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{begin}{host}:{self.port}"


def parse_binding(text: str) -> Binding:
    """Read one address; raises ValueError with a phrase that completes "such a text ..."."""
    text, scheme = text.strip(), ""
    for each in ("http", "https"):
        if text.startswith(f"{each}://"):
            text, scheme = text.removeprefix(f"{each}://"), each
            break
    if text.startswith("unix:"):
        return Binding("unix", path=_unix_path(text.removeprefix("unix:")), scheme=scheme)
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        # More digits than these are no descriptor on any system, and int() of a very long text is slow.
        if not _ONLY_DIGITS.fullmatch(number) or len(number) > 9:
            raise ValueError("has no descriptor number after fd://: write fd://3")
        return Binding("fd", fd=int(number), scheme=scheme)
    if scheme:
        text = text.removesuffix("/")  # of a URL that was copied
    host, port = _split_port(text.removeprefix("tcp://"), DEFAULT_PORTS[scheme])
    return Binding("tcp", host=host, port=port, scheme=scheme)


def _unix_path(written: str) -> str:
    # Gunicorn also takes unix:///run/app.sock, as in a URL.
    path = written.removeprefix("//")
    if path in ("", "@") or "\0" in path:
        raise ValueError("has no path after unix: - write unix:/run/app.sock")
    return path


def _split_port(text: str, default: int) -> tuple[str, int]:
    if _ONLY_DIGITS.fullmatch(text):
        return "127.0.0.1", _port(text)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"is not an address: {_EXAMPLES}")
        return _ipv6(host), _port(rest[1:]) if rest else default
    if text.count(":") > 1:
        raise ValueError("has more than one colon: an IPv6 address is written in brackets, [::1]:8000")
    host, colon, port = text.partition(":")
    return _host(host, empty_is_all=bool(colon)), _port(port) if colon else default


def _port(text: str) -> int:
    if not _ONLY_DIGITS.fullmatch(text):
        raise ValueError(f"has no port number after the colon: {_EXAMPLES}")
    # The length first: int() of a very long text is slow, and Python refuses it with words of its own.
    if len(text) > 5 or int(text) > 65535:
        raise ValueError("has a port above 65535")
    return int(text)


def _host(text: str, empty_is_all: bool) -> str:
    if text == "0" or (not text and empty_is_all):  # 0:8000 is what the manual of Django's runserver teaches
        return "0.0.0.0"
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(f"is not an address: {_EXAMPLES}")
    # No top-level domain is a number, so what ends in one was meant as an IPv4 address (RFC 1123, section 2.1).
    if _ONLY_DIGITS.fullmatch(text.rstrip(".").rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError("has an IPv4 address that does not exist: it has four numbers from 0 to 255")
    return text


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError("has no IPv6 address in its brackets: write [::1]:8000")
