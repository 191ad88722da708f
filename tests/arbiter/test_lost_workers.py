"""Whoever dies is replaced: workers, all workers, the forkserver; whoever hangs is killed, and the log says where."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
from live import eventually
from scenes import (
    BOTH,
    GTHREAD,
    NO_BYTE_CODE,
    SYNC,
    Clients,
    ask,
    at_work,
    end_of,
    freeze,
    in_path,
    left_over,
    stop,
    title,
    write_app,
    write_module,
)


def back_at_work(server, count: int, without: set[int]) -> list[int]:
    """Wait until ``count`` workers are ready, none of them one of ``without``."""
    return eventually(lambda: (now := at_work(server)) and len(now) == count and not without & set(now) and now)


# -- killed


@BOTH
def test_a_killed_worker_is_replaced_and_the_log_names_the_signal(serve, kind):
    server = serve("-w", "2", *kind, "simple:app")
    victim, other = at_work(server)
    os.kill(victim, signal.SIGKILL)
    server.read_until(
        rf"\[ERROR\] Worker \d \(pid {victim}\) was lost: it was killed by SIGKILL, perhaps by the kernel for want of "
        r"memory\. A new one starts in 0\.5s\. It had served for \d+s and answered \d+ requests or a few more\."
    )
    eventually(lambda: len(at_work(server)) == 2)
    assert other in at_work(server)
    assert server.get().status == 200
    stop(server)


def test_all_workers_may_be_killed_at_once_and_the_clients_wait_for_new_ones(serve):
    server = serve("-w", "3", "simple:app")
    dead = set(at_work(server))
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    assert int(server.get().text) not in dead  # it waits in the queue of the listening socket
    back_at_work(server, 3, dead)
    stop(server)


def test_a_worker_that_dies_in_a_request_is_replaced_and_the_others_serve_on(serve):
    server = serve("-w", "2", "simple:app")
    with pytest.raises((ConnectionError, OSError)):
        server.get("/exit/7")
    server.read_until(r"was lost: it exited with status 7\. A new one starts in 0\.5s")
    assert server.get().status == 200
    eventually(lambda: len(at_work(server)) == 2)


def test_a_crash_of_the_interpreter_leaves_the_stack_of_the_guilty_function_in_the_log(serve):
    server = serve("-w", "1", "simple:app")
    with pytest.raises((ConnectionError, OSError)):
        server.get("/kill/11")
    server.read_until(r"was lost: it was killed by SIGSEGV\. A new one starts")
    server.read_until(r"simple\.py\", line \d+ in app")
    assert server.get().status == 200


@BOTH
def test_the_forkserver_may_be_killed_and_not_one_request_fails(serve, kind):
    server = serve("-w", "2", *kind, "simple:app")
    (forkserver,) = server.processes("forkserver")
    with Clients(server) as clients:
        clients.reach(50)
        os.kill(forkserver, signal.SIGKILL)
        server.read_until(
            r"The forkserver of generation 1 was lost: it was killed by SIGKILL, .*\. Its workers serve on; a new "
            "generation replaces them"
        )
        server.read_until("Generation 2 has taken over")
        clients.go_on(50)
    clients.expect_no_failure()
    eventually(lambda: len(server.processes("worker")) == 2)
    assert "Worker" not in server.text
    stop(server)


def test_the_workers_of_a_dead_forkserver_stay_in_the_family(serve, gate):
    server = serve("-w", "1", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    worker = gate.wait()
    os.kill(server.processes("forkserver")[0], signal.SIGKILL)
    server.read_until("Generation 2 has taken over")
    os.kill(worker, signal.SIGKILL)
    server.read_until(rf"\(pid {worker}\), which was leaving: it was killed by SIGKILL")
    with pytest.raises((ConnectionError, OSError)):
        answer.result()
    stop(server)


def test_a_dead_forkserver_whose_successor_fails_is_tried_again_until_the_code_is_mended(serve, tmp_path):
    write_app(tmp_path, "one")
    server = serve("-w", "1", "site_app:app", cwd=tmp_path, env=NO_BYTE_CODE)
    write_module(tmp_path, "surely_not_defined\n")
    os.kill(server.processes("forkserver")[0], signal.SIGKILL)
    server.read_until(r"generation 2 failed: .*NameError.* Generation 1 serves on\. Next try in 0\.5s\.")
    server.read_until("Traceback")
    assert server.get().text == "one"
    server.read_until(r"generation 3 failed: .*NameError.*\(the same error as before, failure 2\).* Next try in 1s\.")
    write_app(tmp_path, "two")
    server.read_until("Generation 4 has taken over")
    assert server.text.count("Traceback") == 1
    eventually(lambda: server.get().text == "two")
    stop(server)


def test_the_whole_family_below_the_arbiter_may_be_killed(serve):
    server = serve("-w", "2", "simple:app")
    dead = set(at_work(server))
    for pid in (*server.processes("forkserver"), *dead):
        os.kill(pid, signal.SIGKILL)
    assert int(server.get().text) not in dead
    back_at_work(server, 2, dead)
    stop(server)


def test_a_forkserver_that_is_killed_while_it_imports_is_a_failed_reload(serve, gate, tmp_path):
    write_module(tmp_path, "from gate import app")
    env = gate.env | in_path(tmp_path) | NO_BYTE_CODE
    server = serve("-w", "1", "site_app:app", env=env)
    write_module(tmp_path, "import gate\ngate.through_the_gate()\nfrom gate import app")
    server.signal(signal.SIGHUP)
    importing = gate.wait()
    os.kill(importing, signal.SIGKILL)
    server.read_until(
        r"The application was not reloaded, generation 2 failed: its forkserver was killed by SIGKILL, .*\. "
        r"Generation 1 serves on\."
    )
    assert server.get().status == 200
    stop(server)


def test_a_worker_that_dies_before_it_is_ready_is_a_failed_reload(serve, gate, tmp_path):
    write_module(tmp_path, "from gate import app")
    env = gate.env | in_path(tmp_path) | NO_BYTE_CODE
    server = serve("-w", "1", "--no-preload", "site_app:app", env=env)
    write_module(tmp_path, "import gate\ngate.through_the_gate()\nfrom gate import app")
    server.signal(signal.SIGHUP)
    os.kill(gate.wait(), signal.SIGKILL)
    server.read_until(r"The application was not reloaded, worker \d of generation 2 failed: it was killed by SIGKILL")
    assert server.get().status == 200
    stop(server)


def test_a_forkserver_that_does_not_fork_any_more_is_replaced(serve):
    server = serve("-w", "1", "--boot-timeout", "1s", "simple:app")
    freeze(server.processes("forkserver")[0])
    server.signal(signal.SIGTTIN)
    server.read_until(r"The forkserver of generation 1 was lost: it does not answer")
    server.read_until("Generation 2 has taken over")
    eventually(lambda: len(server.processes("worker")) == 2)
    assert server.get().status == 200
    stop(server)


# -- crash after crash


def test_workers_that_cannot_boot_are_tried_at_growing_intervals_and_the_traceback_is_told_once(serve, tmp_path):
    write_app(tmp_path, "one")
    server = serve("-w", "1", "--no-preload", "site_app:app", cwd=tmp_path, env=NO_BYTE_CODE)
    write_module(tmp_path, "surely_not_defined\n")
    os.kill(at_work(server)[0], signal.SIGKILL)
    error = r"was lost: site_app:app raised NameError: name 'surely_not_defined' is not defined on import"
    server.read_until(rf"{error}\. A new one starts in 1s\.\n    Traceback")
    server.read_until(rf"{error} \(the same error as before, failure 3\)\. A new one starts in 2s\.")
    assert server.text.count("Traceback") == 1
    write_app(tmp_path, "two")
    assert server.get().text == "two"
    stop(server)


def test_workers_that_die_in_request_after_request_come_back_at_growing_intervals(serve):
    server = serve("-w", "1", "simple:app")
    for pause in ("0.5s", "1s", "2s"):
        with pytest.raises((ConnectionError, OSError)):
            server.get("/exit/3")
        server.read_until(rf"was lost: it exited with status 3\. A new one starts in {re.escape(pause)}\.")
    server.signal(signal.SIGHUP)  # a person asks: no pause
    began = time.monotonic()
    server.read_until("Generation 2 has taken over")
    assert time.monotonic() - began < 2
    assert server.get().status == 200


# -- hanging


def test_a_sync_request_that_takes_longer_than_the_timeout_is_killed_and_its_stack_is_in_the_log(serve, gate):
    server = serve("-w", "2", "--timeout", "3s", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    guilty = gate.wait()
    server.read_until(rf"Worker \d \(pid {guilty}\) was lost: it has shown no sign of life for 3s \(timeout\)")
    server.read_until("in through_the_gate")
    server.read_until(r"gate\.py\", line \d+ in app")
    with pytest.raises((ConnectionError, OSError)):
        answer.result()
    eventually(lambda: len(at_work(server)) == 2)
    assert server.get().status == 200
    assert server.text.count("was lost") == 1  # the other one was idle all the while, and that is no fault


def test_a_stopped_worker_is_killed_after_the_timeout(serve):
    server = serve("-w", "1", "--timeout", "3s", "simple:app")
    (worker,) = at_work(server)
    freeze(worker)
    # Not asked before: while one thread tells the stacks, the others wake up, and may take a connection with them.
    server.read_until(rf"Worker 1 \(pid {worker}\) was lost: it has shown no sign of life for 3s \(timeout\)")
    server.read_until(r"Current thread 0x\w+ \(most recent call first\):")
    assert int(server.get().text) != worker


def test_a_long_request_in_a_gthread_worker_is_not_killed_by_the_timeout(serve, gate):
    server = serve("-w", "1", "-k", "gthread", "--threads", "2", "--timeout", "3s", "gate:app", env=gate.env)
    first = ask(server, "/gate")
    worker = gate.wait()
    began = time.monotonic()
    with Clients(server, 1) as clients:
        eventually(lambda: time.monotonic() - began > 4.2)  # beyond the timeout, and the moment when it is looked at
    clients.expect_no_failure()
    gate.open()
    assert first.result().text == str(worker)
    assert "lost" not in server.text


def test_a_stopped_gthread_worker_is_killed_after_the_timeout(serve):
    server = serve("-w", "1", *GTHREAD, "--timeout", "3s", "simple:app")
    (worker,) = at_work(server)
    freeze(worker)
    # Not asked before, as above.
    server.read_until(rf"Worker 1 \(pid {worker}\) was lost: it has shown no sign of life for 3s \(timeout\)")
    assert int(server.get().text) != worker


def test_no_timeout_means_never(serve, gate):
    server = serve("-w", "1", "--timeout", "0", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    worker = gate.wait()
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 1.5)
    gate.open()
    assert answer.result().text == str(worker)


def test_a_family_that_slept_as_a_whole_wakes_up_as_it_was(serve):
    """Ctrl-Z and fg, a frozen container: nobody has been silent for longer than the judge."""
    server = serve("-w", "2", "--timeout", "3s", "simple:app")
    workers = at_work(server)
    everyone = [server.pid, *server.processes("forkserver"), *workers]
    freeze(*everyone)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 3.5)
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)
    with Clients(server, 1) as clients:
        eventually(lambda: time.monotonic() - began > 5)
    clients.expect_no_failure()
    assert at_work(server) == workers
    assert "lost" not in server.text


# -- replaced on purpose


@BOTH
def test_max_requests_replaces_a_worker_before_it_leaves_and_not_one_request_fails(serve, kind):
    server = serve("-w", "1", *kind, "--max-requests", "60", "simple:app")
    first = at_work(server)
    with Clients(server) as clients:
        clients.reach(400)
    clients.expect_no_failure()
    server.read_until(rf"\[INFO\] Worker 1 \(pid {first[0]}\) has answered 60 requests \(max_requests\): it will be re")
    back_at_work(server, 1, set(first))
    assert server.text.count("(max_requests)") >= 2
    assert "lost" not in server.text
    stop(server)


def test_jitter_lets_workers_live_for_different_numbers_of_requests(serve):
    server = serve("-w", "1", "--max-requests", "5", "--max-requests-jitter", "200", "simple:app")
    lives: dict[str, int] = {}
    for _ in range(3 * 205 + 200):
        pid = server.get().text
        lives[pid] = lives.get(pid, 0) + 1
        if len(lives) == 4:
            break
    assert len(lives) == 4
    *whole, _ = lives.values()
    assert all(count >= 5 for count in whole)
    assert len(set(whole)) > 1


def test_a_worker_that_has_had_its_requests_answers_the_long_one_first(serve, gate):
    server = serve("-w", "1", "-k", "gthread", "--threads", "2", "--max-requests", "2", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    old = gate.wait()
    eventually(lambda: int(server.get().text) != old)
    gate.open()
    assert answer.result().text == str(old)
    eventually(lambda: old not in server.processes("worker"))


def test_a_process_that_the_application_left_behind_does_not_confuse_the_arbiter(serve, tmp_path):
    """Orphans of the application become the arbiter's children (Linux), and die like others."""
    write_module(
        tmp_path,
        """
        import os

        def app(environ, start_response):
            if os.fork() == 0:
                if os.fork() == 0:
                    os.closerange(0, 1000)
                    os._exit(9)
                os._exit(0)
            os.wait()
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]
        """,
    )
    server = serve("-w", "1", "site_app:app", cwd=tmp_path)
    workers = at_work(server)
    for _ in range(5):
        assert server.get().text == "ok"
    assert at_work(server) == workers
    assert "lost" not in server.text
    stop(server)
    assert left_over(server) == []
    assert title(server.pid) == ""


def test_a_server_that_is_killed_and_started_again_takes_its_old_place(serve, tmp_path):
    """What the arbiter left behind, the pid file and the file of the socket, is in nobody's way."""
    pidfile, path = tmp_path / "pid", tmp_path / "socket"
    arguments = ("--pid", str(pidfile), "-b", f"unix:{path}", "-w", "1", *SYNC, "simple:app")
    first = serve(*arguments)
    first.signal(signal.SIGKILL)
    first.wait()
    eventually(lambda: not left_over(first))
    assert pidfile.exists()
    assert path.exists()
    second = serve(*arguments)
    assert pidfile.read_text() == f"{second.pid}\n"
    second.signal(signal.SIGTERM)
    assert end_of(second) == 0
    assert not pidfile.exists()
    assert not path.exists()
