"""Finds the secrets in Python source, also in source that is broken; knows no files and no pages.

The rule: when a name or a string in a statement sounds like a secret's, all strings, numbers and comments of the
statement are hidden, from the line of that word on.  Shown is what only names something, as in ``environ["API_KEY"]``
and ``{"API_KEY": ...}``.  In a class or function that is called like a secret, this holds for every statement.

In what is no Python, such as a lost ``$`` or quote, all that follows on the word is hidden.  And when a file is broken,
nobody knows which of its quotes begin strings, so the lines in long strings are read as code, too.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from server_core.reload.masking import (
    Range,
    in_urls_and_blocks,
    is_plain,
    merged,
    secrets_in_text,
    sounds_secret,
    surely_secret,
    told_in,
)

# Python's own tokenizer gives up where the source is broken, which is just when this is needed.
_TOKEN = re.compile(
    r"""
    (?P<space> (?:[ \t\f]|\\[ \t]*\n)+)
    | (?P<newline> \n)
    | (?P<string> (?P<prefix> [bBfFrRtTuU]{0,2})
        (?: (?P<long>\"\"\"|''') (?:[^\\]|\\(?:.|\Z))*? (?:(?P=long)|\Z)
          | (?P<short>["']) (?:[^\\\n]|\\(?:.|\Z))*? (?:(?P=short)|(?=\n)|\Z) ) )
    | (?P<name> [^\W\d]\w*)
    | (?P<open> [(\[{])
    | (?P<close> [)\]}])
    | (?P<number> \.?\d(?:[eE][+-]|[\w.])*)
    | (?P<mark> [-+*/%@&|^~<>!=.,:;])
    | (?P<comment> \#[^\n]*(?:\n[ \t]*\#[^\n]*)*)
    | (?P<stray> .)
    """,
    re.VERBOSE | re.DOTALL,
)
_PAIRS = {")": "(", "]": "[", "}": "{"}
_NAME = re.compile(r"-{0,2}\w[\w-]{0,200}")
# The strings that are shown: in environ["API_KEY"], getenv("API_KEY", ...) and {"API_KEY": ...}.
_KEY = re.compile(
    r"""(?: \b(?:environ|env|getenv|get|setdefault|pop|config)[\[(] (?=["'][\w-]+["'][]),])
          | [{,]\s*(?=["'][\w-]+["']\s*:) ) ["']([A-Z0-9_]+|[A-Za-z_-]+)["']""",
    re.VERBOSE,
)
# PASSWORD = hunter2: a constant, and a value that begins with a name and has no quotes and brackets
_BARE = re.compile(
    r"""^[ \t]*["']?([A-Z][A-Z0-9_]*)["']?[ \t]*(?::[^\n=]*=|[=:])[ \t]*(([^\W\d]\w*)[^\n"'\#(\[{]*)(?=\#|$)""",
    re.MULTILINE,
)
_NO_BLOCK = -1


class Token(NamedTuple):
    """A piece of source, of a kind that ``_TOKEN`` names; "stray" is what stands in no Python.

    ``line`` is where its line begins, ``inner`` what to hide of it, ``word`` what it says: for a string its value.
    ``secret``: it sounds like the name of a secret, or tells one.
    """

    kind: str
    start: int
    end: int
    line: int
    inner: Range
    word: str
    secret: bool


class Secrets:
    """The secrets in a source: ``ranges`` in order, ``values`` as the program sees them and as they are written."""

    def __init__(self, source: str) -> None:
        """Lines of ``source`` end by a line feed alone."""
        self._source = source
        self._found = [*in_urls_and_blocks(source), *_without_quotes(source)]
        self.values = {source[start:end] for start, end in self._found}
        self._keys = {match.start(1) for match in _KEY.finditer(source) if sounds_secret(match[1])}
        broken = _parse(compile, source, "", "exec") is None
        at = again = 0
        block = _NO_BLOCK
        while at < len(source):
            statement, at = _statement(source, at)
            block = self._search(statement, block)
            for token in statement if broken else ():  # the lines of a long string, as code
                again, inner = max(again, source.find("\n", token.start, token.end) + 1), _NO_BLOCK
                end = token.start + len(source[token.start : token.inner[1]].rstrip())
                while token.start < again < end:
                    line, again = _statement(source, again)
                    inner = self._search(line, inner)
        self.ranges = merged(self._found)

    def _search(self, statement: list[Token], block: int) -> int:
        """Find the secrets in a statement.  ``block`` is the indentation of the class or function called like a secret
        that the statement is in, or just behind; returned is the same for the next statement."""
        code = [token for token in statement if token.kind != "comment"]
        indent = code[0].start - code[0].line if code else block + 1  # a comment ends no block
        block = block if indent > block else _NO_BLOCK
        broken = any(token.kind == "stray" for token in code)
        named = [token for token in code if token.secret or (broken and sounds_secret(token.word))]
        begin = len(self._source)
        if named and len(code) == 1 and code[0].kind != "name":  # a docstring
            at, end = code[0].inner
            self._found += [(at + a, at + b) for a, b in secrets_in_text(self._source[at:end])]
        elif code and (named or block != _NO_BLOCK):
            begin = named[0].line if block == _NO_BLOCK else code[0].line
            self._hide(code, named, begin, broken)
        for token in statement:
            if token.kind == "comment":
                words = (word.end() for word in re.finditer(r"[\w-]+", token.word) if sounds_secret(word[0]))
                start = 0 if token.line >= begin else next(words, len(token.word))
                self._found.append((token.start + start, token.end))
        if block == _NO_BLOCK and any(a.word in ("class", "def") and b.secret for a, b in pairwise(code)):
            return indent
        return block

    def _hide(self, code: list[Token], named: list[Token], begin: int, broken: bool) -> None:
        """Hide the literals from ``begin`` on, and tell their values.

        A plain word is told only in the line of a sure name, or when the first line has one: it is hidden on all of
        the page then.
        """
        lines = {token.line for token in named if surely_secret(token.word)}
        hidden = [
            token
            for token in code
            if token.line >= begin and token.kind in ("string", "number", "stray") and token.inner[0] not in self._keys
        ]
        for token in hidden:
            self._found.append(token.inner)
            values = [token.word, self._source[slice(*token.inner)], *told_in(token.word)]
            surely = token.line in lines or code[0].line in lines
            self.values.update(value for value in values if surely or not is_plain(value))
        whole = "".join(token.word for token in hidden)  # it may be one string in several pieces
        self.values.update([whole] if not is_plain(whole) else [])
        if broken:
            rest = code[code.index(named[0]) + 1 :] if named else code
            start = next((token.start for token in rest if token.kind != "mark"), code[-1].end)
            self._found.append((start, code[-1].end))
            self.values.add(self._source[start : code[-1].end])


def _without_quotes(source: str) -> list[Range]:
    """PASSWORD = hunter2, which should be a string, for there is no other hunter2 in the source."""
    names = Counter(re.findall(r"\w+", source))
    return [
        match.span(2)
        for match in _BARE.finditer(source)
        if names[match[3]] == 1 and not hasattr(builtins, match[3]) and sounds_secret(match[1])
    ]


def _statement(source: str, at: int) -> tuple[list[Token], int]:
    """The logical line that begins with the line at ``at``, and where the next one does.

    One with a bracket that is closed by none of its kind goes on to the end: where else could it be sure to end?
    """
    tokens: list[Token] = []
    opened: list[str] = []
    line = at
    for match in _TOKEN.finditer(source, at):
        kind, word, (start, end) = match.lastgroup or "", match[0], match.span()
        inner, secret = (start, end), False
        if kind == "name":
            secret = word != "pass" and sounds_secret(word)
            if tokens and tokens[-1].kind == "string" and not keyword.iskeyword(word):
                kind = "stray"  # as in f"{a["b"]}"
        elif kind == "string":
            quote = match["long"] or match["short"]
            first = match.end("prefix") + len(quote)
            closed = word.endswith(quote, first - start)
            inner = first, end - len(quote) if closed else end
            word = _value(word, source[slice(*inner)])
            is_key = _NAME.fullmatch(word) or source[end : end + 2].lstrip()[:1] == ":"
            secret = bool(is_key and sounds_secret(word)) or bool(secrets_in_text(word))
            kind = "string" if closed else "stray"
        elif kind == "open":
            opened.append(word)
        elif kind == "close" and opened[-1:] == [_PAIRS[word]]:
            opened.pop()
        elif kind == "newline" and tokens and not opened and not _goes_on(tokens):
            return tokens, end
        if kind not in ("newline", "space"):
            tokens.append(Token(kind, start, end, line, inner, word, secret))
        if kind not in ("name", "mark"):
            line = source.rfind("\n", start, end) + 1 or line
    return tokens, len(source)


def _goes_on(statement: list[Token]) -> bool:
    """Does a value that is missing in this line stand in the next?"""
    last = statement[-1].word
    return last in ("=", "+") or (last == ":" and [token.kind for token in statement[-2:-1]] == ["string"])


def _value(literal: str, inner: str) -> str:
    """What a string literal says, or else what is written in it."""
    value = _parse(ast.literal_eval, literal) if "\\" in inner else None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else inner if value is None else str(value)


def _parse(parse: Callable[..., object], *arguments: str) -> object:
    """What ``parse`` makes of it; None when it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return parse(*arguments)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
