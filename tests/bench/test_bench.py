"""Knows what the benchmark's arithmetic promises.  Needs neither wrk nor the peers: what they print is kept as text."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from figures import (
    Fact,
    Load,
    Row,
    Stat,
    complaint,
    established,
    family,
    find,
    imbalance,
    leaves,
    milliseconds,
    parse_stat,
    parse_strace,
    parse_wrk,
    percentile,
    pick_cores,
    pss_mb,
    ratio,
    steady_load,
)
from floors import FLOORS, PRELOADED, Floor, judge
from handshakes import visit
from peers import SERVERS, WAITING, WORKLOADS
from samples import CLEAN, CLOSING_AND_FAILING, REFUSED, ROLLUP, STAT, STRACE, TCP, TOO_SLOW, a_round, a_row
from steady import Visitors, complete, schedule

APPS = Path(__file__).parent / "apps"

# what wrk says


def test_a_clean_load_has_rate_p50_p99_and_no_errors() -> None:
    assert parse_wrk(CLEAN) == Load(rate=45349.41, p99_ms=3.70, requests=90781, errors={}, p50_ms=0.617)


def test_socket_errors_and_bad_statuses_are_counted_by_kind() -> None:
    assert parse_wrk(CLOSING_AND_FAILING).errors == {"read": 13732, "status": 4577}


def test_an_error_that_is_none_in_a_workload_is_not_counted_there() -> None:
    assert parse_wrk(CLOSING_AND_FAILING, harmless=["read"]).errors == {"status": 4577}


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


# what the steady client says


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (50, 99, 100)
    assert percentile([7.0], 99) == 7
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_fast_and_slow_requests_have_figures_of_their_own_and_share_the_rate() -> None:
    told = steady_load([1.0, 2.0, 3.0], [50.0], {"closed": 0, "unanswered": 2}, seconds=2)
    assert (told.rate, told.p50_ms, told.p99_ms) == (2, 2, 3)
    assert (told.slow_p50_ms, told.slow_p99_ms) == (50, 50)
    assert told.errors == {"unanswered": 2}


def test_a_steady_load_without_a_single_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="no request was answered"):
        steady_load([], [], {"unanswered": 9}, seconds=1)


def test_steady_requests_are_evenly_spread_and_each_tenth_is_slow() -> None:
    plan = schedule(200, 2, 10)
    assert len(plan) == 400
    assert {round(later.at - due.at, 9) for due, later in pairwise(plan)} == {0.005}
    assert [number for number, due in enumerate(plan) if due.slow][:3] == [9, 19, 29]
    assert not any(due.slow for due in schedule(200, 2, 0))


def test_an_answer_is_complete_when_its_length_is_there_and_not_before() -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\ncontent-length: 5\r\n\r\nHello"
    assert complete(answer)
    assert not any(complete(answer[:end]) for end in range(len(answer)))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "length"),
    ],
)
def test_an_answer_that_cannot_count_is_an_error_of_its_kind(answer: bytes, kind: str) -> None:
    with pytest.raises(ValueError, match=kind):
        complete(answer)


def test_the_steady_client_counts_latency_from_the_due_time_and_survives_closed_connections() -> None:
    body = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            # Until the listener is shut down. The last connection may end by a reset: the client
            # that came back for it is closed before it asks anything.
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if connection.recv(1000):
                            connection.sendall(body)

        thread = threading.Thread(target=serve)
        thread.start()
        visitors = Visitors(listener.getsockname()[1], 1)
        visitors.run(schedule(100, 0.1, 5), 0.1)
        visitors.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (len(visitors.times[False]), len(visitors.times[True])) == (8, 2)
    assert min(visitors.times[False]) > 0
    assert not +visitors.errors


# what the kernel says


def test_open_connections_are_those_of_the_port_and_none_that_listens_or_ends() -> None:
    assert established(TCP, 8080) == {101, 102}


def test_an_even_spread_is_one_and_a_worker_with_all_of_them_has_its_share_times_the_workers() -> None:
    assert imbalance([32, 32], 2) == 1
    assert imbalance([48, 16, 0], 2) == 1.5
    assert imbalance([64], 2) == 2
    assert imbalance([], 2) is None


def test_system_calls_are_counted_by_name_with_and_without_errors_among_them() -> None:
    assert parse_strace(STRACE) == {"sendto": 16032, "recvfrom": 16064, "epoll_wait": 536}


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


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    assert ratio(a_row("a", 300, 100, 210), a_row("b", 100, 50, 140)) == 2  # that of the medians is 2.1


def test_a_ratio_is_taken_between_medians_where_there_are_not_as_many_rounds_of_both() -> None:
    assert ratio(a_row("a", 300, 100, 200), a_row("b", 100)) == 2


def test_a_floor_is_judged_by_the_ratios_of_the_rounds() -> None:
    floor = Floor("plaintext", "a", "b", 2)
    verdict = judge(floor, [a_row("a", 300, 100, 210), a_row("b", 100, 50, 140)])
    assert (verdict.measured, verdict.reached) == (2, True)


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
MEMORY = Floor("plaintext", "ours", "peer", 1, of="memory")
LATENCY = Floor("plaintext", "ours", "peer", 1.1, of="p99")


def test_a_rate_at_the_floor_reaches_it_and_one_below_does_not() -> None:
    assert judge(SPEED, [a_row("ours", 110), a_row("peer", 100)]).reached is True
    assert judge(SPEED, [a_row("ours", 109), a_row("peer", 100)]).reached is False


def test_of_what_is_done_in_a_second_of_processor_time_more_is_better() -> None:
    floor = Floor("plaintext", "ours", "peer", 1, of="per CPU")
    ours, peer = a_row("ours", 100), a_row("peer", 100)
    ours.rounds[0] = a_round(100, cpu=0.5)
    verdict = judge(floor, [ours, peer])
    assert (verdict.measured, verdict.reached) == (2, True)
    assert str(floor) == "plaintext: requests per CPU second, ours at least 1 × peer"


def test_a_verdict_holds_what_was_measured() -> None:
    assert judge(SPEED, [a_row("ours", 250), a_row("peer", 100)]).measured == 2.5


def test_a_floor_whose_rows_were_not_run_is_not_judged() -> None:
    verdict = judge(SPEED, [a_row("ours", 110)])
    assert (verdict.reached, verdict.why) == (None, "not measured")
    assert judge(replace(SPEED, connections=1), [a_row("ours", 110), a_row("peer", 100)]).why == "not measured"


def test_our_own_failure_misses_the_floor_but_a_failing_peer_proves_nothing() -> None:
    broken = [Row(name, "", "plaintext", 32, failure="does not start") for name in ("ours", "peer")]
    assert judge(SPEED, [broken[0], a_row("peer", 100)]).reached is False
    assert judge(SPEED, [a_row("ours", 100), broken[1]]).reached is None


def test_errors_miss_the_floor_however_fast_they_came() -> None:
    fast = Row("ours", "", "plaintext", 32, [a_round(9999, status=1)])
    assert judge(SPEED, [fast, a_row("peer", 100)]).reached is False


def test_memory_must_not_be_above_the_peers() -> None:
    peer = a_row("peer", 1, worker_mb=10)
    assert judge(MEMORY, [a_row("ours", 1, worker_mb=10), peer]).reached is True
    assert judge(MEMORY, [a_row("ours", 1, worker_mb=11), peer]).reached is False
    assert judge(MEMORY, [a_row("ours", 1), peer]).reached is None


def test_a_latency_must_not_be_above_so_many_times_the_peers() -> None:
    def row(server: str, p99_ms: float) -> Row:
        return Row(server, "", "plaintext", 32, [replace(a_round(), load=Load(100, p99_ms, 100))])

    assert judge(LATENCY, [row("ours", 11), row("peer", 10)]).reached is True
    assert judge(LATENCY, [row("ours", 12), row("peer", 10)]).reached is False
    assert judge(replace(LATENCY, peer="", times=5), [row("ours", 5)]).reached is True
    assert judge(replace(LATENCY, peer="", times=5), [row("ours", 6)]).reached is False


def test_a_rate_may_be_held_against_another_workload_of_the_same_server() -> None:
    floor = Floor("logged", "ours", "ours", 0.9, against="plaintext")
    rows = [a_row("ours", 100), a_row("ours", 95, workload="logged")]
    assert judge(floor, rows).measured == 0.95
    assert str(floor) == "logged: ours at least 0.9 × ours in plaintext"


def test_a_fact_is_judged_by_its_median_and_a_failed_one_as_a_failed_server() -> None:
    floor = Floor("shop memory", "ours", "peer", 0.5, of="fact")
    ours, peer = Fact("shop memory", "MB", "ours", "", [40, 50, 90]), Fact("shop memory", "MB", "peer", "", [100])
    assert judge(floor, [], [ours, peer]).reached is True
    assert judge(floor, [], [replace(ours, failure="no"), peer]).reached is False
    assert judge(floor, [], [ours, replace(peer, failure="no")]).reached is None
    assert judge(floor, [], [peer]).why == "not measured"
    assert judge(Floor("shop memory", "ours", "", 40, of="fact"), [], [ours]).reached is False


def test_every_floor_speaks_of_servers_and_workloads_that_are_measured() -> None:
    known = {server.name: server for server in SERVERS}
    for floor in FLOORS:
        if floor.of == "fact":
            assert floor.server in known
            assert floor.peer in {"", PRELOADED, *known}
            continue
        for name, workload in ((floor.server, floor.workload), (floor.peer, floor.against or floor.workload)):
            if name:
                assert floor.connections in WORKLOADS[workload].connections
                assert known[name].takes(WORKLOADS[workload])
                assert floor.of != "memory" or known[name].leaf_is_worker
                assert floor.of != "balance" or not known[name].routed


def test_no_floor_is_promised_twice() -> None:
    assert len({str(floor) for floor in FLOORS}) == len(FLOORS)


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux")
def test_each_visitor_by_tls_shakes_hands_anew(tmp_path: Path) -> None:
    from run import make_certificate

    make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    visitor = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))

    def answer(listener: socket.socket) -> None:
        for _ in range(3):
            sock, _ = listener.accept()
            with context.wrap_socket(sock, server_side=True) as tls:
                tls.recv(65536)
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        answering = pool.submit(answer, listener)
        for _ in range(3):
            visit(visitor, listener.getsockname()[1])
        answering.result()
    assert (context.session_stats()["accept_good"], context.session_stats()["hits"]) == (3, 0)
