"""Knows that no regular expression of the HTTP floor backtracks: whatever it is given, it takes linear time.

The expressions are found by looking into the modules, so that a new one has to be listed here with the beginnings that
lead an attacker into each of its parts.  What is built upon them is timed in the tests of its own module.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from itertools import product
from time import process_time

import pytest
from growth import TIMES, is_linear

from server_core import http
from server_core.http.head import match_head

SIZES = (20, 500, 8000)  # 20 is enough for time that doubles with each character, and would not end before tomorrow
SECONDS = 0.005
# What is repeated: each character that means something to a pattern, and some pairs over which parts could quarrel.
PUMPS = [*' \ta0.:;,="\\%[?/\r\xff', *("\r\n", "a:\r\n", " \t", " a", "a ", "a,", ", ", "a=", ";a", ";a=a", ' ;a="a"')]
PUMPS += ["%41", '\\"', '""', "::", ":0", "a:", "/?", "?/", "0.0.", "a\\", " ;", "; ", "=a"]
FAULTS = ["", "\x01", "\r\n"]

REQUEST = "GET / HTTP/1.1\r\n"
# RFC 9112, 7.1.1
EXTENSION = ["0", "0;", "0;a", "0;a=", "0;a=a", '0;a="', '0;a="\\', '0;a="a"', "0 ; a = "]
BEGINNINGS: dict[str, list[str]] = {
    "head.match_head": [
        "",
        "GET ",
        "GET /",
        "GET / HTTP/1.1",
        REQUEST,
        f"{REQUEST}A",
        f"{REQUEST}A:",
        f"{REQUEST}A: a",
    ],
    "head._split_fields": ["", "A", "A:", "A: a", "A:\r\nB:"],
    "head._is_method": ["", "GET"],
    "head._is_target": ["", "/"],
    "head._is_path": ["", "/"],
    "head._is_version": ["", "HTTP/1.1"],
    "head._is_field_line": ["", "A", "A:", "A: a"],
    "head._begins_with_method": ["", "GET"],
    "head._may_begin": ["", "\r"],
    "policy._split_absolute": ["", "http://", "https://a", "http://a/", "http://a/?", "http://a?"],
    "policy._split_host": ["", "a", "a:", "[", "[::1", "[::1]", "[::1]:", "%", "%41"],
    "policy._is_length": ["", "1"],
    "policy._is_coding_list": ["", "a", "a,", "a ,", "chunked, "],
    "framing._match_size": ["", *EXTENSION],
    "framing._is_trailer": ["", "A", "A:", "A: a"],
    "forwarded._match_pair": ["", " ", "for", "for=", 'for="', 'for="a"', "for=a", "for=a "],
    "forwarded._node": ["", "1", "1.2.3.4", "1.2.3.4:", "[", "[::1", "[::1]", "[::1]:", "::1"],
    "guard._is_key": ["", "dGhlIHNhbXBsZSBub25jZQ"],
    "proxy_protocol._match_v1": [
        "",
        "PROXY UNKNOWN",
        "PROXY TCP4 ",
        "PROXY TCP4 1 ",
        "PROXY TCP6 : : ",
        "PROXY TCP4 1 1 1 ",
    ],
    "pages._match_weight": ["", "a", "a;", "a; ", "a;q=", "a;q=1.0"],
    "ranges._one_part": ["", "bytes=", "bytes=1", "bytes=1-", "bytes=1-2"],
    "response._is_status": ["", "200", "200 "],
    "response._is_name": ["", "A"],
    "response._is_value": ["", "a"],
    "response._is_length": ["", "1"],
    "response._is_protocol": ["", "a", "a/", "a/a"],
}

Run = Callable[[str], object]


def patterns() -> dict[str, Run]:
    """What each compiled expression in ``server_core.http`` does with a text, by module and name."""
    found: dict[str, Run] = {}
    for info in pkgutil.iter_modules(http.__path__):
        module = importlib.import_module(f"{http.__name__}.{info.name}")
        for name, value in vars(module).items():
            method = value.search if isinstance(value, re.Pattern) else value
            pattern = getattr(method, "__self__", None)
            if isinstance(pattern, re.Pattern):
                found[f"{info.name}.{name}"] = method if isinstance(pattern.pattern, str) else _encoding(method)
    return found


def _encoding(method: Callable[[bytes], object]) -> Run:
    return lambda text: method(text.encode("latin-1"))


PATTERNS = patterns()


def slow(run: Run, beginnings: list[str]) -> Iterator[tuple[str, str, str]]:
    """The attacks (beginning, what is repeated, end) for which ``run`` takes more than linear time."""
    for beginning, pump, fault in product(beginnings, PUMPS, FAULTS):
        for size in SIZES:
            small, large = (beginning + pump * (length // len(pump)) + fault for length in (size // TIMES, size))
            started = process_time()
            run(large)
            if process_time() - started > SECONDS and not is_linear(run, small, large):
                yield beginning, pump, fault
                break


def test_every_regular_expression_is_listed_with_its_beginnings():
    assert set(PATTERNS) == set(BEGINNINGS)


@pytest.mark.parametrize("name", [name for name in BEGINNINGS if name != "head._split_fields"])
def test_a_regular_expression_takes_linear_time(name: str):
    assert list(slow(PATTERNS[name], BEGINNINGS[name])) == []


def test_the_field_lines_of_a_head_that_was_passed_are_split_in_linear_time():
    # This one is only asked for what match_head has passed; on anything else it would backtrack.
    def split(block: str) -> None:
        block += "\r\n"
        if match_head(f"{REQUEST}{block}\r\n"):
            PATTERNS["head._split_fields"](block)

    assert list(slow(split, BEGINNINGS["head._split_fields"])) == []


@pytest.mark.parametrize("pattern", [r"(?:a+)+", r"[ \t]*[ \t]*a", r"(?:a|a)*", r"a[^\r]*[^ ]*:"])
def test_an_expression_that_backtracks_is_noticed(pattern: str):
    assert next(slow(re.compile(pattern).fullmatch, [""]), None) is not None
