"""Knows what sounds like a secret, and finds secrets in prose: messages, URLs, configuration in a string; not in code.

It rather hides too much than too little: who reads the page has the code at hand, who looks over a shoulder has not.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

#: stands for every secret, whatever its length
MASK = "********"
#: start and end in a text
Range = tuple[int, int]

# Django's words (SafeExceptionReporterFilter) and more of their kind.
_SECRET = re.compile("API|AUTH|TOKEN|KEY|SECRET|PASS|PWD|SIGNATURE|DSN|CRED|PRIVATE|SALT|COOKIE", re.IGNORECASE)
_EXCEPTION = re.compile(r"(?:^|\.)[A-Z]\w*(?:Error|Exception|Warning)$")
# They sound like secrets, but are found in every project, and a mistake in what they hold is best seen.
_HARMLESS = frozenset(
    (
        "auth_user_model authentication_backends auth_password_validators password_hashers authentication_classes "
        "default_authentication_classes foreignkey foreign_key primary_key sort_keys keyword keywords author authors"
    ).split()
)


@lru_cache(maxsize=4096)
def sounds_secret(name: str) -> bool:
    """Does a variable, a key or an option of this name hold a secret?"""
    plain = unicodedata.normalize("NFKC", name)  # as Python reads identifiers
    return bool(_SECRET.search(plain)) and not _EXCEPTION.search(plain) and plain.lower() not in _HARMLESS


# Each of them is also an everyday word of programs; together, or as a constant, they are not.
_DOUBTFUL = re.compile("API|AUTH|KEY", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z_. -]{0,20}")


def surely_secret(name: str) -> bool:
    """Of a name that sounds secret: is its value one, whatever it looks like?  ``key="title"`` is none."""
    return (
        name.isupper() or len(set(_DOUBTFUL.findall(name.lower()))) > 1 or bool(_SECRET.search(_DOUBTFUL.sub("", name)))
    )


def is_harmless_word(value: str) -> bool:
    """Would it hide what is good to know, if this was hidden in messages for no more than a doubtful name?"""
    return bool(_WORDS.fullmatch(value))


def hide(text: str, ranges: Iterable[Range]) -> str:
    """The text with each range, in whatever order and overlapping or not, replaced by the mask."""
    parts, at = [], 0
    for start, end in merged(ranges):
        parts += [text[at:start], MASK]
        at = end
    return "".join(parts) + text[at:]


def merged(ranges: Iterable[Range]) -> list[Range]:
    """In order, without the empty ones; those that overlap or touch become one."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


# --- prose

_WORD = re.compile(r"[\w.-]+")
# What stands between a name and its value: a quote or bracket that closes the name, then "=", ":" and their like, or a
# type, too; or nothing but space, when the value is quoted.
_OPERATOR = re.compile(
    r"""
    [\\"'`\])}]*
    (?: \s* (?: :\s*[\w.]+(?:\[[\w., |]*\])?\s*=(?!=) | => | -> | := | [=!]= | = | : | ,(?=\s*[\\"'`]) ) \s*
      | [ \t]+ (?: (?:is|was|of)[ \t]+ )? (?=\\*["'`]) )
    """,
    re.VERBOSE,
)
_QUOTE = re.compile(r"""[A-Za-z]{0,2}(\\*)(\"\"\"|'''|["'`])""")
# A constant, or where a message will have the value: "no such key: %s".
_NO_SECRET = re.compile(r"(?:None|True|False|null|true|false)\b|(?:%\(?\w*\)?[sdr]|\{[\w.!]*\})(?=\W*$)", re.MULTILINE)
# The type that a message begins with, and "raised" in a sentence: InvalidToken is no name of a value.
_TYPE = re.compile(r"(?:\A|(?<=raised ))(?:\w+\.)*(?:[A-Z]+[a-z0-9]+){2,}(?=: )", re.MULTILINE)
_SOON = 2000
# A whole string counts for nothing, whatever brackets are in it.
_BRACKET = re.compile(r"""[()\[\]{}]|(["'])(?:[^\\\n]|\\.)*?\1""")
_MORE = re.compile(r"""[ \t]*[\w"'`+%.|(\[]""")
_TO_FILL = re.compile(r"""(?<![\w-])([\w-]{1,200})["']?\s*(?::\s*[\w., |\[\]]{1,40}=|[=:])\s*["']?(?:%[(sdr]|\{)""")
_URL_TO_FILL = re.compile(r"://\S{0,200}(?:%[(sdr]|\{)\S{0,200}@")
_BLOCK = re.compile(r"-----BEGIN .*?(?:-----END[^\n]*|\Z)", re.DOTALL)
# There may be spaces in the password, and libraries take it; but digits alone are a port.
_ODD_URL = re.compile(r"://[^\s:/@]*:(?!\d+(?:[/\s]|$))")
_QUOTED = re.compile(r"""(["'])((?:[^\\\n]|\\.?)*?)(?:\1|$)""", re.MULTILINE)


def secrets_in_text(text: str) -> list[Range]:
    """Where a text tells secrets: values of what sounds secret, the user's part of URLs, private keys."""
    found = [(match.start(), match.end()) for match in _BLOCK.finditer(text)]
    found += _in_urls(text)
    found += _values(text)
    found += _under_headings(text)
    return found


def asks_for_secret(text: str) -> bool:
    """Is this a template such as ``"password=%s"`` or ``"postgres://{}:{}@host"``, to be filled with a secret?"""
    return bool(_URL_TO_FILL.search(text)) or any(sounds_secret(match[1]) for match in _TO_FILL.finditer(text))


def _in_urls(text: str) -> list[Range]:
    """``scheme://user:password@host``; all that is before the @ when there is no colon, for that is a token."""
    found = []
    for word in re.finditer(r"\S+", text):
        start, end = text.find("://", *word.span()) + 3, text.rfind("@", *word.span())
        if 3 <= start < end:
            colon = text.find(":", start, end)
            found.append((colon + 1 if colon >= 0 else start, end))
    for line in re.finditer(r"[^\n]+", text):
        begin, end = _ODD_URL.search(text, *line.span()), text.rfind("@", *line.span())
        if begin and begin.end() < end:
            found.append((begin.end(), end))
    return found


def _values(text: str) -> list[Range]:
    types = {match.end() for match in _TYPE.finditer(text)}
    found: list[Range] = []
    at = 0
    line_end = -1
    while match := _WORD.search(text, at):
        at = match.end()
        if at in types or not sounds_secret(match[0].rstrip(".-")):
            continue
        operator = _OPERATOR.match(text, at)
        if operator:
            start = operator.end()
        elif match[0].startswith("--") and text[at : at + 1] == " ":  # --password hunter2
            start = at + 1
        else:
            continue
        if not _NO_SECRET.match(text, start):
            if line_end < start:
                line_end = text.find("\n", start) % (len(text) + 1)  # the end of the text when there is none
            assigned = "=" in text[match.end() : start]
            start, end, at = _extent(text, start, line_end, assigned)
            found.append((start, end))
    return found


def _closing(text: str, start: int) -> int:
    """Where the bracket at ``start`` is closed, or where to give up looking; -1 when there is no bracket."""
    opening = text[start : start + 1]
    closing = {"(": ")", "[": "]", "{": "}"}.get(opening)
    if closing is None:
        return -1
    depth = 0
    limit = min(start + _SOON, len(text))
    for match in _BRACKET.finditer(text, start, limit):
        depth += (match[0] == opening) - (match[0] == closing)
        if depth == 0:
            return match.end()
    return limit


def _extent(text: str, start: int, line_end: int, assigned: bool) -> tuple[int, int, int]:
    """Of the value that begins at ``start``: its start and end without quotes, and where to read on.

    What follows an ``assigned`` value without a comma belongs to it, as in ``x = '' or 'y'``.
    """
    opening = _QUOTE.match(text, start)
    if opening is None:
        end = max(line_end, _closing(text, start))
        return start, end, end
    close = opening[1] + opening[2]
    end = opening.end()
    limit = len(text) if len(opening[2]) == 3 else line_end
    while True:
        end = text.find(close, end, limit)
        if end < 0:
            return opening.end(), limit, limit
        before = end
        while before > opening.end() and text[before - 1] == "\\":
            before -= 1
        if (end - before) % 2 == 0:
            break
        end += 1
    after = end + len(close)
    # Directly behind the quote, and the secret has the quote in it.
    if (_MORE if assigned else _WORD).match(text, after):
        return opening.end(), max(line_end, after), max(line_end, after)
    return opening.end(), end, after


def quoted_in(text: str) -> list[str]:
    """What stands in quotes."""
    return [match[2] for match in _QUOTED.finditer(text)]


def _under_headings(text: str) -> list[Range]:
    """What is quoted in the indented lines below a name that stands alone, as pydantic reports fields."""
    found: list[Range] = []
    at, secret = 0, False
    for line in text.split("\n"):
        if not line[:1].isspace():
            secret = len(line) < 200 and " " not in line.replace(" -> ", ".").strip() and sounds_secret(line)
        elif secret:
            found += [(at + match.start(2), at + match.end(2)) for match in _QUOTED.finditer(line)]
        at += len(line) + 1
    return found


# --- what is known to be secret

_SHORTEST = 5
#: from this length on, a value is no word of a language that stands in another word by accident
_LONG = 12
_KNOWN_TO_EVERYBODY = frozenset({"localhost", "127.0.0.1", "default", "false", "none", "utf-8"})
_NO_PASSWORDS = frozenset({"PWD", "OLDPWD"})  # working directories


class Known:
    """Values that are known to be secret, to be found wherever they turn up: as they are, and as Python, JSON, URLs and
    HTML write them.  Values of less than five characters are let go, for they would be found in everything."""

    def __init__(self, values: Iterable[str]) -> None:
        written: set[str] = set()
        for value in values:
            for part in {value, value.strip(), *(line.strip() for line in value.splitlines())}:
                if len(part) >= _SHORTEST and part.lower() not in _KNOWN_TO_EVERYBODY:
                    written |= _ways_to_write(part)
        self._values = written

    def ranges(self, text: str) -> list[Range]:
        """Where the text has one of them; a short one only if it is a word of its own."""
        found: list[Range] = []
        for value in self._values:
            at = text.find(value)
            while at >= 0:
                end = at + len(value)
                if len(value) >= _LONG or not (_joins(text, at) or _joins(text, end)):
                    found.append((at, end))
                    at = text.find(value, end)
                else:
                    at = text.find(value, at + 1)
        return found


def _joins(text: str, at: int) -> bool:
    """Do the characters on both sides of ``at`` belong to one word?"""
    pair = text[max(at - 1, 0) : at + 1]
    return len(pair) == 2 and at > 0 and all(each.isalnum() or each == "_" for each in pair)


def _ways_to_write(value: str) -> set[str]:
    ways = {value, repr(value)[1:-1], ascii(value)[1:-1], json.dumps(value)[1:-1], html.escape(value)}
    ways.add(json.dumps(value, ensure_ascii=False)[1:-1])
    ways.add(quote(value, safe="", errors="replace"))
    # Halves of a character that have been through JSON are a whole one.
    ways.add(value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))
    return ways | {ascii(way)[1:-1] for way in ways if "\\" in way}


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """The secrets among environment variables."""
    found = []
    for name, value in environ.items():
        if sounds_secret(name) and name not in _NO_PASSWORDS:
            found.append(value)
        found += [value[start:end] for start, end in merged(secrets_in_text(value))]
    return found
