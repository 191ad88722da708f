"""Knows how the ratios to Granian are drawn: a bar for each server and application, as SVG.  Pure: rows in, text out.

The colours stand on a white ground of their own, so the picture may be shown on a dark page as well as on a light one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from figures import Row, find, ratio
from peers import BARE, GRANIAN, ONE_FLEET, OURS, WAITING

GROUPS = {"plaintext": "Plaintext", "flask_hello": "Flask", "django_hello": "Django", WAITING: "2 ms of waiting"}

WIDTH = 920
MARGIN = 28
LABELS = 190  # where the bars begin
NUMBERS = 60  # room for the number behind the longest bar
TOP = 78  # room for the title
BAR, STEP = 14, 20
HEADING = 34  # room for the name of a group
FOOT = 46

_OURS, _PEER, _TEXT, _SOFT = "#2563a8", "#a3acb5", "#24292f", "#59636e"


def draw(machine: Mapping[str, Any], rows: Sequence[Row]) -> str:
    groups = [(title, shown) for workload, title in GROUPS.items() if (shown := bars(rows, workload))]
    longest = max([1.0, *(times for _, shown in groups for _, times in shown)])
    unit = (WIDTH - LABELS - NUMBERS - MARGIN) / longest
    height = TOP + sum(HEADING + STEP * len(shown) for _, shown in groups) + FOOT
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="system-ui, sans-serif">',
        "<title>Requests per second as a ratio to Granian</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="12" fill="#ffffff"/>',
        _text(MARGIN, 38, "Requests per second, as a ratio to Granian", size=20, weight=600),
        _text(MARGIN, 60, f"{ONE_FLEET} kept connections, one worker process; longer is faster", size=13, fill=_SOFT),
    ]
    y = TOP
    for title, shown in groups:
        lines.append(_text(MARGIN, y + 22, title, size=14, weight=600))
        y += HEADING
        lines += _group(shown, y, unit)
        y += STEP * len(shown)
    lines.append(_text(MARGIN, height - 18, method(machine, rows), size=10, fill=_SOFT))
    return "\n".join([*lines, "</svg>"]) + "\n"


def bars(rows: Sequence[Row], workload: str) -> list[tuple[str, float]]:
    """server -> ratio, of those who have a figure, in the order in which they are measured."""
    reference = find(rows, GRANIAN, workload, ONE_FLEET)
    own = [row for row in rows if (row.workload, row.connections) == (workload, ONE_FLEET)]
    found = [(row.server, ratio(row, reference)) for row in own]
    return [(server, times) for server, times in found if times is not None]


def method(machine: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Date, versions and how it was measured, in one line."""
    drawn = [row for row in rows if row.workload in GROUPS and row.version]
    versions = {BARE if row.server == BARE else row.server.split()[0]: row.version for row in drawn}
    told = [str(machine.get("when", ""))[:10], ", ".join(f"{name} {version}" for name, version in versions.items())]
    if "frameworks" in machine:
        told.append(str(machine["frameworks"]))
    count = max((len(row.rounds) for row in rows), default=0)
    told.append(f"medians of {count} rounds, servers in turn, a core for each side" if count > 1 else "one round")
    return " · ".join(filter(None, told))


def _group(shown: Sequence[tuple[str, float]], y: float, unit: float) -> Iterator[str]:
    x, end = f"{LABELS + unit:.1f}", y + STEP * len(shown)
    yield f'<line x1="{x}" y1="{y - 5}" x2="{x}" y2="{end}" stroke="{_SOFT}" stroke-dasharray="3 3"/>'
    for number, (server, times) in enumerate(shown):
        top = y + STEP * number
        ours = server.startswith(OURS)
        yield _text(LABELS - 10, top + 12, server, size=12, weight=600 if ours else 400, anchor="end")
        yield (
            f'<rect class="bar" x="{LABELS}" y="{top}" width="{times * unit:.1f}" height="{BAR}" rx="2"'
            f' fill="{_OURS if ours else _PEER}"/>'
        )
        yield _text(LABELS + times * unit + 6, top + 12, f"{times:.2f}", size=12)


def _text(
    x: float, y: float, words: str, *, size: int, weight: int = 400, fill: str = _TEXT, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}"'
        f' text-anchor="{anchor}" paint-order="stroke" stroke="#ffffff" stroke-width="3">{escape(words)}</text>'
    )
