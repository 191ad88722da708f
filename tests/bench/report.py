"""Knows how a run is told: as markdown for people, as JSON for programs.  Pure: rows in, text out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from figures import Row, Verdict, find, ratio

REFERENCES = ("granian", "gunicorn gthread")

_COLUMNS = ("server", "version", "requests/s", "min–max", "p99 ms", "requests per CPU second", "core used",
            "PSS MB", "PSS MB of a worker", *(f"× {name}" for name in REFERENCES), "remarks")  # fmt: skip
_NONE = "–"


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def remarks(row: Row) -> str:
    said = [] if row.keeps_alive else ["closes after every answer"]
    if row.errors:
        said.append("errors, so no figure: " + ", ".join(f"{kind} {n:,}" for kind, n in sorted(row.errors.items())))
    if row.failure:
        said.append("failed: " + row.failure.replace("|", "/"))
    return "; ".join(said)


def _cells(row: Row, rows: Sequence[Row]) -> list[str]:
    if not row.rounds:
        return [row.server, row.version, *[_NONE] * (len(_COLUMNS) - 3), remarks(row)]
    rate = f"{row.rate:,.0f}"
    against = [find(rows, name, row.workload, row.connections) for name in REFERENCES]
    return [
        row.server,
        row.version,
        rate if row.counts else f"~~{rate}~~",
        f"{min(row.rates):,.0f}–{max(row.rates):,.0f}",
        f"{row.p99_ms:.2f}",
        _number(row.per_cpu_second, ",.0f"),
        f"{row.core_share:.0%}",
        f"{row.tree_mb:.1f}",
        _number(row.worker_mb, ".1f"),
        *(_number(ratio(row, other), ".2f") for other in against),
        remarks(row),
    ]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(rows: Sequence[Row]) -> str:
    """One table: the rows of one workload with one number of connections."""
    rule = _line("---" if name in ("server", "version", "remarks") else "---:" for name in _COLUMNS)
    return "\n".join([_line(_COLUMNS), rule, *(_line(_cells(row, rows)) for row in rows)])


def floors(verdicts: Sequence[Verdict]) -> str:
    words = {True: "yes", False: "**no**", None: "undecided"}
    known = [verdict for verdict in verdicts if verdict.why != "not measured"]
    lines = [_line(("floor", "measured", "reached", "remarks")), _line(("---", "---:", "---", "---"))]
    for verdict in known:
        lines.append(_line((str(verdict.floor), _number(verdict.measured, ".2f"), words[verdict.reached], verdict.why)))
    if left := len(verdicts) - len(known):
        lines += ["", f"Not measured in this run: {left} of {len(verdicts)} floors."]
    return "\n".join(lines)


def markdown(machine: Mapping[str, Any], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    parts = ["# Benchmark", "\n".join(f"- {name}: {value}" for name, value in machine.items())]
    for workload, connections in dict.fromkeys((row.workload, row.connections) for row in rows):
        parts.append(f"## {workload}, {connections} connection{'' if connections == 1 else 's'}")
        parts.append(table([row for row in rows if (row.workload, row.connections) == (workload, connections)]))
    return "\n\n".join([*parts, "## Floors", floors(verdicts)]) + "\n"


def as_json(machine: Mapping[str, Any], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    told = []
    for row in rows:
        entry = asdict(row) | {"errors": row.errors, "counts": row.counts}
        if row.rounds:
            entry |= {
                "rate": {"median": row.rate, "min": min(row.rates), "max": max(row.rates)},
                "p99_ms": row.p99_ms,
                "tree_mb": row.tree_mb,
                "worker_mb": row.worker_mb,
                "per_cpu_second": row.per_cpu_second,
                "core_share": row.core_share,
                "ratios": {name: ratio(row, find(rows, name, row.workload, row.connections)) for name in REFERENCES},
            }
        told.append(entry)
    judged = [asdict(verdict) | {"says": str(verdict.floor)} for verdict in verdicts]
    return json.dumps({"machine": dict(machine), "rows": told, "floors": judged}, indent=2) + "\n"
