"""Knows how the results are told: as a Markdown table for people, as JSON for programs.  Pure: results in, text out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from attacks.tally import BOUND_MS, Felt, Result

_COLUMNS = (
    "attack",
    "server",
    "served",
    "quiet p99 ms",
    "p99 ms",
    "worst ms",
    "p99 ms onset",
    "p99 ms after",
    "MB before",
    "MB peak",
    "MB after",
    "MB queued in the kernel",
    "core used",
    "connections held / ended by the server",
    "remarks",
)
_TEXT = ("attack", "server", "remarks")


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _share(felt: Felt) -> str:
    """Rounded down: 100 % means everybody."""
    return f"{int(felt.share * 1000) / 10:g}%" if felt.asked else "–"


def _p99(felt: Felt) -> str:
    return f"{felt.p99:.1f}" if felt.asked else "–"


def remarks(result: Result) -> str:
    """What the figures do not say, or should be seen first."""
    said = []
    if result.skipped:
        return "**not measured**: " + result.skipped.replace("|", "/")
    if result.attacked.failures:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(result.attacked.failures.items()))
        said.append(f"failed: {kinds}")
    if result.added > BOUND_MS:
        said.append(f"p99 {result.added:.0f} ms above quiet")
    if result.onset.failures:
        said.append(f"{_share(result.onset)} served at the onset")
    if result.after.failures:
        said.append(f"{_share(result.after)} served after the attack")
    if result.siege.established < result.siege.wanted:
        said.append(f"only {result.siege.established:,} of {result.siege.wanted:,} connections were established")
    if result.siege.failed:
        said.append(f"{result.siege.failed:,} attempts to connect failed")
    if result.lost:
        said.append(f"{result.lost} server processes were lost")
    return "; ".join(said)


def _cells(result: Result) -> list[str]:
    if result.skipped:
        return [result.attack, result.server, *["–"] * (len(_COLUMNS) - 3), remarks(result)]
    p99 = f"{result.attacked.p99:.1f}"
    return [
        result.attack,
        result.server,
        _share(result.attacked),
        f"{result.quiet.p99:.1f}",
        p99 if result.holds else f"**{p99}**",
        f"{result.attacked.worst:.1f}",
        _p99(result.onset),
        _p99(result.after),
        f"{result.memory_before:.1f}",
        f"{result.memory_peak:.1f}",
        f"{result.memory_after:.1f}",
        f"{result.queued_peak:.1f}",
        f"{result.cpu:.0%}",
        f"{result.siege.held:,} / {result.siege.ended:,}",
        remarks(result),
    ]


def table(results: Sequence[Result]) -> str:
    """All results, those of one attack beside each other."""
    order = list(dict.fromkeys(result.attack for result in results))
    ordered = sorted(results, key=lambda result: order.index(result.attack))
    rule = _line("---" if name in _TEXT else "---:" for name in _COLUMNS)
    return "\n".join([_line(_COLUMNS), rule, *(_line(_cells(result)) for result in ordered)])


def markdown(machine: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The whole report."""
    told = f"In bold: requests failed, or p99 was more than {BOUND_MS:g} ms above its quiet value."
    known = [result for result in results if not result.skipped]
    kept = f"Kept: {sum(result.holds for result in known)} of {len(known)} rows measured."
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    return "\n\n".join(["# Attacks", facts, table(results), f"{told} {kept}"]) + "\n"


def as_json(machine: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Everything that was measured, without the single latencies."""
    rows = []
    for result in results:
        row = asdict(result) | {"holds": result.holds, "added_ms": result.added}
        for phase in ("quiet", "onset", "attacked", "after"):
            felt: Felt = getattr(result, phase)
            row[phase] = {
                "asked": felt.asked,
                "served": len(felt.latencies),
                "median_ms": felt.median,
                "p99_ms": felt.p99,
                "worst_ms": felt.worst,
                "failures": dict(felt.failures),
            }
        rows.append(row)
    return json.dumps({"machine": dict(machine), "bound_ms": BOUND_MS, "rows": rows}, indent=2) + "\n"
