"""Patterns for files: what is read, what is refused, and which paths are meant."""

from __future__ import annotations

import re

import pytest

from server_core.config.patterns import Pattern, expression, literal_head, parse_pattern


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("*.txt", Pattern(("*.txt",))),
        ("docs", Pattern(("docs",))),
        ("docs/", Pattern(("docs",), only_directories=True)),
        ("./docs/", Pattern(("docs",), ".", only_directories=True)),
        ("./*.txt", Pattern(("*.txt",), ".")),
        ("data/*.json", Pattern(("data", "*.json"), ".")),
        ("data//./*.json", Pattern(("data", "*.json"), ".")),
        ("**/*.json", Pattern(("**", "*.json"), ".")),
        ("/srv/shared/**", Pattern(("srv", "shared", "**"), "/")),
        ("../shared/*.py", Pattern(("shared", "*.py"), "..")),
        (".././../shared", Pattern(("shared",), "../..")),
        (".env", Pattern((".env",))),
        ("...", Pattern(("...",))),
        ("[]]", Pattern(("[]]",))),
        ("[{]x[}]", Pattern(("[{]x[}]",))),
    ],
)
def test_a_pattern_is_read(text: str, pattern: Pattern) -> None:
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        (".", "names no file"),
        ("./", "names no file"),
        ("/", "names no file"),
        ("..", "names no file"),
        ("../", "names no file"),
        ("data/../x", "has .. after a name"),
        ("data/..", "has .. after a name"),
        ("data/**.json", "has ** beside other characters"),
        ("a[b", "has a [ without its ]"),
        ("[", "has a [ without its ]"),
        ("[!", "has a [ without its ]"),
        ("[]", "has a [ without its ]"),
        ("a[/]b", "has a / in brackets"),
        ("*.{html,css}", "has braces"),
        ("docs\\*.txt", "has a backslash"),
        ("!*.txt", "begins with a !"),
        ("~/notes/*.txt", "begins with ~"),
    ],
)
def test_what_would_silently_mean_something_else_is_refused(text: str, phrase: str) -> None:
    with pytest.raises(ValueError, match=re.escape(phrase)):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("*.txt", ["a.txt", "a.b.txt"], [".txt", ".a.txt", "a.txt~", "a.TXT", "a.txt\n", "d/a.txt"]),
        ("?.txt", ["a.txt"], ["ab.txt", ".txt", "..txt"]),
        ("[a-c]?", ["bx"], ["dx", "b", "b/"]),
        ("[!a-c]", ["d", "-", "\n"], ["a", "/", "."]),
        ("[]x]", ["]", "x"], ["y"]),
        ("[x-]", ["x", "-"], ["y"]),
        ("[z-a]", ["z", "-", "a"], ["m"]),
        ("[!]", ["!"], ["a"]),
        ("[[]&&[~~]", ["[&&~"], ["&"]),
        ("[^a]", ["^", "a"], ["b"]),
        (".*", [".env", "."], ["env"]),
        ("a.b", ["a.b"], ["axb"]),
        ("d/*.txt", ["d/a.txt"], ["d/e/a.txt", "a.txt", "d/.a.txt"]),
        ("d/**/*.txt", ["d/a.txt", "d/e/f/a.txt"], ["d/.e/a.txt", "da.txt", "x/d/a.txt"]),
        ("./**", ["a", "a/b"], [".a", "a/.b"]),
        ("**/x", ["x", "a/b/x"], ["ax", "x/a", ".a/x"]),
        ("**/.x", [".x", "a/.x"], ["x"]),
    ],
)
def test_wildcards_stay_in_one_name_and_leave_hidden_ones_alone(text: str, yes: list[str], no: list[str]) -> None:
    meant = re.compile(rf"(?s:{expression(parse_pattern(text).parts, hidden=False)})\Z")
    assert [path for path in yes if not meant.match(path)] == []
    assert [path for path in no if meant.match(path)] == []


def test_wildcards_that_are_to_leave_nothing_out_stand_for_the_dot_too() -> None:
    for text, path in [("*.env", ".env"), ("**/*", ".a/.b"), ("?x", ".x"), ("[.]x", ".x")]:
        assert re.fullmatch(expression(parse_pattern(text).parts, hidden=True), path)


@pytest.mark.parametrize("part", ["[", "a[", "{a,b}", "**x", "[!", "\\", ""])
def test_what_is_not_well_formed_means_itself_where_nothing_is_refused(part: str) -> None:
    assert re.fullmatch(expression([part], hidden=False), part)


def test_the_head_of_a_path_ends_before_the_first_wildcard() -> None:
    assert literal_head(("a", "b", "*.txt")) == ("a", "b")
    assert literal_head(("**", "a")) == ()
    assert literal_head(("a", "b")) == ("a", "b")
