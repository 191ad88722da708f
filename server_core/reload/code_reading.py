"""Cuts Python source, also source that is broken, into tokens, statements and a tree of brackets; judges nothing.

Python's own tokenizer gives up where the source is broken, which is just when this is needed: this one takes every
text.  In a bracket whose end was forgotten, a line that can only begin a statement begins one; but not when the
statement before it names a secret, whose end would then be guessed.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from server_core.reload.masking import Range, sounds_secret

_TOKEN = re.compile(
    r"""
    (?P<string> (?P<prefix> [bBfFrRtTuU]{0,2})
        (?: (?P<long>\"\"\"|''') (?:[^\\]|\\(?:.|\Z))*? (?:(?P=long)|\Z)
          | (?P<short>["']) (?:[^\\\n]|\\(?:.|\Z))*? (?:(?P=short)|(?=\n)|\Z) ) )
    | (?P<comment> \#[^\n]*)
    | (?P<newline> \n)
    | (?P<space> (?:[ \t\f]|\\\n)+)
    | (?P<number> \.?\d(?:[eE][+-]|[\w.])*)
    | (?P<name> [^\W\d]\w*)
    | (?P<open> [(\[{])
    | (?P<close> [)\]}])
    | (?P<mark> [-+*/%@&|^~<>!=.,:;])
    | (?P<stray> .)
    """,
    re.VERBOSE | re.DOTALL,
)
_KEY_LIKE = re.compile(r"-{0,2}\w[\w.-]*")
_LONGEST_NAME = 200
#: what can only begin a statement
_BEGINNINGS = frozenset("def class import from return while with try async".split())
_PAIRS = {")": "(", "]": "[", "}": "{"}
#: brackets in brackets that Python takes
_DEEPEST = 200


class Token(NamedTuple):
    """A piece of source, of a kind that ``_TOKEN`` names; "stray" is what stands in no Python outside strings.

    ``word`` is what it says, which for a string is its value, and ``inner`` where it says that.  ``secret``: it is a
    name, or a string that could be one, and it sounds like a secret's.
    """

    kind: str
    start: int
    end: int
    inner: Range
    word: str
    secret: bool


@dataclass(eq=False)
class Element:
    """What stands between two commas in brackets, or a whole statement without its brackets' content."""

    items: list[Token | Group] = field(default_factory=list)


@dataclass(eq=False)
class Group:
    """A pair of brackets.  ``call``: it stands behind something, as in calls and subscripts."""

    opening: str
    call: bool
    elements: list[Element] = field(default_factory=list)


def tokens_of(source: str) -> Iterator[Token]:
    """All of the source but space; its lines end by a line feed alone."""
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup or ""
        if kind == "space":
            continue
        start, end = match.span()
        inner, word, secret = (start, end), match[0], False
        if kind == "string":
            quote = match["long"] or match["short"]
            first = match.end("prefix") + len(quote)
            closed = end - first >= len(quote) and match[0].endswith(quote)
            inner = (first, end - len(quote) if closed else end)
            word = _value(match[0], source[slice(*inner)])
            secret = len(word) < _LONGEST_NAME and bool(_KEY_LIKE.fullmatch(word)) and sounds_secret(word)
        elif kind == "comment":
            inner = (end - len(match[0].lstrip("# \t")), end)
        elif kind == "name":
            secret = len(word) < _LONGEST_NAME and not keyword.iskeyword(word) and sounds_secret(word)
        yield Token(kind, start, end, inner, word, secret)


def _value(literal: str, inner: str) -> str:
    """What a string literal says, or else what is written in it."""
    if "\\" not in literal or len(literal) > 10_000:
        return inner
    try:
        value = ast.literal_eval(literal)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return inner
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# --- statements


def statements_of(source: str, tokens: list[Token]) -> Iterator[list[Token]]:
    """Logical lines, and parts between semicolons, without the ends of lines; each "close" has its "open"."""
    statement: list[Token] = []
    brackets: list[str] = []
    new_line = secret = False
    for place, token in enumerate(tokens):
        if token.kind == "newline":
            new_line = True
            ends = not brackets and not _goes_on(statement)
        elif token.word == ";" and not brackets:
            ends = True
        else:
            ends = new_line and not secret and bool(brackets) and _begins(source, tokens, place, statement)
            new_line = False
        if ends:
            if statement:
                yield statement
            statement, brackets, secret = [], [], False
        if token.kind == "newline" or (ends and token.word == ";"):
            continue
        if token.kind == "open":
            if len(brackets) == _DEEPEST:
                token = token._replace(kind="stray")
            else:
                brackets.append(token.word)
        elif token.kind == "close":
            opening = _PAIRS[token.word]
            if brackets[-1:] != [opening] and (secret or opening not in brackets):
                token = token._replace(kind="mark")  # one too many
            else:
                while brackets.pop() != opening:
                    pass
        secret = secret or token.secret
        statement.append(token)
    if statement:
        yield statement


def _goes_on(statement: list[Token]) -> bool:
    """Does a value that is missing in this line stand in the next?"""
    last = [token for token in statement[-3:] if token.kind != "comment"]
    if not last:
        return False
    if last[-1].word == ":" and len(last) > 1:
        return last[-2].kind == "string"
    return last[-1].kind in ("mark", "stray") and last[-1].word in ("=", "+", "\\")


def _begins(source: str, tokens: list[Token], place: int, statement: list[Token]) -> bool:
    """Is this first token of a line, although a bracket is open, the beginning of a new statement?"""
    token = tokens[place]
    if not statement or _column(source, token.start) > _column(source, statement[0].start):
        return False
    if token.kind != "name":
        return token.word == "@"
    follows = [each.word for each in tokens[place + 1 : place + 3]]
    return token.word in _BEGINNINGS or (follows[:1] == ["="] and follows != ["=", "="])


def _column(source: str, at: int) -> int:
    return at - source.rfind("\n", 0, at) - 1


# --- the tree


def tree_of(statement: list[Token]) -> Element:
    """The statement with a group for each pair of brackets; one that was left open ends with it."""
    root = current = Element()
    outer: list[tuple[Group, Element]] = []
    for token in statement:
        if token.kind == "open":
            group = Group(token.word, _is_call(current, token))
            current.items.append(group)
            outer.append((group, current))
            current = Element()
            group.elements.append(current)
        elif token.kind == "close":
            group, current = outer.pop()
            while group.opening != _PAIRS[token.word]:
                group, current = outer.pop()
        elif token.word == "," and token.kind == "mark" and outer:
            current = Element()
            outer[-1][0].elements.append(current)
        else:
            current.items.append(token)
    return root


def _is_call(element: Element, token: Token) -> bool:
    if token.word == "{" or not element.items:
        return False
    before = element.items[-1]
    if isinstance(before, Group):
        return True
    return before.kind == "string" or (before.kind == "name" and not keyword.iskeyword(before.word))
