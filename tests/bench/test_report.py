"""Knows how a run is told: tables, JSON and back, and the chart, whose bars are as long as the figures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import chart
import pytest
import report
import run
from figures import PER_REQUEST, Fact, Load, Row
from floors import FLOORS, judge
from peers import WAITING
from samples import a_round, a_row

# the report


def test_a_figure_with_errors_is_struck_out_and_the_errors_are_shown() -> None:
    row = Row("a", "1.0", "plaintext", 32, [a_round(1234, read=5)])
    assert "~~1,234~~" in report.table([row])
    assert "errors, so no figure: read 5" in report.table([row])


def test_a_server_that_failed_is_a_row_with_its_reason_and_no_figures() -> None:
    row = Row("a", "", "plaintext", 32, failure="ended with status 1 | bye")
    last = report.table([row]).splitlines()[-1]
    assert "failed: ended with status 1 / bye" in last
    assert len({line.count("|") for line in report.table([row]).splitlines()}) == 1


def test_the_ratios_are_taken_to_granian_and_to_gunicorn_gthread() -> None:
    rows = [a_row("ours", 400), a_row("granian", 200), a_row("gunicorn gthread", 100)]
    assert "| 2.00 | 4.00 |" in report.table(rows).splitlines()[2]


def test_the_markdown_has_a_table_for_each_load_and_counts_the_floors_not_measured() -> None:
    rows = [a_row("prefork-serve sync", 220), a_row("granian", 100), a_row("granian", 5, workload=WAITING)]
    text = report.markdown({"when": "today"}, rows, [judge(floor, rows) for floor in FLOORS], [])
    assert "- when: today" in text
    assert "## plaintext, 32 connections" in text
    assert "## sleep2, 32 connections" in text
    assert "| plaintext: prefork-serve sync at least 1.2 × granian | 2.20 | yes |  |" in text
    judged = [floor for floor in FLOORS if (floor.workload, floor.connections, floor.of) == ("plaintext", 32, "rate")]
    unmeasured = len(FLOORS) - sum(floor.peer == "granian" for floor in judged)
    assert f"Not measured in this run: {unmeasured} of {len(FLOORS)} floors." in text


def test_the_json_holds_rounds_medians_ratios_and_verdicts() -> None:
    rows = [a_row("ours", 100, 300, 200), a_row("granian", 100), Row("x", "", "plaintext", 32, failure="no")]
    told = json.loads(report.as_json({"when": "today"}, rows, [judge(FLOORS[0], rows)], []))
    ours, _, broken = told["rows"]
    assert ours["rate"] == {"median": 200, "min": 100, "max": 300}
    assert ours["ratios"]["granian"] == 2
    assert len(ours["rounds"]) == 3
    assert (broken["failure"], "rate" in broken) == ("no", False)
    assert told["floors"][0]["reached"] is None


def test_a_saved_run_is_told_again_word_for_word() -> None:
    rows = [a_row("prefork-serve sync", 100, 300), a_row("granian", 100, worker_mb=3), a_row("granian", 5, 6, 7)]
    rows[2].arrivals, rows[2].workload, rows[2].rounds[0] = 50, "mixed", replace(a_round(5, closed=1), balance=1.2)
    facts = [Fact("shop start", "s", "granian", "1", [0.5, 0.7]), Fact("shop start", "s", "x", "", failure="no")]
    verdicts = [judge(floor, rows, facts) for floor in FLOORS]
    machine, again, found = report.from_json(report.as_json({"when": "today"}, rows, verdicts, facts))
    assert (machine, again, found) == ({"when": "today"}, rows, facts)


def test_steady_arrivals_are_told_in_the_heading_and_slow_requests_in_the_remarks() -> None:
    load = Load(200, 1.5, 600, p50_ms=0.5, slow_p50_ms=51, slow_p99_ms=60)
    row = Row("a", "1.0", "mixed", 32, [replace(a_round(), load=load, balance=1.25)], arrivals=200)
    text = report.markdown({}, [row], [], [])
    assert "## mixed, 32 connections, 200 requests/s whatever the answers do" in text
    assert "slow ones: p50 51.00 ms, p99 60.00 ms" in text
    assert "fullest worker has 1.25 × its share" in text


def test_facts_of_one_unit_stand_in_one_table_with_a_line_for_each_server() -> None:
    facts = [
        Fact("shop start", "s", "a", "1", [0.5]),
        Fact("shop reload", "s", "a", "1", [1.5]),
        Fact("shop start", "s", "b", "2", failure="does | not"),
        Fact("shop memory", "MB", "a", "1", [40], remark="so it is"),
    ]
    times, memory = report.fact_tables(facts)
    assert times.splitlines()[0] == "| server | version | shop start, s | shop reload, s | remarks |"
    assert times.splitlines()[2:] == ["| a | 1 | 0.50 | 1.50 |  |", "| b | 2 | – | – | failed: does / not |"]
    assert memory.splitlines()[-1] == "| a | 1 | 40.00 | so it is |"


def test_system_calls_stand_with_a_line_for_each_and_a_column_for_each_server() -> None:
    facts = [
        Fact("sendto", PER_REQUEST, "a", "1", [1.0]),
        Fact("recvfrom", PER_REQUEST, "a", "1", [1.002]),
        Fact("sendto", PER_REQUEST, "b", "1", [2.0]),
    ]
    (calls,) = report.fact_tables(facts)
    assert calls.splitlines()[0] == "| system calls, per request | a | b |"
    assert calls.splitlines()[2:] == ["| sendto | 1.000 | 2.000 |", "| recvfrom | 1.002 | – |"]


# the chart

RUN = [
    a_row("prefork-serve sync", 150, 300, 200), a_row("granian", 100), a_row("waitress", 25),
    a_row("prefork-serve gthread", 90, workload=WAITING), a_row("granian", 100, workload=WAITING),
]  # fmt: skip


def widths(drawing: str) -> list[float]:
    return [float(width) for width in re.findall(r'class="bar"[^>]* width="([\d.]+)"', drawing)]


def test_the_bars_are_as_long_as_the_ratios_and_the_longest_fills_the_width() -> None:
    drawn = widths(chart.draw({"when": "2026-01-02T03:04"}, RUN))
    room = chart.WIDTH - chart.LABELS - chart.NUMBERS - chart.MARGIN
    assert drawn == pytest.approx([room, room / 2, room / 8, room * 0.45, room / 2], abs=0.1)


def test_a_faster_run_draws_a_longer_bar_beside_the_same_others() -> None:
    slow, fast = (
        widths(chart.draw({}, [a_row("a", rate), a_row("granian", 100), a_row("b", 400)])) for rate in (50, 200)
    )
    assert fast[0] == pytest.approx(4 * slow[0], abs=0.3)
    assert fast[1:] == slow[1:]


def test_a_server_without_a_figure_has_no_bar_and_an_application_without_granian_no_group() -> None:
    rows = [*RUN, Row("uwsgi", "", "plaintext", 32, failure="no"), a_row("granian", 1, workload="x")]
    assert chart.draw({}, rows) == chart.draw({}, RUN)
    assert "Flask" not in chart.draw({}, RUN)


def test_the_drawing_is_whole_xml_that_tells_numbers_date_versions_and_method() -> None:
    rows = [*RUN, a_row("<odd & old>", 50)]
    drawing = chart.draw({"when": "2026-01-02T03:04", "frameworks": "flask 3"}, rows)
    words = [text.text or "" for text in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]
    assert {"prefork-serve sync", "2.00", "<odd & old>", "0.50", "Plaintext", "2 ms of waiting"} <= set(words)
    assert words[-1].startswith("2026-01-02 · prefork-serve 1.0, granian 1.0, waitress 1.0")
    assert words[-1].endswith("flask 3 · medians of 3 rounds, servers in turn, a core for each side")


def test_no_chart_is_drawn_where_nothing_was_measured_that_it_shows(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "chart.svg"
    options = run.read_options(["--chart", str(path)])
    run.tell_all(options, {}, [a_row("prefork-serve sync", 100)], [])
    assert not path.exists()
    assert "no chart is drawn: in this run nothing was measured beside granian" in capsys.readouterr().err
    run.tell_all(options, {}, RUN, [])
    assert path.read_text().startswith("<svg")
