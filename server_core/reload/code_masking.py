"""Finds the secrets in Python source, also in source that is broken; knows no files and no pages.

A literal is a secret by the names that stand in its element (see ``code_reading``) and in those around it::

    PASSWORD = "..."                              the whole statement
    {"password": "...", "host": "shown"}          the element
    environ.get("SECRET", cast=str, default="")   what follows in the call
    environ["SECRET"] or "..."                    what stands beside the call
    class Secrets: ...                            the whole block
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import textwrap
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from server_core.reload.code_reading import Element, Group, Token, statements_of, tokens_of, tree_of
from server_core.reload.masking import (
    Range,
    asks_for_secret,
    is_harmless_word,
    merged,
    quoted_in,
    secrets_in_text,
    sounds_secret,
    surely_secret,
)

_LOOKS_UP = frozenset("environ env getenv get setdefault pop config".split())
_SETTING = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


@dataclass(eq=False)
class Verdict:
    """How an element names secrets."""

    own: bool = False  # in itself, not in brackets
    keys: set[int] = field(default_factory=set)  # where strings begin that only name one, and can be shown
    deep: int | None = None  # place of the first group that does, as in environ["SECRET"] or "..."
    alone: bool = False  # it is nothing but the name of one, so the value may come next
    whole: bool = False  # it is alias="password", so the value may stand before it, too
    shown: bool = False  # it is the "API_KEY" in environ["API_KEY"], and no secret even in the value of one

    @property
    def outwards(self) -> bool:
        """Does it make a secret of what stands beside the brackets that it is in?"""
        return self.own or self.alone or self.deep is not None


class Secrets:
    """The secrets in a source: ``ranges`` in order, ``values`` as the program sees them or as they are written."""

    def __init__(self, source: str, inside: bool = False) -> None:
        """Lines of ``source`` end by a line feed alone; ``inside`` a string that may have been code."""
        self.values: set[str] = set()
        self._source = source
        self._found: list[Range] = []
        self._verdicts: dict[Element, Verdict] = {}
        tokens = list(tokens_of(source))
        self._names = Counter(token.word for token in tokens if token.kind == "name")
        self._search_code(tokens)
        self._search_comments(tokens)
        #: else one cannot be sure what is a string
        self.parses = inside or _parses(source)
        if not inside:
            self._search_code_in_strings(tokens)
        self.ranges = merged(self._found)
        self._literals = [token for token in tokens if token.kind in ("string", "comment")]
        self._starts = [token.start for token in self._literals]

    def literals(self, start: int, end: int) -> list[Range]:
        """Strings and comments that stand, wholly or in part, in this part of the source."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = bisect_right(self._starts, end)
        return [token.inner for token in self._literals[first:last] if token.end > start]

    # -- statements

    def _search_code(self, tokens: list[Token]) -> None:
        self.waits = False  # at the end, for the value of a secret
        block, surely = -1, False  # the indentation of a class or function that is called like a secret, while in it
        line = before = 0
        for statement in statements_of(self._source, tokens):
            start = statement[0].start
            line = max(line, self._source.rfind("\n", before, start) + 1)
            indent, before = start - line, start
            if indent <= block:
                block = -1
            named = [place for place, token in enumerate(statement) if token.secret]
            self._surely = (block >= 0 and surely) or any(surely_secret(statement[place].word) for place in named)
            tree = tree_of(statement)
            self._judge(tree, in_call=False)
            self._hide(tree, block >= 0)
            if named and any(map(self._is_broken, statement)):
                self._hide_rest(statement, named[0])
            names = [token for token in statement[:3] if token.kind == "name" and token.word != "async"]
            if block < 0 and len(names) > 1 and names[0].word in ("def", "class") and names[1].secret:
                block, surely = indent, surely_secret(names[1].word)
            kinds = [token.kind for token in statement]
            opened = kinds.count("open") > kinds.count("close")
            last = statement[-1]
            operator = (last.kind == "mark" and last.word != ".") or keyword.iskeyword(last.word)
            self.waits = (opened or (operator and last is tokens[-1])) and (bool(named) or block >= 0)

    def _hide_rest(self, statement: list[Token], named: int) -> None:
        """Who knows where the secret in a broken statement begins and ends."""
        rest = [token for token in statement[named + 1 :] if token.kind in ("name", "number", "string", "stray")]
        if rest:
            self._found.append((rest[0].start, statement[-1].end))
            self.values.add(self._source[rest[0].start : statement[-1].end])

    def _is_broken(self, token: Token) -> bool:
        prefix = self._source[token.start : token.inner[0]].lower() if token.kind == "string" else ""
        if "f" in prefix or "t" in prefix:  # f"{a["b"]}" has been taken for two strings
            return token.word.count("{") != token.word.count("}")
        return token.kind == "stray"

    # -- how an element names secrets

    def _judge(self, element: Element, in_call: bool) -> None:
        verdict = self._verdicts[element] = Verdict()
        value = False  # behind a sign
        for place, item in enumerate(element.items):
            if isinstance(item, Group):
                for each in item.elements:
                    self._judge(each, item.call)
                if item.call and _is_setting(element.items[place - 1], item.elements[0]):
                    self._verdicts[item.elements[0]].shown = True
                # Not out of {"default": {"PASSWORD": ...}, "other": ...}, but out of {("a", "PASSWORD"): ...}.
                if verdict.deep is None and (item.call or not value) and self._any_outwards(item):
                    verdict.deep = place
            elif item.kind == "name":
                verdict.own |= item.secret
            elif item.kind == "string":
                follows = element.items[place + 1 : place + 2]
                if follows and isinstance(follows[0], Token) and follows[0].kind == "string":
                    continue
                strings = _strings_up_to(element.items, place)
                text = "".join(each.word for each in strings)
                names = bool(follows) and _is_mark(follows[0], "=:,") and sounds_secret(text[:200])
                if names or asks_for_secret(text):
                    verdict.own = True
                    verdict.keys |= {each.start for each in strings}
            value = value or _is_mark(item, "=:")
        self._judge_alone(element, verdict, in_call)

    def _any_outwards(self, group: Group) -> bool:
        return any(self._verdicts[each].outwards for each in group.elements)

    def _judge_alone(self, element: Element, verdict: Verdict, in_call: bool) -> None:
        items = [item for item in element.items if isinstance(item, Group) or item.kind != "comment"]
        if not items:
            return
        first, last = items[0], items[-1]
        if isinstance(last, Group):  # zip(("user", "password"), ("...", "..."))
            verdict.alone = len(items) == 1 and in_call and any(self._verdicts[each].alone for each in last.elements)
        elif last.kind == "name":
            plain = all(isinstance(item, Token) and (item.kind == "name" or item.word == ".") for item in items)
            verdict.alone = last.secret and plain
        elif last.kind == "string" and len(items) == 1 and verdict.own:  # log("password: %s", "...")
            verdict.alone = in_call
        elif last.secret and len(items) == 1:  # in a list, a dotted name is more likely a module's
            verdict.alone = in_call or "." not in last.word
        elif last.secret and len(items) == 3 and in_call and _is_mark(items[1], "=") and "." not in last.word:
            verdict.alone = True
            verdict.whole = isinstance(first, Token) and first.word != "name"  # name="password_reset" is Django's

    # -- what is hidden of it

    def _hide(self, element: Element, hidden: bool) -> None:
        """Hide what is secret in an element, or all literals in it."""
        verdict = self._verdicts[element]
        masked: list[Token] = []
        run: list[Token] = []  # strings that Python puts together
        for place, item in enumerate(element.items):
            if isinstance(item, Group):
                behind = verdict.deep is not None and place > verdict.deep
                self._hide_group(item, hidden or verdict.own or behind)
            elif item.kind == "number":
                if hidden or verdict.own or (verdict.deep is not None and len(item.word) > 1):
                    self._add(item)
            elif item.kind in ("string", "comment"):
                names = item.start in verdict.keys
                key = names or any(_is_mark(each, ":") for each in element.items[place + 1 : place + 2])
                beside = (verdict.own and not names) or (verdict.deep is not None and not key)
                if (hidden or beside) and not verdict.shown:
                    self._add(item, names)
                    masked.append(item)
                elif item.kind == "string":
                    run.append(item)
                    continue
            if not (_is_mark(item, "+") or (isinstance(item, Token) and item.kind == "comment")):
                self._search_strings(run)
                run = []
        self._search_strings(run)
        whole = "".join(token.word for token in masked if token.kind == "string")
        if self._surely or not is_harmless_word(whole):
            self.values.add(whole)
        self._hide_without_quotes(element)

    def _hide_group(self, group: Group, hidden: bool) -> None:
        hidden = hidden or any(self._verdicts[element].whole for element in group.elements)
        named = False
        for element in group.elements:
            self._hide(element, hidden or named)
            named = self._verdicts[element].alone or (named and group.call)

    def _add(self, token: Token, key: bool = False) -> None:
        self._found.append(token.inner)
        if token.kind == "comment" or (key and token.word.replace("_", "").isalpha()):
            return  # the word "password" is to be read elsewhere
        self._search_strings([token])
        if self._surely or not is_harmless_word(token.word):
            self.values |= {self._source[slice(*token.inner)], token.word}

    def _search_strings(self, run: list[Token]) -> None:
        """Hide the secrets in what strings say, taken together."""
        if not run:
            return
        text = "".join(self._source[slice(*token.inner)] for token in run)
        ranges = merged(secrets_in_text(text))
        for start, end in ranges:
            self.values.add(text[start:end])
            self.values |= {part for part in quoted_in(text[start:end]) if not is_harmless_word(part)}
        before = 0
        for token in run:
            first, last = token.inner
            for start, end in ranges:
                here = max(start - before, 0) + first, min(end - before + first, last)
                if here[0] < here[1]:
                    self._found.append(here)
            before += last - first

    def _hide_without_quotes(self, element: Element) -> None:
        """PASSWORD = hunter2: a constant whose value is a name that is found nowhere else, so it should be a string."""
        items = element.items
        if not items or isinstance(items[0], Group) or not items[0].secret or not items[0].word.isupper():
            return
        signs = [place for place, item in enumerate(items) if _is_mark(item, "=:")]
        rest = items[signs[-1] + 1 :] if signs else []
        tokens = [item for item in rest if isinstance(item, Token) and item.kind != "comment"]
        if any(isinstance(item, Group) or item.kind == "string" for item in rest):
            return
        names = [token for token in tokens if token.kind == "name"]
        heads = [token.word for token in names if self._source[token.start - 1] != "."]
        if any(
            self._names[name] == 1 and not keyword.iskeyword(name) and not hasattr(builtins, name) for name in heads
        ):
            self._found.append((tokens[0].start, tokens[-1].end))
            self.values |= {self._source[tokens[0].start : tokens[-1].end], *(token.word for token in names)}

    # -- strings and comments

    def _search_code_in_strings(self, tokens: list[Token]) -> None:
        """Code can be put into quotes; and when the end of a long string was forgotten, the code behind it is, too."""
        for token in tokens:
            first, last = token.inner
            if token.kind != "string":
                continue
            code = None
            for start, piece in _code_in(self._source[first:last], all_of_it=not self.parses):
                code = Secrets(piece, inside=True)
                self._found += [(begin + start + first, end + start + first) for begin, end in code.ranges]
                self.values |= code.values
            quote = self._source[last : token.end]
            if code and code.waits and quote and not self.parses:  # it ends like PASSWORD = """, so this is a beginning
                end = self._source.find(quote, token.end)
                end = len(self._source) if end < 0 else end
                self._found.append((token.end, end))
                self.values.add(self._source[token.end : end])

    def _search_comments(self, tokens: list[Token]) -> None:
        """Hide comments beside something secret, and what follows on a word for it."""
        beside = told = False
        alone = True  # nothing but comments in this line so far
        for token in tokens:
            if token.kind == "newline":
                beside, alone = False, True
            elif token.kind != "comment":
                beside = beside or token.secret
                alone = told = False
            elif beside or (alone and told):
                self._found.append(token.inner)
            else:
                start, end = token.inner
                words = re.finditer(r"[\w-]+", self._source[start:end])
                word = next((word for word in words if sounds_secret(word[0][:200])), None)
                told = word is not None
                if word:
                    rest = re.compile(r"[\W_]*").match(self._source, start + word.end(), end)
                    self._found.append((rest.end() if rest else start, end))
                self._search_strings([token])


def _code_in(text: str, all_of_it: bool) -> Iterator[tuple[int, str]]:
    """What may be code with strings, in a string: all of it, or the lines that can be; and where they begin."""
    if not ("'" in text or '"' in text or (all_of_it and "\n" in text)):
        return
    if all_of_it or _parses(textwrap.dedent(text)):
        yield 0, text
        return
    at = 0
    for line in text.split("\n"):
        if ("'" in line or '"' in line) and _parses(line.lstrip(" \t>.")):  # >>> is the prompt in examples
            yield at, line
        at += len(line) + 1


def _parses(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


def _is_setting(before: Token | Group, element: Element) -> bool:
    """Is this environ["API_KEY"], getenv("API_KEY", ...) or one of their kind?  What stands before it is ``before``."""
    if isinstance(before, Group) or before.word not in _LOOKS_UP or len(element.items) != 1:
        return False
    name = element.items[0]
    return isinstance(name, Token) and name.kind == "string" and bool(_SETTING.fullmatch(name.word))


def _is_mark(item: Token | Group, words: str) -> bool:
    return isinstance(item, Token) and item.kind == "mark" and item.word in words


def _strings_up_to(items: list[Token | Group], place: int) -> list[Token]:
    """The string at this place and those directly before it, which Python makes one."""
    found: list[Token] = []
    while place >= 0 and isinstance(item := items[place], Token) and item.kind == "string":
        found.append(item)
        place -= 1
    return found[::-1]
