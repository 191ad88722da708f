"""A server starts, says so, and ends: in an orderly way, at once, or by the death of its arbiter."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import time
from contextlib import ExitStack, suppress

import pytest
from live import eventually, receive_all
from scenes import (
    BOTH,
    GTHREAD,
    SYNC,
    ask,
    at_work,
    end_of,
    freeze,
    in_path,
    is_refused,
    left_over,
    stop,
    title,
    write_module,
)

from server_core.arbiter.orders import ONCE_SECONDS
from server_core.process import NEW_OBJECTS

COMMAND = [sys.executable, "-m", "server_core"]


# -- starting


def test_the_banner_says_what_is_served_where_by_whom_and_how_to_stop_it(serve):
    server = serve("-w", "2", "-k", "sync", "simple:app")
    assert re.search(r"\[INFO\] prefork-serve \S+ serves simple:app on http://127\.0\.0\.1:\d+$", server.text, re.M)
    assert "2 workers × 1 thread, worker class sync, generation 1, imported once, then forked" in server.text
    assert f"Stop: kill {server.pid}. Load the application anew: kill -HUP {server.pid}." in server.text
    assert len(server.processes("worker")) == 2
    assert server.get().status == 200
    stop(server)
    assert server.text.rstrip().endswith("Stopped.")


def test_the_banner_says_why_the_worker_class_is_gthread_when_nobody_asked_for_it(serve):
    server = serve("-w", "1", "--threads", "4", "--no-preload", "simple:app")
    assert (
        "1 worker × 4 threads, worker class gthread (because threads > 1), generation 1, imported by each worker"
        in server.text
    )


def test_the_titles_of_the_processes_say_role_generation_slot_address_and_application(serve):
    server = serve("-w", "2", "-n", "my shop", "simple:app")
    where = f"{server.url.removeprefix('http://')} my shop"
    assert title(server.pid) == f"prefork-serve: arbiter [{where}]"
    (forkserver,) = server.processes("forkserver")
    assert title(forkserver) == f"prefork-serve: forkserver, generation 1 [{where}]"
    assert sorted(map(title, server.processes("worker"))) == [
        f"prefork-serve: worker 1, generation 1 [{where}]",
        f"prefork-serve: worker 2, generation 1 [{where}]",
    ]


def test_the_title_of_a_worker_says_that_it_is_draining(serve, gate):
    server = serve("-w", "1", "-k", "gthread", "--threads", "2", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    pid = gate.wait()
    server.signal(signal.SIGTERM)
    eventually(lambda: ", draining [" in title(pid))
    gate.open()
    assert answer.result().status == 200
    assert end_of(server) == 0


def test_a_server_without_standard_streams_starts_and_serves(serve, tmp_path):
    """Descriptors 0 to 2 are closed: no socket may become somebody's standard output."""
    log = tmp_path / "log"
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *COMMAND, "-b", "127.0.0.1:0"]
    server = serve("-w", "1", "--error-logfile", str(log), "simple:app", command=command, wait=False)
    server.url = eventually(lambda: log.exists() and re.search(r" on (\S+)", log.read_text()))[1]
    (worker,) = eventually(lambda: server.processes("worker"))
    assert [os.readlink(f"/proc/{worker}/fd/{number}") for number in (0, 1, 2)] == ["/dev/null"] * 3
    assert server.get().status == 200
    stop(server)


def test_what_the_application_starts_does_not_inherit_sockets_and_pipes_of_the_server(serve, tmp_path):
    code = """
import os

def app(environ, start_response):
    start_response("200 OK", [])
    os.system("ls -l /proc/self/fd > {0}/worker")
    return [b"ok"]

os.system("ls -l /proc/self/fd > {0}/forkserver")
"""
    (tmp_path / "starts_others.py").write_text(code.format(tmp_path))
    server = serve("-w", "1", "starts_others:app", cwd=tmp_path)
    assert server.get().status == 200
    for who in ("worker", "forkserver"):
        # 3 is the directory that ls reads.
        assert {line.split()[-3] for line in (tmp_path / who).read_text().splitlines()[1:]} <= {"0", "1", "2", "3"}


# -- ending in an orderly way


@BOTH
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_answer_what_is_running_and_what_waits_in_the_queue(serve, gate, kind, number):
    server = serve("-w", "1", *kind, "gate:app", env=gate.env)
    busy = [ask(server, "/gate") for _ in range(1 if kind == SYNC else 3)]
    for _ in busy:
        gate.wait()
    with ExitStack() as stack:
        queued = [stack.enter_context(server.connect()) for _ in range(20)]  # nobody is free to accept them
        for client in queued:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server.signal(number)
        server.read_until(rf"Received {number.name}: answering the running requests")
        gate.open()
        for answer in busy:
            assert answer.result().status == 200
        for client in queued:
            assert receive_all(client).startswith(b"HTTP/1.1 200 OK\r\n")
    assert end_of(server) == 0
    assert server.text.rstrip().endswith("Stopped.")


@BOTH
def test_a_kept_connection_may_still_ask_while_the_server_drains_and_is_told_that_it_ends(serve, gate, kind):
    server = serve("-w", "1", *kind, "gate:app", env=gate.env)
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Connection: close" not in client.recv(65536)
        server.signal(signal.SIGTERM)
        eventually(lambda: "draining" in title(server.processes("worker")[0]))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        said = receive_all(client)
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in said
    assert end_of(server) == 0


@BOTH
def test_a_streaming_answer_is_sent_to_its_end_while_the_server_drains(serve, gate, kind):
    server = serve("-w", "1", *kind, "gate:app", env=gate.env)
    answer = ask(server, "/stream")
    pid = gate.wait()
    server.signal(signal.SIGTERM)
    server.read_until("Received SIGTERM")
    if kind == GTHREAD:  # a sync worker hears of it afterwards
        eventually(lambda: "draining" in title(pid))
    gate.open()
    assert answer.result().text == f"{pid} to the end"
    assert end_of(server) == 0


@pytest.mark.parametrize("kind", [GTHREAD], ids=["gthread"])
def test_new_clients_are_refused_as_soon_as_the_last_worker_drains(serve, gate, kind):
    """They can go elsewhere at once, instead of waiting in a queue from which nobody takes them."""
    server = serve("-w", "2", *kind, "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    gate.wait()
    server.signal(signal.SIGTERM)
    eventually(lambda: is_refused(server))
    gate.open()
    assert answer.result().status == 200
    assert end_of(server) == 0


def test_the_port_is_free_at_the_moment_of_the_end(serve):
    first = serve("-w", "2", "simple:app")
    address = first.url.removeprefix("http://")
    for _ in range(3):
        stop(first)
        first = serve("-b", address, "-w", "2", "simple:app", command=COMMAND)
    stop(first)


def test_the_pid_file_and_the_file_of_a_unix_socket_are_there_while_the_server_runs_and_not_afterwards(serve, tmp_path):
    pidfile, path = tmp_path / "pid", tmp_path / "socket"
    server = serve("--pid", str(pidfile), "-b", f"unix:{path}", "-w", "1", "simple:app", command=COMMAND)
    assert pidfile.read_text() == f"{server.pid}\n"
    assert path.is_socket()
    assert server.get().status == 200
    stop(server)
    assert not pidfile.exists()
    assert not path.exists()


def test_term_to_every_process_of_the_family_still_answers_what_is_running(serve, gate):
    """As systemd does it."""
    server = serve("-w", "2", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    gate.wait()
    for pid in (server.pid, *server.processes("worker")):
        with suppress(ProcessLookupError):  # an idle worker is quick
            os.kill(pid, signal.SIGTERM)
    server.read_until("Received SIGTERM")
    gate.open()
    assert answer.result().status == 200
    assert end_of(server) == 0


def test_ctrl_c_and_hup_to_every_process_of_the_family_are_decided_upon_by_the_arbiter_alone(serve, gate):
    server = serve("-w", "2", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    gate.wait()
    os.killpg(server.pid, signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    os.killpg(server.pid, signal.SIGINT)
    server.read_until("Received SIGINT")
    gate.open()
    assert answer.result().status == 200
    assert end_of(server) == 0
    assert "lost" not in server.text
    assert "ERROR" not in server.text


def test_what_the_application_registered_to_run_at_exit_runs_in_each_worker(serve, gate):
    server = serve("-w", "2", "gate:says_goodbye()", env=gate.env)
    workers = server.processes("worker")
    stop(server)
    assert sorted(re.findall(r"goodbye from (\d+)", server.text)) == sorted(map(str, workers))


# -- ending at once


@BOTH
@pytest.mark.parametrize("numbers", [(signal.SIGQUIT,), (signal.SIGTERM, signal.SIGTERM)], ids=["quit", "term-twice"])
def test_quit_or_a_second_term_ends_at_once_whatever_is_running(serve, gate, kind, numbers):
    server = serve("-w", "1", *kind, "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    gate.wait()
    server.signal(numbers[0])
    server.read_until(f"Received {numbers[0].name}")
    told = time.monotonic()
    for number in numbers[1:]:  # in the same moment it would count as one
        eventually(lambda: time.monotonic() > told + 2 * ONCE_SECONDS)
        server.signal(number)
    assert end_of(server) == 0
    with pytest.raises(ConnectionError):
        answer.result()


def test_quit_ends_a_stopped_worker_too(serve):
    server = serve("-w", "2", "simple:app")
    freeze(server.processes("worker")[0])
    stop(server, signal.SIGQUIT)
    assert "lost" not in server.text


@BOTH
def test_a_request_that_outlasts_the_grace_is_cut_off_and_the_log_says_which_one(serve, gate, kind):
    server = serve("-w", "1", *kind, "--graceful-timeout", "300ms", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    gate.wait()
    server.signal(signal.SIGTERM)
    assert end_of(server) == 0
    with pytest.raises(ConnectionError):
        answer.result()
    server.read_until(
        r"which was leaving: it was killed, because its requests were not finished 0\.3s after it was told to leave "
        r"\(graceful_timeout\)"
    )
    server.read_until("in through_the_gate")


def test_a_stopped_worker_is_killed_when_the_grace_is_over(serve):
    server = serve("-w", "1", "--graceful-timeout", "100ms", "simple:app")
    freeze(server.processes("worker")[0])
    server.signal(signal.SIGTERM)
    assert end_of(server) == 0
    assert "(graceful_timeout)" in server.text


def test_a_stopped_forkserver_does_not_hold_up_the_end(serve):
    server = serve("-w", "1", "--graceful-timeout", "500ms", "simple:app")
    (forkserver,) = server.processes("forkserver")
    freeze(forkserver)
    server.signal(signal.SIGTTIN)  # asks it for a worker, and it does not answer
    server.read_until("2 workers from now on")
    server.signal(signal.SIGTERM)
    assert end_of(server) == 0


# -- signals at awkward moments


IMPORTS_SLOWLY = "import os, socket, gate; gate.through_the_gate(); from gate import app"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_is_still_importing_can_be_stopped(serve, gate, tmp_path, number):
    (tmp_path / "slow_import.py").write_text(IMPORTS_SLOWLY)
    server = serve("-w", "2", "slow_import:app", env=gate.env | in_path(tmp_path), wait=False)
    gate.wait()
    server.signal(number)
    assert end_of(server) == 0
    assert "ERROR" not in server.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_server_whose_workers_are_still_importing_can_be_stopped(serve, gate, tmp_path, number):
    (tmp_path / "slow_import.py").write_text(IMPORTS_SLOWLY)
    server = serve(
        *("-w", "1", "--no-preload", "--graceful-timeout", "300ms", "slow_import:app"),
        env=gate.env | in_path(tmp_path),
        wait=False,
    )
    gate.wait()
    server.signal(number)
    assert end_of(server) == 0


def test_hup_while_the_first_generation_is_still_importing_starts_over_and_serves(serve, gate, tmp_path):
    (tmp_path / "slow_import.py").write_text(IMPORTS_SLOWLY)
    server = serve("-w", "2", "slow_import:app", env=gate.env | in_path(tmp_path), wait=False)
    gate.wait()
    server.signal(signal.SIGHUP)
    server.read_until("Generation 1 is given up for a newer one")
    gate.wait()
    gate.open()
    server.wait_until_serving()
    assert "generation 2" in server.text
    assert server.get().status == 200
    assert len(server.processes("forkserver")) == 1
    stop(server)


def test_a_server_that_is_told_to_end_before_it_listens_leaves_nothing(serve, tmp_path):
    """The pid file is the first that others see of it: at that moment it can already be told to end."""
    pidfile = tmp_path / "pid"
    server = serve("--pid", str(pidfile), "-w", "1", "simple:app", wait=False)
    eventually(pidfile.exists)
    server.signal(signal.SIGHUP)
    server.signal(signal.SIGTERM)
    assert end_of(server) == 0
    assert not pidfile.exists()


# -- the death of the arbiter


@BOTH
def test_when_the_arbiter_is_killed_what_is_running_is_answered_and_all_end(serve, gate, kind):
    server = serve("-w", "2", *kind, "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    gate.wait()
    server.signal(signal.SIGKILL)
    server.read_until("The arbiter is gone: finishing the running requests, then this worker ends")
    gate.open()
    assert answer.result().status == 200
    eventually(lambda: not left_over(server))


def test_when_the_arbiter_is_killed_a_request_that_hangs_does_not_live_for_ever(serve, gate):
    server = serve("-w", "1", "--graceful-timeout", "300ms", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    gate.wait()
    server.signal(signal.SIGKILL)
    eventually(lambda: not left_over(server))
    with pytest.raises(ConnectionError):
        answer.result()


def test_when_the_arbiter_is_killed_an_import_that_hangs_ends_too(serve, gate, tmp_path):
    (tmp_path / "slow_import.py").write_text(IMPORTS_SLOWLY)
    server = serve("--boot-timeout", "500ms", "slow_import:app", env=gate.env | in_path(tmp_path), wait=False)
    gate.wait()
    server.signal(signal.SIGKILL)
    eventually(lambda: not left_over(server))


def test_a_worker_that_somebody_ends_is_replaced_and_leaves_no_zombie(serve):
    server = serve("-w", "2", "simple:app")
    gone = at_work(server)[0]
    os.kill(gone, signal.SIGTERM)
    eventually(lambda: not os.path.exists(f"/proc/{gone}"))
    eventually(lambda: len(at_work(server)) == 2)


def test_an_idle_connection_is_closed_when_the_server_ends(serve):
    server = serve("-w", "1", "simple:app")
    with server.connect() as idle:
        server.signal(signal.SIGTERM)
        assert receive_all(idle) == b""
        assert end_of(server) == 0


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGWINCH])
def test_a_signal_of_other_servers_is_answered_with_a_warning_and_harms_nobody(serve, number):
    server = serve("-w", "1", "gate:app")
    server.signal(number)
    server.read_until(f"Received {number.name}, which means nothing here")
    assert server.get().status == 200


TELLS_OF_THE_COLLECTOR = """
import gc

{setup}

def app(environ, start_response):
    body = f"{{gc.get_freeze_count() > 1000}} {{gc.get_threshold()[0]}}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_the_garbage_collector_is_suited_to_a_server_unless_somebody_minds(serve, tmp_path, preload):
    usual = gc.get_threshold()[0]
    for options, setup, expected in (
        ((), "", f"True {NEW_OBJECTS}"),
        ((), "gc.set_threshold(5000)", "True 5000"),
        (("--no-tune-gc",), "", f"False {usual}"),
    ):
        write_module(tmp_path, TELLS_OF_THE_COLLECTOR.format(setup=setup))
        server = serve("-w", "1", preload, *options, "site_app:app", cwd=tmp_path)
        assert server.get().text == expected
        stop(server)
