"""Knows how a run is told: as markdown for people, as JSON for programs, and how the JSON is read again.

Pure: rows and facts in, text out, and back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from figures import PER_REQUEST, Fact, Load, Round, Row, find, ratio
from floors import Verdict

REFERENCES = ("granian", "gunicorn gthread")

_COLUMNS = ("server", "version", "requests/s", "min–max", "p50 ms", "p99 ms", "requests per CPU second", "core used",
            "PSS MB", "PSS MB of a worker", *(f"× {name}" for name in REFERENCES), "remarks")  # fmt: skip
_NONE = "–"


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def remarks(row: Row) -> str:
    said = [] if row.keeps_alive else ["closes after every answer"]
    if row.slow_p99_ms is not None:
        said.append(f"slow ones: p50 {_number(row.slow_p50_ms, '.2f')} ms, p99 {row.slow_p99_ms:.2f} ms")
    if row.balance is not None:
        said.append(f"fullest worker has {row.balance:.2f} × its share of the connections")
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
        _number(row.p50_ms, ".2f"),
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


def fact_tables(facts: Sequence[Fact]) -> list[str]:
    """One table for all numbers of the same unit: a line for each server, a column for each thing found out.

    System calls are many and servers few, so there it is the other way round.
    """
    tables = []
    for unit in dict.fromkeys(fact.unit for fact in facts):
        if unit == PER_REQUEST:
            tables.append(_calls_table([fact for fact in facts if fact.unit == unit]))
            continue
        some = [fact for fact in facts if fact.unit == unit]
        names = list(dict.fromkeys(fact.name for fact in some))
        lines = [_line(("server", "version", *(f"{name}, {unit}" for name in names), "remarks"))]
        lines.append(_line(("---", "---", *["---:"] * len(names), "---")))
        for server in dict.fromkeys(fact.server for fact in some):
            own = {fact.name: fact for fact in some if fact.server == server}
            cells = [_number(own[name].value if name in own else None, ".2f") for name in names]
            said = dict.fromkeys(_told(fact) for fact in own.values() if _told(fact))
            lines.append(_line((server, next(iter(own.values())).version, *cells, "; ".join(said))))
        tables.append("\n".join(lines))
    return tables


def _calls_table(facts: Sequence[Fact]) -> str:
    servers = list(dict.fromkeys(fact.server for fact in facts))
    lines = [_line(("system calls, per request", *servers)), _line(("---", *["---:"] * len(servers)))]
    for name in dict.fromkeys(fact.name for fact in facts):
        own = {fact.server: fact for fact in facts if fact.name == name}
        cells = [_number(own[server].value if server in own else None, ".3f") for server in servers]
        lines.append(_line((name, *cells)))
    lines += [f"\n{fact.server}: {_told(fact)}" for fact in facts if _told(fact)]
    return "\n".join(lines)


def _told(fact: Fact) -> str:
    return fact.remark or (f"failed: {fact.failure.replace('|', '/')}" if fact.failure else "")


def _heading(row: Row) -> str:
    steady = f", {row.arrivals:,.0f} requests/s whatever the answers do" if row.arrivals else ""
    return f"## {row.workload}, {row.connections} connection{'' if row.connections == 1 else 's'}{steady}"


def markdown(
    machine: Mapping[str, Any], rows: Sequence[Row], verdicts: Sequence[Verdict], facts: Sequence[Fact]
) -> str:
    parts = ["# Benchmark", "\n".join(f"- {name}: {value}" for name, value in machine.items())]
    for workload, connections in dict.fromkeys((row.workload, row.connections) for row in rows):
        some = [row for row in rows if (row.workload, row.connections) == (workload, connections)]
        parts += [_heading(some[0]), table(some)]
    if facts:
        parts += ["## Apart from load", *fact_tables(facts)]
    return "\n\n".join([*parts, "## Floors", floors(verdicts)]) + "\n"


def as_json(machine: Mapping[str, Any], rows: Sequence[Row], verdicts: Sequence[Verdict], facts: Sequence[Fact]) -> str:
    told = []
    for row in rows:
        entry = asdict(row) | {"errors": row.errors, "counts": row.counts}
        if row.rounds:
            entry |= {
                "rate": {"median": row.rate, "min": min(row.rates), "max": max(row.rates)},
                "p50_ms": row.p50_ms,
                "p99_ms": row.p99_ms,
                "slow_p50_ms": row.slow_p50_ms,
                "slow_p99_ms": row.slow_p99_ms,
                "balance": row.balance,
                "tree_mb": row.tree_mb,
                "worker_mb": row.worker_mb,
                "per_cpu_second": row.per_cpu_second,
                "core_share": row.core_share,
                "ratios": {name: ratio(row, find(rows, name, row.workload, row.connections)) for name in REFERENCES},
            }
        told.append(entry)
    found = [asdict(fact) | {"value": fact.value} for fact in facts]
    judged = [asdict(verdict) | {"says": str(verdict.floor)} for verdict in verdicts]
    return json.dumps({"machine": dict(machine), "rows": told, "facts": found, "floors": judged}, indent=2) + "\n"


def from_json(text: str) -> tuple[dict[str, Any], list[Row], list[Fact]]:
    """What ``as_json`` wrote; medians, ratios and verdicts are not read, because they follow from the rest."""
    told = json.loads(text)
    rows = []
    for entry in told["rows"]:
        rounds = [Round(**one | {"load": Load(**one["load"])}) for one in entry["rounds"]]
        rows.append(Row(**_own(Row, entry) | {"rounds": rounds}))
    return told["machine"], rows, [Fact(**_own(Fact, entry)) for entry in told.get("facts", [])]


def _own(kind: type, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What of an entry is a field, not a figure that was put beside it."""
    return {each.name: entry[each.name] for each in fields(kind) if each.name in entry}
