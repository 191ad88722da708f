"""Knows what the attack program promises, and that a real server keeps serving a normal client under every attack.

Here the attacks are small and short, and the bound is wide, so that a loaded machine does not fail falsely; the slow
test has them whole, with the bound that was promised.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from live import LiveServer

from attacks import TESTS, run, slowhttptest, table
from attacks.attacker import raise_descriptor_limit
from attacks.catalogue import ATTACKS, Attack, chosen, key, request, unfinished
from attacks.measure import Plan, ask, measure, queued
from attacks.tally import BOUND_MS, LIMIT, Felt, Result, Siege, percentile

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="attacks need epoll, /proc and addresses such as 127.0.1.1")
EVERY = pytest.mark.parametrize("attack", ATTACKS, ids=[key(attack.name) for attack in ATTACKS])
SMALL = Plan(seconds=0.8, onset=0, after=0, rest=0, scale=0.1)
WHOLE = Plan()
GENEROUS_MS = 250.0
MOST_MB = 150.0  # that an attack may cost while it lasts: buffers have a limit of their own, connections are small
KEPT_MB = 40.0  # that may be left of it when it is over: what an allocator keeps for next time


class TestFigures:
    def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(self):
        values = [float(number) for number in range(100, 0, -1)]
        assert percentile(values, 99) == 99
        assert percentile(values, 50) == 50
        assert percentile(values, 100) == 100
        assert percentile([7.0], 99) == 7
        assert percentile([1.0, 2.0, 3.0], 50) == 2

    def test_a_percentile_of_nothing_is_nothing(self):
        assert percentile([], 99) == 0

    def test_a_request_that_failed_counts_as_the_whole_limit(self):
        felt = Felt((1.0,) * 98, {"no answer": 2})
        assert felt.asked == 100
        assert felt.share == 0.98
        assert felt.median == 1
        assert felt.p99 == LIMIT * 1000
        assert felt.worst == LIMIT * 1000

    def test_nobody_who_did_not_ask_was_served(self):
        assert Felt().share == 0
        assert Felt().worst == 0

    def test_the_promise_is_kept_when_all_are_served_within_the_bound(self):
        quiet = Felt((2.0,) * 100)
        assert Result("s", "a", quiet, Felt((2.0 + BOUND_MS,) * 100)).holds
        assert not Result("s", "a", quiet, Felt((2.1 + BOUND_MS,) * 100)).holds
        assert not Result("s", "a", quiet, Felt((2.0,) * 999, {"status 503": 1})).holds
        assert not Result("s", "a", quiet, Felt()).holds
        assert not Result("s", "a", quiet, quiet, skipped="no such server").holds


class TestTable:
    def result(self, **more: Any) -> Result:
        return Result("ours", "slow headers", Felt((1.5,) * 100), Felt((2.5,) * 100), **more)

    def test_it_has_a_row_for_each_result_with_the_rows_of_an_attack_together(self):
        results = [Result(server, attack, skipped="x") for server in ("a", "b") for attack in ("one", "two")]
        rows = [line.split(" | ")[:2] for line in table.table(results).splitlines()[2:]]
        assert rows == [["| one", "a"], ["| one", "b"], ["| two", "a"], ["| two", "b"]]

    def test_every_row_has_all_columns(self):
        results = [self.result(), Result("ours", "silent", skipped="it has | in it")]
        assert len({line.count("|") for line in table.table(results).splitlines()}) == 1

    def test_what_misses_the_promise_is_bold(self):
        missed = self.result()
        missed.attacked = Felt((2.5,) * 90, {"no answer": 10})
        assert "**" not in table.table([self.result()])
        assert "**2000.0**" in table.table([missed])

    def test_it_says_what_the_figures_do_not(self):
        onset = Felt((1.0,), {"no answer": 1})
        told = table.remarks(self.result(onset=onset, siege=Siege(wanted=10, established=7, failed=3), lost=1))
        assert "only 7 of 10 connections were established" in told
        assert "50% served at the onset" in told
        assert "3 attempts to connect failed" in told
        assert "1 server processes were lost" in told

    def test_a_share_is_rounded_down_so_that_one_hundred_percent_means_everybody(self):
        almost = self.result()
        almost.attacked = Felt((2.5,) * 9999, {"no answer": 1})
        assert "| 99.9% |" in table.table([almost])
        assert "| 100% |" in table.table([self.result()])

    def test_what_was_left_out_is_said(self):
        told = table.markdown({}, [Result("ours", "silent", skipped=slowhttptest.MISSING)])
        assert f"**not measured**: {slowhttptest.MISSING}" in told
        assert "0 of 0 rows" in told

    def test_json_has_every_figure_but_not_every_latency(self):
        told = json.loads(table.as_json({"when": "now"}, [self.result(memory_peak=30.5)]))
        row = told["rows"][0]
        assert told["machine"] == {"when": "now"}
        assert (row["server"], row["attack"], row["memory_peak"], row["holds"]) == ("ours", "slow headers", 30.5, True)
        assert row["attacked"]["p99_ms"] == 2.5
        assert "latencies" not in row["attacked"]


class TestCatalogue:
    def test_the_attacks_have_the_sizes_that_were_promised(self):
        sizes = {attack.name: attack.count(1.0) for attack in ATTACKS}
        assert sizes["slow headers"] == sizes["slow bodies"] == 2000
        assert sizes["slow readers"] == 500
        assert sizes["idle keep-alive"] == 10_000
        assert sizes["silent"] == 1000

    def test_a_scale_changes_the_number_of_connections_but_never_to_none(self):
        slow, pipelining = chosen(["slow-headers", "pipelining"])
        assert slow.count(0.1) == 200
        assert slow.count(0.0001) == 1
        assert pipelining.count(0.1) == pipelining.count(5) == 1

    def test_a_word_chooses_an_attack_or_all_that_begin_so(self):
        assert [attack.name for attack in chosen(["pipelining"])] == ["pipelining"]
        assert len(chosen(["slowhttptest"])) == 3
        assert chosen(["silent", "resets"]) == chosen(["resets", "silent"])

    def test_an_unknown_word_is_answered_with_what_there_is(self):
        with pytest.raises(ValueError, match="no attack is called teapot; there are slow-headers, "):
            chosen(["teapot"])

    def test_a_request_is_complete_and_an_unfinished_one_lacks_its_empty_line(self):
        assert request("/x", "A: b") == b"GET /x HTTP/1.1\r\nHost: attacked\r\nA: b\r\n\r\n"
        assert unfinished(request("/x")) == b"GET /x HTTP/1.1\r\nHost: attacked\r\n"


LISTED = """\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000005
   1: 0100007F:C001 0100007F:1F40 01 00000000:00800000
   2: 0100007F:1F40 0100007F:C001 01 00100000:00080000
   3: 0100007F:C002 0100007F:1F40 06 00000000:00000000
"""


class TestTheKernelsList:
    def test_connections_are_counted_at_their_clients_end(self):
        assert slowhttptest.connections_to(8000, LISTED) == 1

    def test_what_is_queued_is_counted_at_the_servers_end(self):
        assert queued(8000, LISTED) == 1.5


class TestCommandLine:
    def test_without_options_ours_and_three_peers_suffer_every_attack(self):
        options = run.read_options([])
        assert [server.key for server in options.servers] == [
            "prefork-serve-sync", "granian", "gunicorn-gthread", "waitress"]  # fmt: skip
        assert options.only == list(ATTACKS)
        assert (options.seconds, options.scale) == (8, 1)

    def test_servers_and_attacks_can_be_chosen(self):
        options = run.read_options(["--servers", "ours", "--only", "silent,slow-chunks", "--scale", "0.1"])
        assert [server.key for server in options.servers] == ["prefork-serve-sync"]
        assert [attack.name for attack in options.only] == ["slow chunks", "silent"]

    @pytest.mark.parametrize("words", [["--servers", "nginx"], ["--only", "teapot"], ["--scale", "0"]])
    def test_what_does_not_exist_is_refused_in_one_sentence(self, words, capsys):
        with pytest.raises(SystemExit):
            run.read_options(words)
        assert words[1] in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def server(serve_for_all: Callable[..., LiveServer]) -> LiveServer:
    raise_descriptor_limit()
    return serve_for_all("-w", "1", "-k", "sync", "attacked:app", cwd=TESTS / "attacks" / "apps")


@pytest.fixture(scope="module")
def quiet(server: LiveServer) -> Felt:
    return ask(server.address[1], 1.0)


def attack_it(server: LiveServer, attack: Attack, plan: Plan, quiet: Felt | None = None) -> Result:
    if attack.tool and slowhttptest.missing():
        pytest.skip(slowhttptest.MISSING)
    result = measure("ours", server.pid, server.address[1], attack, plan, quiet)
    print(table.table([result]))
    return result


@LINUX
class TestNormalClient:
    def test_each_request_to_a_server_in_peace_is_answered(self, quiet):
        assert quiet.asked == 50
        assert quiet.failures == {}
        assert 0 < quiet.median < GENEROUS_MS

    def test_a_server_that_says_nothing_has_failed_every_request(self):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            felt = ask(mute.getsockname()[1], 0.1)
        assert felt.asked == 5
        assert felt.share == 0
        assert sum(felt.failures.values()) == 5


@LINUX
@EVERY
def test_a_normal_client_is_served_while_others_attack(server, quiet, attack):
    result = attack_it(server, attack, SMALL, quiet)
    assert result.attacked.failures == {}
    assert result.attacked.asked >= 40
    assert result.attacked.median < GENEROUS_MS  # and all within the two seconds of the limit
    assert result.siege.established >= result.siege.wanted
    assert result.lost == 0


@LINUX
@pytest.mark.slow
@EVERY
def test_the_promise_is_kept_at_full_scale(serve, attack):
    raise_descriptor_limit()
    server = serve("-w", "1", "-k", "sync", "attacked:app", cwd=TESTS / "attacks" / "apps")
    result = attack_it(server, attack, WHOLE)
    assert result.attacked.failures == {}
    assert result.added <= BOUND_MS
    assert result.siege.established >= result.siege.wanted
    assert result.memory_peak - result.memory_before < MOST_MB
    assert result.memory_after - result.memory_before < KEPT_MB
    assert result.lost == 0
