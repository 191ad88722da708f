"""A finding's name has one meaning in the whole project, and the manual has it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from server_core.gateway.findings import ANY, DJANGO, FINDINGS, FLASK

ROOT = Path(__file__).parents[2]
is_name = re.compile(r"serve\.[EW][0-9]{3}").fullmatch


def finders() -> dict[str, set[str]]:
    """The packages that have each name in their code, but for the table of meanings and docstrings."""
    found = defaultdict(set)
    for package in (ANY, DJANGO, FLASK):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "findings.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and is_name(node.value):
                    found[node.value].add(package)
    return dict(found)


def test_each_name_has_one_meaning_and_is_found_where_the_table_says() -> None:
    assert finders() == {name: set(meaning.of) for name, meaning in FINDINGS.items()}


def test_no_two_names_mean_the_same() -> None:
    assert len({meaning.what for meaning in FINDINGS.values()}) == len(FINDINGS)


def test_every_finding_has_a_name_that_can_be_looked_up() -> None:
    for package in (ANY, DJANGO, FLASK):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
                    first = node.args[0]
                    # Django's own checks come with a name.
                    assert ast.unparse(first) == "str(message.id or 'check')" or ast.literal_eval(first) in FINDINGS, (
                        path
                    )


def test_the_manual_names_no_finding_that_there_is_not() -> None:
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        assert set(re.findall(r"serve\.[EW][0-9]{3}", path.read_text(encoding="utf-8"))) <= set(FINDINGS), path
