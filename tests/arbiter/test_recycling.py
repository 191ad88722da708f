"""Workers that are replaced because of their age or of what they have in memory, and a file that asks for a reload."""

from __future__ import annotations

import logging
import os
import time

import pytest
from live import eventually
from scenes import BOTH, write_module

from server_core.arbiter.children import Worker
from server_core.arbiter.plan import Phase
from server_core.arbiter.recycling import MEGABYTE, Recycling
from server_core.settings import Workers

GROWS = """
import os

HELD = []

def app(environ, start_response):
    megabytes = int(environ["PATH_INFO"].strip("/") or 0)
    HELD.append(b"x" * (megabytes << 20))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


def worker(slot: int, since: float = 0.0, chance: float = 0.0, phase: Phase = Phase.READY) -> Worker:
    return Worker(slot, 1, None, since, phase, chance=chance)  # type: ignore[arg-type]


def looked(limits: Workers, workers: list[Worker], now: float, megabytes: int | None = 0) -> list[Worker]:
    size = None if megabytes is None else megabytes * MEGABYTE
    Recycling(limits, lambda pid: size, logging.Logger("silent")).look(workers, now)
    return workers


def test_who_has_reached_the_age_is_tired_and_the_jitter_is_each_ones_own():
    limits = Workers(max_worker_age=100, max_worker_age_jitter=50)
    workers = [worker(1, chance=0.0), worker(2, chance=0.5), worker(3, chance=1.0), worker(4, since=60)]
    for now, tired in ((99, []), (101, [1]), (126, [1, 2]), (151, [1, 2, 3]), (161, [1, 2, 3, 4])):
        looked(limits, workers, now)
        assert [each.slot for each in workers if each.tired] == tired


def test_nobody_is_old_where_there_is_no_limit():
    assert not looked(Workers(), [worker(1)], 1e9, megabytes=10_000)[0].tired


@pytest.mark.parametrize("phase", [Phase.BOOTING, Phase.LEAVING])
def test_who_does_not_serve_yet_or_goes_already_is_not_tired(phase: Phase):
    assert not looked(Workers(max_worker_age=1, max_worker_memory=1), [worker(1, phase=phase)], 100, 5)[0].tired


def test_what_a_system_does_not_tell_is_no_reason():
    assert not looked(Workers(max_worker_memory=1), [worker(1)], 100, None)[0].tired


def test_the_hard_limit_is_for_those_that_are_leaving_too():
    limits = Workers(max_worker_memory_hard=10 * MEGABYTE)
    assert "12 MB in memory, more than 10 MB (max_worker_memory_hard)" in (
        looked(limits, [worker(1, phase=Phase.LEAVING)], 100, 12)[0].why_killed
    )


@BOTH
def test_an_old_worker_is_replaced_by_a_ready_one_and_no_request_fails(serve, kind):
    server = serve("-w", "2", *kind, "--max-worker-age", "300ms", "simple:app")
    first = server.processes("worker")
    told = r"\[INFO\] Worker \d \(pid \d+\) has served for \d+s \(max_worker_age\): it will be replaced"
    deadline = time.monotonic() + 30
    while set(server.processes("worker")) & set(first):
        assert server.get().status == 200
        assert len(server.processes("worker")) >= 2
        assert time.monotonic() < deadline
    server.read_until(told)


@BOTH
def test_a_worker_that_has_grown_answers_and_is_replaced(serve, tmp_path, kind):
    write_module(tmp_path, GROWS)
    server = serve("-w", "1", *kind, "--max-worker-memory", "120MB", "site_app:app", cwd=tmp_path)
    before = server.get("/").text
    assert server.get("/150").text == before
    server.read_until(rf"\(pid {before}\) has 1\d\d MB in memory, more than 120 MB \(max_worker_memory\)")
    eventually(lambda: server.get("/").text != before)


def test_a_worker_beyond_the_hard_limit_is_ended_with_its_stacks(serve, tmp_path):
    write_module(
        tmp_path, GROWS.replace("    start_response", "    __import__('time').sleep(megabytes)\n    start_response")
    )
    server = serve("-w", "1", "--max-worker-memory-hard", "150MB", "site_app:app", cwd=tmp_path)
    before = server.get("/").text
    with pytest.raises(ConnectionError):
        server.get("/170")  # which would sleep for so many seconds
    server.read_until(r"was lost: it has 1\d\d MB in memory, more than 150 MB \(max_worker_memory_hard\)")
    server.read_until("in app")
    eventually(lambda: server.get("/").text != before)


def test_a_file_that_is_made_touched_or_replaced_reloads(serve, tmp_path):
    file = tmp_path / "reload"
    server = serve("-w", "1", "--touch-reload", str(file), "simple:app")
    file.touch()
    server.read_until(rf"{file} was touched \(touch_reload\): loading the application anew")
    server.read_until("Generation 2 has taken over")
    os.utime(file, (1, 1))
    server.read_until("Generation 3 has taken over")
    (tmp_path / "other").touch()
    (tmp_path / "other").rename(file)
    server.read_until("Generation 4 has taken over")
    file.unlink()
    assert server.get().status == 200
    assert server.text.count("touch_reload") == 3


def test_a_limit_that_ends_a_worker_before_it_is_replaced_is_refused(serve):
    server = serve("--max-worker-memory", "100MB", "--max-worker-memory-hard", "100MB", "simple:app", wait=False)
    assert server.wait() == 2
    assert "max_worker_memory_hard (--max-worker-memory-hard) is not more than max_worker_memory" in server.text
