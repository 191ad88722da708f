"""Which variables follow ./.env, and what becomes of them when it changes."""

from __future__ import annotations

import pytest

from server_core.gateway.dotenv import names_in_force, read_files, renew


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=one", "one"),
        ("A = one", "one"),
        ("  export A=one", "one"),
        ("A=one two  # three", "one two"),
        ("A=one#two", None),
        ("A='one # $two'", "one # $two"),
        ('A="one two" # three', "one two"),
        ("A=", ""),
        ("A=''", ""),
        ("A=$HOME", None),  # what it means is up to who reads it
        ('A="one ${TWO}"', None),
        ('A="two\\nlines"', None),
        ("# A=one", None),
        ("A", None),
        ("A='one", None),
    ],
)
def test_plain_lines_are_understood_and_no_others(folder, line, value):
    (folder / ".env").write_text(f"FIRST=1\n{line}\nLAST=2\n")
    expected = {"FIRST": "1", "LAST": "2"} | ({} if value is None else {"A": value})
    assert read_files() == expected


def test_env_counts_more_than_flaskenv(folder):
    (folder / ".flaskenv").write_text("A=1\nB=1\n")
    (folder / ".env").write_text("A=2\n")
    assert read_files() == {"A": "2", "B": "1"}


def test_what_the_environment_says_otherwise_is_not_the_files(folder):
    (folder / ".env").write_text("A=1\nB=2\nC=3\n")
    environ = {"A": "1", "B": "of the shell"}
    assert names_in_force(environ) == ("A",)


def test_variables_follow_the_file_and_go_with_it(folder):
    (folder / ".env").write_text("A=new\nC=3\n")
    environ = {"A": "old", "B": "gone", "C": "of the shell"}
    renew(environ, ("A", "B"))
    assert environ == {"A": "new", "C": "of the shell"}


def test_no_file_and_a_file_that_is_no_text_are_nothing(folder):
    assert read_files() == {}
    (folder / ".env").write_bytes(b"A=\xff\n")
    assert read_files() == {}
