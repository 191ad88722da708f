"""Knows what the benchmark's arithmetic promises.  Needs neither wrk nor the peers: what wrk prints is kept as text."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import report
from figures import (
    FLOORS,
    Floor,
    Load,
    Round,
    Row,
    Stat,
    complaint,
    family,
    find,
    judge,
    leaves,
    milliseconds,
    parse_stat,
    parse_wrk,
    pick_cores,
    pss_mb,
    ratio,
)
from peers import BODY, PACKAGES, SERVERS, WAITING, WORKLOADS, chosen
from run import loads, read_options

CLEAN = """\
Running 2s test @ http://127.0.0.1:8123/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   750.77us  637.90us   9.84ms   93.67%
    Req/Sec    45.69k    13.97k   66.46k    65.00%
  Latency Distribution
     50%  617.00us
     75%  782.00us
     90%    1.02ms
     99%    3.70ms
  90781 requests in 2.00s, 11.43MB read
Requests/sec:  45349.41
Transfer/sec:      5.71MB
"""

CLOSING_AND_FAILING = """\
Running 1s test @ http://127.0.0.1:8124/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   294.19us  297.02us   5.57ms   96.41%
    Req/Sec    12.54k     1.62k   14.01k    81.82%
  Latency Distribution
     50%  254.00us
     75%  341.00us
     90%  456.00us
     99%    1.02ms
  13732 requests in 1.10s, 545.35KB read
  Socket errors: connect 0, read 13732, write 0, timeout 0
  Non-2xx or 3xx responses: 4577
Requests/sec:  12483.35
Transfer/sec:    495.76KB
"""

TOO_SLOW = """\
Running 5s test @ http://127.0.0.1:8125/slow
  1 threads and 2 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.00us    0.00us   0.00us    -nan%
    Req/Sec     0.00      0.00     0.00    100.00%
  Latency Distribution
     50%    0.00us
     75%    0.00us
     90%    0.00us
     99%    0.00us
  4 requests in 5.02s, 380.00B read
  Socket errors: connect 0, read 0, write 0, timeout 4
Requests/sec:      0.80
Transfer/sec:      75.74B
"""

REFUSED = "unable to connect to 127.0.0.1:8126 Connection refused\n"

ROLLUP = """\
56298ae39000-7ffe96711000 ---p 00000000 00:00 0                          [rollup]
Rss:               15780 kB
Pss:                9767 kB
Pss_Dirty:          5384 kB
Pss_Anon:           5088 kB
Swap:                  0 kB
SwapPss:               0 kB
"""

STAT = (
    "10337 (uwsgi) S 10282 10284 2848 0 -1 4194560 1747 0 6 0 14 30 0 0 20 0 1 0 231869 58589184 3886"
    " 18446744073709551615 94736424050688 94736424593189 140731422409664 0 0 0 0 16777220 24195 1 0 0 17 1"
)


def a_round(rate: float = 100.0, worker_mb: float | None = None, cpu: float = 1.0, **errors: int) -> Round:
    return Round(Load(rate, 2.0, int(rate), errors), tree_mb=30.0, worker_mb=worker_mb, cpu_seconds=cpu, seconds=1.0)


def a_row(server: str, *rates: float, workload: str = "plaintext", worker_mb: float | None = None) -> Row:
    return Row(server, "1.0", workload, 32, [a_round(rate, worker_mb) for rate in rates])


# what wrk says


def test_a_clean_load_has_rate_p99_and_no_errors() -> None:
    assert parse_wrk(CLEAN) == Load(rate=45349.41, p99_ms=3.70, requests=90781, errors={})


def test_socket_errors_and_bad_statuses_are_counted_by_kind() -> None:
    assert parse_wrk(CLOSING_AND_FAILING).errors == {"read": 13732, "status": 4577}


def test_a_timeout_is_an_error_too() -> None:
    assert parse_wrk(TOO_SLOW).errors == {"timeout": 4}


def test_a_load_that_never_began_is_refused_with_the_words_of_wrk() -> None:
    with pytest.raises(ValueError, match="Connection refused"):
        parse_wrk(REFUSED)


def test_a_load_without_its_latency_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="no figures"):
        parse_wrk(CLEAN.replace("99%", "98%"))


@pytest.mark.parametrize(
    ("text", "expected"), [("250.00us", 0.25), ("1.02ms", 1.02), ("1.69s", 1690.0), ("1.50m", 90_000.0)]
)
def test_every_unit_of_a_duration_comes_out_as_milliseconds(text: str, expected: float) -> None:
    assert milliseconds(text) == pytest.approx(expected)


def test_a_duration_without_a_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="not a duration"):
        milliseconds("12")


# what the kernel says


def test_memory_is_the_line_called_pss_and_none_of_its_relatives() -> None:
    assert pss_mb(ROLLUP) == pytest.approx(9767 / 1024)


def test_a_rollup_without_pss_is_refused() -> None:
    with pytest.raises(ValueError, match="Pss"):
        pss_mb("Rss: 1 kB\nSwapPss: 1 kB\n")


def test_a_stat_line_gives_state_parent_session_and_both_kinds_of_processor_time() -> None:
    assert parse_stat(STAT) == Stat(state="S", parent=10282, session=2848, ticks=44)


def test_a_program_name_with_spaces_and_parentheses_moves_no_field() -> None:
    assert parse_stat(STAT.replace("(uwsgi)", "(a (b) c) d)")) == parse_stat(STAT)


def test_a_family_is_the_session_and_all_descendants_without_the_dead() -> None:
    stats = {
        1: Stat("S", 0, 1, 0),
        10: Stat("S", 1, 10, 0),  # the root
        11: Stat("S", 10, 10, 0),  # its child
        12: Stat("S", 11, 12, 0),  # a grandchild in a session of its own
        13: Stat("S", 12, 12, 0),  # whose child stays one of us
        14: Stat("S", 1, 10, 0),  # an orphan of the session
        15: Stat("Z", 10, 10, 0),  # dead, not yet reaped
        20: Stat("S", 1, 20, 0),  # somebody else
    }
    assert family(stats, 10) == {10, 11, 12, 13, 14}
    assert leaves(stats, family(stats, 10)) == {13, 14}


def test_a_family_whose_root_has_gone_is_the_rest_of_its_session() -> None:
    assert family({11: Stat("S", 1, 10, 0), 20: Stat("S", 1, 20, 0)}, 10) == {11}


def test_the_two_cores_are_not_halves_of_one_if_that_can_be() -> None:
    threads = {0: {0, 4}, 4: {0, 4}, 1: {1, 5}, 5: {1, 5}}
    assert pick_cores([0, 1, 4, 5], threads) == (5, 0)
    assert pick_cores([1, 4, 5], threads) == (5, 4)
    assert pick_cores([1, 5], threads) == (5, 1)


def test_a_single_core_is_refused() -> None:
    with pytest.raises(ValueError, match="two processor cores"):
        pick_cores([3], {})


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("[Traceback\n  File x\nModuleNotFoundError: no y\n]\n", "ModuleNotFoundError: no y"),
        ("x.ModError: server_core\nerror: metadata-generation-failed\n", "x.ModError: server_core"),
        ("x.c:1: note\nerror: command failed\nhint: look above\n", "error: command failed"),
        ("starting\nbye\n---\n", "bye"),
        ("", "it printed nothing"),
    ],
)  # fmt: skip
def test_a_failure_is_told_in_the_line_that_says_most(output: str, expected: str) -> None:
    assert complaint(output) == expected


# rounds and ratios


def test_a_figure_is_the_median_of_its_rounds() -> None:
    row = a_row("granian", 10, 100, 90)
    assert row.rate == 90
    assert min(row.rates) == 10


def test_requests_per_cpu_second_do_not_fall_when_others_take_the_core() -> None:
    alone, crowded = a_round(rate=1000, cpu=1.0), a_round(rate=500, cpu=0.5)
    assert Row("x", "", "plaintext", 32, [alone]).per_cpu_second == 1000
    assert Row("x", "", "plaintext", 32, [crowded]).per_cpu_second == 1000
    assert Row("x", "", "plaintext", 32, [crowded]).core_share == 0.5


def test_a_ratio_is_taken_between_medians() -> None:
    assert ratio(a_row("a", 300, 100, 200), a_row("b", 100)) == 2


def test_one_error_in_one_round_disqualifies_the_whole_row() -> None:
    row = a_row("a", 100, 100)
    row.rounds.append(a_round(100, read=1))
    assert not row.counts
    assert row.errors == {"read": 1}
    assert ratio(row, a_row("b", 100)) is None
    assert ratio(a_row("b", 100), row) is None


def test_errors_of_all_rounds_are_added_up() -> None:
    assert Row("a", "", "plaintext", 32, [a_round(read=1), a_round(read=2, status=3)]).errors == {
        "read": 3,
        "status": 3,
    }


def test_a_server_that_failed_half_way_has_no_figure() -> None:
    row = a_row("a", 100)
    row.failure = "gone"
    assert not row.counts


def test_a_row_is_found_by_server_workload_and_connections() -> None:
    rows = [a_row("a", 1), a_row("b", 2), a_row("b", 3, workload=WAITING)]
    assert find(rows, "b", WAITING, 32) is rows[2]
    assert find(rows, "b", "plaintext", 512) is None


# floors

SPEED = Floor("plaintext", "ours", "peer", 1.1)
MEMORY = Floor("plaintext", "ours", "peer", 1, memory=True)


def test_a_rate_at_the_floor_reaches_it_and_one_below_does_not() -> None:
    assert judge(SPEED, [a_row("ours", 110), a_row("peer", 100)]).reached is True
    assert judge(SPEED, [a_row("ours", 109), a_row("peer", 100)]).reached is False


def test_a_verdict_holds_what_was_measured() -> None:
    assert judge(SPEED, [a_row("ours", 250), a_row("peer", 100)]).measured == 2.5


def test_a_floor_whose_rows_were_not_run_is_not_judged() -> None:
    verdict = judge(SPEED, [a_row("ours", 110)])
    assert (verdict.reached, verdict.why) == (None, "not measured")
    assert judge(SPEED, [a_row("ours", 110), a_row("peer", 100)], connections=1).why == "not measured"


def test_our_own_failure_misses_the_floor_but_a_failing_peer_proves_nothing() -> None:
    broken = [Row(name, "", "plaintext", 32, failure="does not start") for name in ("ours", "peer")]
    assert judge(SPEED, [broken[0], a_row("peer", 100)]).reached is False
    assert judge(SPEED, [a_row("ours", 100), broken[1]]).reached is None


def test_errors_miss_the_floor_however_fast_they_came() -> None:
    fast = Row("ours", "", "plaintext", 32, [a_round(9999, status=1)])
    assert judge(SPEED, [fast, a_row("peer", 100)]).reached is False


def test_memory_must_be_below_the_peers_and_equal_is_not_below() -> None:
    peer = a_row("peer", 1, worker_mb=10)
    assert judge(MEMORY, [a_row("ours", 1, worker_mb=9), peer]).reached is True
    assert judge(MEMORY, [a_row("ours", 1, worker_mb=10), peer]).reached is False
    assert judge(MEMORY, [a_row("ours", 1), peer]).reached is None


def test_every_floor_speaks_of_servers_and_workloads_that_are_measured() -> None:
    known = {server.name: server for server in SERVERS}
    for floor in FLOORS:
        assert 32 in WORKLOADS[floor.workload]
        assert known[floor.server].takes(floor.workload)
        assert known[floor.peer].takes(floor.workload)
        assert not floor.memory or (known[floor.server].leaf_is_worker and known[floor.peer].leaf_is_worker)


# servers and workloads


def test_the_beginning_of_a_name_chooses_all_who_share_it_and_a_whole_name_chooses_one() -> None:
    assert [server.name for server in chosen(["gunicorn"])] == [
        "gunicorn sync", "gunicorn gthread", "gunicorn gevent"
    ]  # fmt: skip
    assert [server.name for server in chosen(["granian"])] == ["granian"]
    assert [server.name for server in chosen(["granian*"])] == ["granian", "granian 1 thread"]


def test_an_unknown_server_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(ValueError, match="no server is called apache; there are prefork-serve-sync, "):
        chosen(["apache"])


def test_a_command_line_has_no_gap_left_and_ends_with_the_application() -> None:
    for server in SERVERS:
        for workload in filter(server.takes, WORKLOADS):
            words = server.command_line(Path("/env"), 8123, workload)
            assert words[0].startswith("/env/bin/")
            assert words[-1] == f"{workload}:app"
            assert "8123" in " ".join(words)
            assert "{" not in " ".join(words)


def test_threads_are_added_only_where_the_application_waits() -> None:
    granian = chosen(["granian"])[0]
    assert "--blocking-threads" in granian.command_line(Path("/env"), 1, WAITING)
    assert "--blocking-threads" not in granian.command_line(Path("/env"), 1, "plaintext")


def test_every_server_comes_from_a_package_that_is_installed() -> None:
    assert {server.package for server in SERVERS} <= {"prefork-serve", *PACKAGES}


@pytest.mark.parametrize("workload", ["plaintext", "sleep2"])
def test_a_bare_application_answers_what_every_server_is_checked_for(
    workload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "apps"))
    told: list[object] = []
    body = importlib.import_module(workload).app({}, lambda *args: told.extend(args))
    assert b"".join(body) == BODY
    assert told == ["200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]]


def test_every_workload_is_a_file_in_apps() -> None:
    assert set(WORKLOADS) == {path.stem for path in (Path(__file__).parent / "apps").glob("*.py")}


# the command line


def test_a_full_run_has_every_server_and_workload_and_each_its_own_connections() -> None:
    plan = read_options([])
    assert len(chosen(plan.servers)) == len(SERVERS)
    assert list(loads(plan)) == [(name, number) for name, numbers in WORKLOADS.items() for number in numbers]


def test_a_quick_run_is_one_round_of_plaintext_beside_granian() -> None:
    plan = read_options(["--quick"])
    assert [server.name for server in chosen(plan.servers)] == ["prefork-serve sync", "granian"]
    assert list(loads(plan)) == [("plaintext", 32)]
    assert plan.rounds == 1


def test_what_is_asked_for_wins_over_quick() -> None:
    plan = read_options(["--quick", "--rounds", "2", "--workloads", "sleep2", "--connections", "1,4"])
    assert list(loads(plan)) == [("sleep2", 1), ("sleep2", 4)]
    assert plan.rounds == 2


@pytest.mark.parametrize("words", ["--workloads php", "--servers apache", "--rounds 0", "--connections 1,x"])
def test_a_wrong_option_ends_the_command_with_status_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options(words.split())
    assert ended.value.code == 2
    assert words.split()[1].split(",")[-1] in capsys.readouterr().err


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
    text = report.markdown({"when": "today"}, rows, [judge(floor, rows) for floor in FLOORS])
    assert "- when: today" in text
    assert "## plaintext, 32 connections" in text
    assert "## sleep2, 32 connections" in text
    assert "| plaintext: prefork-serve sync at least 1.1 × granian | 2.20 | yes |  |" in text
    assert f"Not measured in this run: {len(FLOORS) - 1} of {len(FLOORS)} floors." in text


def test_the_json_holds_rounds_medians_ratios_and_verdicts() -> None:
    rows = [a_row("ours", 100, 300, 200), a_row("granian", 100), Row("x", "", "plaintext", 32, failure="no")]
    told = json.loads(report.as_json({"when": "today"}, rows, [judge(FLOORS[0], rows)]))
    ours, _, broken = told["rows"]
    assert ours["rate"] == {"median": 200, "min": 100, "max": 300}
    assert ours["ratios"]["granian"] == 2
    assert len(ours["rounds"]) == 3
    assert (broken["failure"], "rate" in broken) == ("no", False)
    assert told["floors"][0]["reached"] is None
