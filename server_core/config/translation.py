"""Knows how a framework's settings become ours, as rows of a table; knows no framework and no table.

A front door has one table.  Its layer, its page in the manual and what ``--show-config`` says of an origin are drawn
from the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from server_core.config.layers import FRAMEWORK, Given, Layer
from server_core.config.schema import SETTINGS
from server_core.errors import ConfigError


@dataclass(frozen=True)
class Translation:
    """One row.

    ``theirs`` is the framework's setting, ``ours`` one of the server's, or in words what it has an effect on.
    ``rule`` says what becomes of the value and ``reason`` why.  ``read`` takes the framework's configuration and
    returns a raw value for our setting, None where the row says nothing; a row without it is heeded elsewhere.
    ``origin`` is for a value that is not where the others are.  ``only_in`` takes the configuration, too, and names the
    profile in which the value counts, "" for both.
    """

    theirs: str
    ours: str
    rule: str
    reason: str
    read: Callable[[Any], object | None] | None = None
    origin: str = ""
    only_in: Callable[[Any], str] = lambda config: ""


def translated(table: Iterable[Translation], config: Any, where: str) -> Layer:
    """What the rows of ``table`` make of ``config``; ``where`` completes the origins: "DEBUG" + " in mysite.settings".

    Of two rows for one setting of ours, the later one that says something counts.  Raises ConfigError for a value that
    cannot even be looked at: some are made by code of the project (lazy texts).
    """
    values: dict[str, Given] = {}
    for row in table:
        if row.read is None:
            continue
        origin = row.origin or where.format(row.theirs)
        try:
            value = row.read(config)
        except Exception as error:
            raise ConfigError(f"{row.ours}: {origin} cannot be read: {type(error).__name__}: {error}")
        if value is not None:
            values[row.ours] = Given(value, origin, row.only_in(config))
    return Layer(FRAMEWORK, values)


def bytes_at_most(value: object, most: int) -> object:
    """A number as frameworks take it, 16e6 or inf too, as a whole number of bytes up to ``most``; all else as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value):
        return int(min(value, most))
    return value


def mount_of(url: str, directory: str) -> dict[str, str] | None:
    """``directory`` below ``url`` as static_mounts has it; None for a URL with a host, for the root of all URLs, and
    for what cannot be written there."""
    try:
        mounts = SETTINGS["static_mounts"].kind.parse({url: directory})
    except ValueError:
        return None
    is_path = url.startswith("/") and not url.startswith("//") and url.strip("/")
    return {url: directory} if is_path and mounts == ((url.rstrip("/") + "/", directory),) else None


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
    name = row.ours.strip("`")
    return f"[`{name}`](settings.md#{name})" if name in SETTINGS else row.ours
