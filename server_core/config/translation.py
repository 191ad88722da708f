"""Knows how a framework's settings become ours, as rows of a table; knows no framework and no table.

A front door has one table.  Its layer, its page in the manual and what ``--show-config`` says of an origin are drawn
from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from server_core.config.layers import FRAMEWORK, Given, Layer
from server_core.config.schema import SETTINGS


@dataclass(frozen=True)
class Translation:
    """One row.

    ``theirs`` is the framework's setting, ``ours`` one of the server's, or in words what it has an effect on.
    ``rule`` says what becomes of the value and ``reason`` why.  ``read`` takes the framework's configuration and
    returns a raw value for our setting, None where the row says nothing; a row without it is heeded elsewhere.
    """

    theirs: str
    ours: str
    rule: str
    reason: str
    read: Callable[[Any], object | None] | None = None


def translated(table: Iterable[Translation], config: Any, where: str) -> Layer:
    """What the rows of ``table`` make of ``config``; ``where`` completes the origins: "DEBUG" + " in mysite.settings".

    Of two rows for one setting of ours, the later one that says something counts.
    """
    values: dict[str, Given] = {}
    for row in table:
        value = row.read(config) if row.read is not None else None
        if value is not None:
            values[row.ours] = Given(value, where.format(row.theirs))
    return Layer(FRAMEWORK, values)


def translation_page(framework: str, opening: str, table: Iterable[Translation]) -> str:
    """The manual's page of a table, in Markdown."""
    rows = [f"| `{row.theirs}` | {_ours(row)} | {row.rule} | {row.reason} |" for row in table]
    return "\n".join(
        [
            "<!-- Drawn by `make docs` from the declarations in the code: change those. -->",
            f"# Settings of {framework}",
            "",
            opening,
            "",
            f"| {framework} | here | rule | reason |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _ours(row: Translation) -> str:
    return f"[`{row.ours}`](settings.md#{row.ours})" if row.ours in SETTINGS else row.ours
