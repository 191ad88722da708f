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

# Django's words (SafeExceptionReporterFilter) and more of their kind; input_value is how pydantic tells any value.
_SECRET = re.compile(
    "API|AUTH|TOKEN|KEY|SECRET|PASS|PWD|SIGNATURE|DSN|CRED|PRIVATE|SALT|COOKIE|INPUT_VALUE", re.IGNORECASE
)
# They sound like secrets, but are found in every project, and a mistake in what they hold is best seen.
_HARMLESS = frozenset(
    (
        "auth_user_model authentication_backends auth_password_validators password_hashers authentication_classes "
        "default_authentication_classes foreignkey foreign_key primary_key sort_keys keyword keywords author authors"
    ).split()
)
# Exceptions, and what belongs to Django's application "auth", as its checks name it: auth.User.groups.
_NO_VALUE = re.compile(r"(?:^|\.)[A-Z]\w*(?:Error|Exception|Warning)$|^auth\.[A-Z]")
# Each of them is also an everyday word of programs; together, or as a constant, they are not.
_DOUBTFUL = re.compile("API|AUTH|KEY", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z_. -]{0,20}")


@lru_cache(maxsize=4096)
def sounds_secret(name: str) -> bool:
    """Does a variable, a key or an option of this name hold a secret?  What is longer than a name does not."""
    if len(name) > 200:
        return False
    plain = unicodedata.normalize("NFKC", name)  # as Python reads identifiers
    return bool(_SECRET.search(plain)) and not _NO_VALUE.search(plain) and plain.lower() not in _HARMLESS


def surely_secret(name: str) -> bool:
    """Of a name that sounds secret: is its value one, also if it is a plain word?  ``key="title"`` is none."""
    doubts = {word.lower() for word in _DOUBTFUL.findall(name)}
    return name.isupper() or len(doubts) > 1 or bool(_SECRET.search(_DOUBTFUL.sub("", name)))


def is_plain(value: str) -> bool:
    """Would it hide what is good to know, if this was hidden wherever it turns up?"""
    return bool(_PLAIN.fullmatch(value))


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
        if start < end and found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


# --- prose

_WORD = re.compile(r"[\w.-]+")
# What stands between a name and its value: "=", ":" and their like, or nothing but space, when the value is quoted.
_SIGN = re.compile(
    r"""[\\"'`\])}]* (?: \s* (?: -> | [!:]?= | : | ,(?=\s*[\\"'`]) ) [=>]?\s*
                        | [ \t]+ (?: (?:is|was|of|or)[ \t]+ )? (?=\\*[bru]?["'`]) )""",
    re.VERBOSE,
)
# It cannot be known where a value ends: with its line, and the lines below that are indented or close a bracket.
_VALUE = re.compile(r"(?!(?:None|True|False|null|true|false)\b)[^\n]*(?:\n[ \t\])}][^\n]*)*")
# The type that a message begins with, and "raised" in a sentence: InvalidToken is no name of a value.
_TYPE = re.compile(r"(?:\A|(?<=raised ))(?:\w+\.)*(?:[A-Z]+[a-z0-9]+){2,}(?=: )", re.MULTILINE)
_BLOCK = re.compile(r"-----BEGIN .*?(?:-----END[^\n]*|\Z)", re.DOTALL)
# user:password@ or token@; there may be spaces in the password, but digits alone behind the colon are a port.
_USER = re.compile(r"://(?:\S{0,200}@|[^\s:/@]{0,200}:(?!\d+(?:[/\s]|$)))")
_USER_TO_COME = re.compile(r"://[^\s:/@]{0,200}:\Z")


def secrets_in_text(text: str) -> list[Range]:
    """Where a text tells secrets: what follows on a name that sounds like one's, and what is in URLs and blocks.

    An empty range is where a secret is still to be filled in.
    """
    found = in_urls_and_blocks(text)
    if not _SECRET.search(unicodedata.normalize("NFKC", text)):
        return found
    types = {match.end() for match in _TYPE.finditer(text)}
    at = 0
    while word := _WORD.search(text, at):
        at = word.end()
        if at in types or not sounds_secret(word[0].rstrip(".-")):
            continue
        sign = _SIGN.match(text, at)
        if not sign and word[0].startswith("--") and text[at : at + 1] == " ":  # --password hunter2
            sign = word
        value = sign and _VALUE.match(text, sign.end())
        if value:
            found.append(value.span())
            at = value.end()
    return found


def in_urls_and_blocks(text: str) -> list[Range]:
    """``scheme://user:password@host``, or all before the @ when there is no colon; private keys."""
    found = [match.span() for match in _BLOCK.finditer(text)]
    found += [(len(text), len(text))] if _USER_TO_COME.search(text) else []
    for line in re.finditer(r"[^\n]+", text) if "://" in text else ():
        end = text.rfind("@", *line.span())
        begin = _USER.search(text, line.start(), end + 1)
        if begin:
            colon = text.find(":", begin.start() + 3, end)
            found.append((colon + 1 if colon >= 0 else begin.start() + 3, end))
    return found


def told_in(text: str) -> list[str]:
    """The secrets that a text tells, and the words in them, for nobody knows where a value ends."""
    values = [text[start:end] for start, end in secrets_in_text(text)]
    words = [re.findall(r"[^\s\"'`,;()\[\]{}]+", value) for value in values]
    return values + [word for each in words for word in each if word == each[0] or not is_plain(word)]


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
        parts = {part.strip() for value in values for part in (value, *value.splitlines())}
        kept = {part for part in parts if len(part) >= _SHORTEST and part.lower() not in _KNOWN_TO_EVERYBODY}
        self._values = {way for part in kept for way in _ways_to_write(part)}

    def ranges(self, text: str) -> list[Range]:
        """Where the text has one of them; a short one only if it is a word of its own."""
        found: list[Range] = []
        for value in self._values:
            at = text.find(value)
            while at >= 0:
                end = at + len(value)
                if len(value) >= _LONG or not (_joins(text, at) or _joins(text, end)):
                    found.append((at, end))
                at = text.find(value, at + 1)
        return found


def _joins(text: str, at: int) -> bool:
    """Do the characters on both sides of ``at`` belong to one word?"""
    return 0 < at < len(text) and all(each.isalnum() or each == "_" for each in text[at - 1 : at + 1])


def _ways_to_write(value: str) -> set[str]:
    if value.isascii() and value.isalnum():
        return {value}
    ways = {value, repr(value)[1:-1], ascii(value)[1:-1], json.dumps(value)[1:-1], html.escape(value)}
    ways.add(json.dumps(value, ensure_ascii=False)[1:-1])
    ways.add(quote(value, safe="", errors="replace"))
    # Halves of a character that have been through JSON are a whole one.
    ways.add(value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))
    return ways | {ascii(way)[1:-1] for way in ways if "\\" in way}


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """The secrets among environment variables."""
    found = [value for name, value in environ.items() if sounds_secret(name) and name not in _NO_PASSWORDS]
    return found + [secret for value in environ.values() for secret in told_in(value)]
