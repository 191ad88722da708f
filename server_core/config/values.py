"""Knows the kinds of values that settings have: how each is read and how it is shown; knows no setting.

A wrong value raises ValueError with a phrase that completes a sentence: "soon" *is not a duration: write 30s*.  Whoever
knows the setting and the origin of the value makes the sentence.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from server_core.config.bindings import Binding, parse_binding
from server_core.config.patterns import parse_pattern

T = TypeVar("T")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HIDDEN = "***"
"""Stands for a secret wherever values are shown."""

EVERYONE: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
"""What ``*`` means in a list of networks."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of values.

    ``name`` describes it in the manual, ``metavar`` stands for a value on the command line.  ``parse`` takes text from
    a command line, variable or file as well as native values of Python and TOML, and raises ValueError.  ``show`` is
    its inverse: ``parse(show(value)) == value``.  ``many`` kinds are tuples and their option may be repeated;
    ``toggle`` kinds are drawn as a pair of options, on and off; values of ``secret`` kinds are never shown to anybody.
    """

    name: str
    metavar: str
    parse: Callable[[object], T]
    show: Callable[[T], str]
    many: bool = False
    toggle: bool = False
    secret: bool = False


def quote(value: object) -> str:
    """A raw value as it is shown to a person in a message: text in quotes, long values cut."""
    if isinstance(value, tuple):  # of several values, as of an option that may be repeated
        return ", ".join(quote(item) for item in value)
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return text if len(text) <= 100 else f"{text[:97]}..."


# --- text and its relatives


def text(name: str = "text", metavar: str = "TEXT") -> Kind[str]:
    """One line of text; white space around it is dropped, and nothing but white space is refused."""
    return Kind(name, metavar, _line, str)


def _line(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("is not text")
    value = raw.strip()
    if not value:
        raise ValueError("is empty")
    if any(character in value for character in "\0\r\n"):
        raise ValueError("is more than one line of text")
    return value


def without_arguments(target: str) -> str:
    """An application's name as everybody may see it: the arguments of a factory can be secrets."""
    name, bracket, arguments = target.partition("(")
    return f"{name}(...)" if bracket and arguments.strip(" )") else target


def path(name: str = "path", metavar: str = "FILE") -> Kind[str]:
    """A path in the file system, as text; Python files may also give a ``pathlib.Path``."""
    return Kind(name, metavar, lambda raw: _line(os.fspath(raw) if isinstance(raw, os.PathLike) else raw), str)


def pattern() -> Kind[str]:
    """A pattern for files, as ``server_core.config.patterns`` knows them; it stays text."""

    def parse(raw: object) -> str:
        value = _line(raw)
        parse_pattern(value)
        return value

    return Kind("pattern", "PATTERN", parse, str)


def secret(longest: int) -> Kind[str]:
    """Text that nobody may see, taken as it stands, of up to ``longest`` bytes in UTF-8."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise ValueError("is not text")
        if len(raw.encode("utf-8", "surrogateescape")) > longest:
            raise ValueError(f"is longer than {longest} bytes")
        return raw

    return Kind("text, which is never shown", "TEXT", parse, str, secret=True)


def choice(*words: str, numbered: bool = False) -> Kind[str]:
    """One of some words; capitals do not matter.  If they are ``numbered``, from 0, a number stands for its word."""
    spelt = {word.lower(): word for word in words}
    if numbered:
        spelt |= {str(number): word for number, word in enumerate(words)}

    def parse(raw: object) -> str:
        if isinstance(raw, int) and not isinstance(raw, bool) and numbered:
            raw = str(int(raw))  # a number with a name, as those of Python's ssl, is spelt by its name
        if isinstance(raw, str) and raw.strip().lower() in spelt:
            return spelt[raw.strip().lower()]
        raise ValueError(f"is none of {', '.join(words)}")

    return Kind(f"one of {', '.join(words)}", "|".join(words) if len(words) <= 5 else "WORD", parse, str)


def matching(pattern: str, name: str, metavar: str, phrase: str, *, empty: bool = False) -> Kind[str]:
    """Text that the regular expression ``pattern`` matches as a whole; ``phrase`` refuses all other text.

    With ``empty``, nothing at all is right too.
    """
    compiled = re.compile(pattern)

    def parse(raw: object) -> str:
        if empty and isinstance(raw, str) and not raw.strip():
            return ""
        value = _line(raw)
        if not compiled.fullmatch(value):
            raise ValueError(phrase)
        return value

    return Kind(name, metavar, parse, str)


def account(what: str) -> Kind[str | int]:
    """The name or the number of a user or group (``what`` says which); it is not looked up."""

    def parse(raw: object) -> str | int:
        if isinstance(raw, str) and not _DIGITS.fullmatch(raw.strip()):
            return _line(raw)
        number = _whole(raw, f"is not the name or number of a {what}")
        # The highest number means "no change" to chown(2) and setresuid(2), so no account can have it.
        if not 0 <= number < 2**32 - 1:
            raise ValueError(f"is not the number of a {what}")
        return number

    return Kind(f"name or number of a {what}", what.upper(), parse, str)


# --- numbers

_DIGITS = re.compile(r"[+-]?[0-9]+")


def _whole(raw: object, phrase: str = "is not a whole number") -> int:
    # bool is a subclass of int in Python, but nobody means one worker by workers = True.
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    # int() would also take 1_000 and the digits of other scripts.  Twenty digits are beyond every range here.
    if isinstance(raw, str) and _DIGITS.fullmatch(raw.strip()) and len(raw.strip()) <= 20:
        return int(raw)
    raise ValueError(phrase)


def integer(minimum: int, maximum: int) -> Kind[int]:
    """A whole number from ``minimum`` to ``maximum``, both included."""

    def parse(raw: object) -> int:
        value = _whole(raw)
        _check_range(value, minimum, maximum, str)
        return value

    return Kind(f"whole number from {minimum} to {maximum}", "N", parse, str)


def _check_range(value: Any, minimum: Any, maximum: Any, show: Callable[[Any], str]) -> None:
    if not minimum <= value <= maximum:
        raise ValueError(f"is out of range: it must be from {show(minimum)} to {show(maximum)}")


_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def boolean() -> Kind[bool]:
    """True or false, also spelt 1/0, yes/no and on/off in text."""

    def parse(raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, str) and raw.strip().lower() in _SWITCH:
            return _SWITCH[raw.strip().lower()]
        raise ValueError("is neither true nor false")

    return Kind("true or false", "", parse, lambda value: "true" if value else "false", toggle=True)


_MEASURE = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile(rf"(?:{_MEASURE}h)?(?:{_MEASURE}m)?(?:{_MEASURE}s)?(?:{_MEASURE}ms)?", re.IGNORECASE)
_PLAIN = re.compile(_MEASURE)


def duration(minimum: str, maximum: str = "24h") -> Kind[float]:
    """A time span in seconds, from ``minimum`` to ``maximum``; text may carry units: 500ms, 30s, 1m30s, 2h."""
    low, high = _seconds(minimum), _seconds(maximum)

    def parse(raw: object) -> float:
        value = _seconds(raw)
        _check_range(value, low, high, _show_seconds)
        return value

    return Kind(f"duration from {_show_seconds(low)} to {_show_seconds(high)}", "DURATION", parse, _show_seconds)


def _seconds(raw: object) -> float:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return float(max(-1, min(raw, 10**12)))  # float() of a huge int overflows; these are out of range too
    if isinstance(raw, float) and math.isfinite(raw):
        return raw
    if isinstance(raw, str):
        written = raw.strip()
        if _PLAIN.fullmatch(written):
            return float(written)
        parts = _DURATION.fullmatch(written)
        if written and parts:
            hours, minutes, seconds, milliseconds = (float(part or 0) for part in parts.groups())
            return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    raise ValueError("is not a duration: write 30, 30s, 1m30s or 500ms")


def _show_seconds(value: float) -> str:
    if value == 0:
        return "0"
    for unit, length in (("h", 3600), ("m", 60), ("s", 1)):
        if value % length == 0:
            return f"{int(value // length)}{unit}"
    if value < 1 and float(milliseconds := round(value * 1000)) / 1000 == value:
        return f"{milliseconds}ms"
    # repr() is the shortest text that reads back as the same number, Decimal spells it without an exponent.
    return f"{Decimal(repr(value)):f}s"


_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}
_SIZE = re.compile(rf"{_MEASURE} ?(?:([KMGTP]?)(?:i?B)?)", re.IGNORECASE)


def size(minimum: str, maximum: str) -> Kind[int]:
    """A number of bytes, from ``minimum`` to ``maximum``; text may carry units of 1024: 64K, 10MB, 1GiB."""
    low, high = _bytes(minimum), _bytes(maximum)

    def parse(raw: object) -> int:
        value = _bytes(raw)
        _check_range(value, low, high, _show_bytes)
        return value

    return Kind(f"size from {_show_bytes(low)} to {_show_bytes(high)}", "SIZE", parse, _show_bytes)


def _bytes(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and len(raw) <= 40 and (parts := _SIZE.fullmatch(raw.strip())):
        value = Decimal(parts[1]) * _UNITS[parts[2].upper()]
        if value == int(value):
            return int(value)
    raise ValueError("is not a size: write 65536, 64K, 10MB or 1GiB")


def _show_bytes(value: int) -> str:
    for unit in "PTGMK":
        if value and value % _UNITS[unit] == 0:
            return f"{value // _UNITS[unit]}{unit}B"
    return str(value)


def octal_mode(example: str) -> Kind[int]:
    """Permission bits; text is read as octal, with or without 0o, and a number is taken as it is.

    ``example`` is what a person may copy who has written something else.
    """

    def parse(raw: object) -> int:
        value = -1
        if isinstance(raw, int) and not isinstance(raw, bool):
            value = raw
        elif isinstance(raw, str) and re.fullmatch(r"(0o)?[0-7]{1,6}", raw.strip()):
            value = int(raw.strip(), 8)
        # A plain 660 in a file is 1224 in octal: the range catches most of those who forgot the 0o.
        if not 0 <= value <= 0o777:
            raise ValueError(f'is not a file mode: write "{example}" as text or 0o{example} as a number')
        return value

    return Kind("file mode in octal", "MODE", parse, lambda value: f"{value:03o}")


# --- addresses


def address() -> Kind[Binding]:
    """An address to listen on."""
    return Kind("address", "ADDRESS", lambda raw: parse_binding(_line(raw)), str)


def networks() -> Kind[tuple[Network, ...]]:
    """IP addresses and networks, to compare the address of a peer with; ``*`` is everyone, an empty list is nobody."""
    items = list_of(
        Kind("IP address or network", "NETWORK", _network, _show_network),
        "list of IP addresses and networks, or * for everyone",
    )

    def parse(raw: object) -> tuple[Network, ...]:
        if isinstance(raw, list | tuple) and len(raw) == 1:
            raw = raw[0]  # a repeatable option that was given once
        return EVERYONE if isinstance(raw, str) and raw.strip() == "*" else items.parse(raw)

    return Kind(
        items.name,
        items.metavar,
        parse,
        lambda value: "*" if value == EVERYONE else items.show(value),
        many=True,
    )


def _network(raw: object) -> Network:
    written = _line(raw)
    if written == "*":
        raise ValueError("is everyone, which leaves nothing for other networks to add")
    try:
        return ipaddress.ip_network(written)
    except ValueError as error:
        if "has host bits set" in str(error):
            raise ValueError(f"is an address inside of a network: write {ipaddress.ip_network(written, strict=False)}")
        raise ValueError("is not an IP address or network: write 10.0.0.1, 10.0.0.0/8 or ::1")


def _show_network(value: Network) -> str:
    return str(value.network_address) if value.prefixlen == value.max_prefixlen else str(value)


# --- kinds made of kinds


def list_of(item: Kind[T], name: str) -> Kind[tuple[T, ...]]:
    """Any number of values of one kind: separated by commas in text, or a list in a file; empty parts are dropped."""

    def parse(raw: object) -> tuple[T, ...]:
        elements = raw if isinstance(raw, list | tuple) else [raw]
        parts: list[object] = []
        for element in elements:
            if isinstance(element, str):
                parts += [part for part in element.split(",") if part.strip()]
            else:
                parts.append(element)
        return tuple(_item(part, alone=elements == [part] or elements == (part,)) for part in parts)

    def _item(raw: object, alone: bool) -> T:
        try:
            value = item.parse(raw)
        except ValueError as error:
            raise error if alone else ValueError(f"holds {quote(raw)}, which {error}")
        if "," in item.show(value):
            raise ValueError(f"holds {quote(raw)}, whose comma separates two values here")
        return value

    return Kind(
        name,
        item.metavar,
        parse,
        lambda values: ",".join(item.show(value) for value in values),
        many=True,
    )


def pairs(name: str, metavar: str, forbidden: frozenset[str]) -> Kind[tuple[tuple[str, str], ...]]:
    """Names with values, ``NAME: VALUE`` in text; a file may also give a table.  Names are in lower case."""

    def parse(raw: object) -> tuple[str, str]:
        key, colon, value = _line(raw).partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon or not value or not re.fullmatch(r"[a-z0-9-]+", key):
            raise ValueError(f"is no {name}: write {metavar}")
        if key in forbidden:
            raise ValueError(f"is a {name} that every client sends for another purpose")
        return key, value

    items = list_of(Kind(name, metavar, parse, ": ".join), f"list of {name}s, {metavar}")

    def parse_all(raw: object) -> tuple[tuple[str, str], ...]:
        return items.parse([f"{key}: {value}" for key, value in raw.items()] if isinstance(raw, Mapping) else raw)

    return Kind(items.name, items.metavar, parse_all, items.show, many=True)


def mounts() -> Kind[tuple[tuple[str, str], ...]]:
    """Paths of URLs with the directories that are served there, ``/static/=DIRECTORY``; a file may also give a table.

    The paths end with a slash.
    """

    def parse(raw: object) -> tuple[str, str]:
        url, sign, directory = _line(raw).partition("=")
        url, directory = url.strip(), directory.strip()
        if not sign or not directory or not re.fullmatch(r"/[!-~]*", url) or "?" in url or "#" in url:
            raise ValueError("is no mount: write /static/=DIRECTORY")
        return url.rstrip("/") + "/", directory

    items = list_of(Kind("mount", "URL=DIRECTORY", parse, "=".join), "list of mounts, URL=DIRECTORY")

    def parse_all(raw: object) -> tuple[tuple[str, str], ...]:
        if isinstance(raw, Mapping):
            raw = [f"{url}={os.fspath(path) if isinstance(path, os.PathLike) else path}" for url, path in raw.items()]
        return items.parse(raw)

    return Kind(items.name, items.metavar, parse_all, items.show, many=True)


def certificates_by_name() -> Kind[tuple[tuple[str, str, str], ...]]:
    """Names of hosts with the files of certificates, ``example.org=CERTIFICATE`` or ``example.org=CERTIFICATE:KEY``; a
    file may also give a table.  Values are name, certificate and key, "" for one in the same file."""

    def parse(raw: object) -> tuple[str, str, str]:
        name, sign, files = _line(raw).partition("=")
        certificate, colon, key = (part.strip() for part in files.partition(":"))
        name = name.strip().lower()
        if not sign or not certificate or (colon and not key):
            raise ValueError("names no certificate: write example.org=CERTIFICATE or example.org=CERTIFICATE:KEY")
        if not re.fullmatch(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
            raise ValueError("begins with no name of a host: write example.org, *.example.org or xn--bcher-kva.example")
        return name, certificate, key

    def show(value: tuple[str, str, str]) -> str:
        return f"{value[0]}={value[1]}" + (f":{value[2]}" if value[2] else "")

    items = list_of(
        Kind("certificate", "NAME=CERTIFICATE[:KEY]", parse, show), "list of certificates, NAME=CERTIFICATE[:KEY]"
    )

    def parse_all(raw: object) -> tuple[tuple[str, str, str], ...]:
        if isinstance(raw, Mapping):
            raw = [f"{name}={os.fspath(path) if isinstance(path, os.PathLike) else path}" for name, path in raw.items()]
        values = items.parse(raw)
        twice = sorted(name for name, count in Counter(name for name, _, _ in values).items() if count > 1)
        if twice:
            raise ValueError(f"has two certificates for {twice[0]}")
        return values

    return Kind(items.name, items.metavar, parse_all, items.show, many=True)


def optional(kind: Kind[T], if_empty: str = "") -> Kind[T | None]:
    """A value of ``kind``, or None, which in text is nothing at all; or that is refused with the phrase ``if_empty``,
    because somebody may rely on a value that has got lost."""

    def parse(raw: object) -> T | None:
        if raw is None or (isinstance(raw, str) and not raw.strip()):
            if raw is not None and if_empty:
                raise ValueError(if_empty)
            return None
        return kind.parse(raw)

    def show(value: T | None) -> str:
        return "" if value is None else kind.show(value)

    return Kind(kind.name, kind.metavar, parse, show, kind.many, secret=kind.secret)
