"""HUP brings new code; code that is broken leaves the old generation serving; TTIN and TTOU change the strength."""

from __future__ import annotations

import itertools
import re
import signal
from collections.abc import Callable

import pytest
from live import COMMAND, LiveServer, eventually
from scenes import (
    BOTH,
    NO_BYTE_CODE,
    Clients,
    ask,
    at_work,
    end_of,
    in_path,
    stop,
    title,
    write_app,
    write_module,
)

PRELOAD = pytest.mark.parametrize("preload", ["--preload", "--no-preload"])


@pytest.fixture
def site(serve, tmp_path) -> Callable[..., LiveServer]:
    """``site(*arguments)`` serves the module site_app of the test's own directory, which answers "one" at first."""
    write_app(tmp_path, "one")

    def start(*arguments: str, **options: object) -> LiveServer:
        return serve(*arguments, "site_app:app", cwd=tmp_path, env=NO_BYTE_CODE, **options)

    return start


def hup(server: LiveServer) -> None:
    server.signal(signal.SIGHUP)


def taken_over(server: LiveServer, number: int | str = r"\d+") -> None:
    """Wait until a generation has taken over and the last worker of the old ones is gone."""
    number = server.read_until(rf"Generation ({number}) has taken over")[1]
    eventually(lambda: all(f"generation {number} " in title(pid) for pid in server.processes("worker")))
    eventually(lambda: len(server.processes("forkserver")) == 1)


def generations(server: LiveServer) -> set[str]:
    """The generations of the workers that are at work."""
    return {found[1] for pid in at_work(server) if (found := re.search(r"generation (\d+)", title(pid)))}


# -- new code


@BOTH
@PRELOAD
def test_hup_brings_new_code(site, tmp_path, kind, preload):
    server = site("-w", "2", *kind, preload)
    assert server.get().text == "one"
    write_app(tmp_path, "two")
    hup(server)
    server.read_until("Received SIGHUP: loading the application anew")
    taken_over(server, 2)
    assert generations(server) == {"2"}
    assert {server.get().text for _ in range(5)} == {"two"}
    stop(server)


def test_hup_leaves_the_settings_as_they_were(serve, tmp_path):
    write_app(tmp_path, "one")
    config = tmp_path / "serve.toml"
    config.write_text("workers = 2\n")
    server = serve("-c", str(config), "site_app:app", cwd=tmp_path, env=NO_BYTE_CODE)
    config.write_text("workers = 3\nunknown = 1\n")
    hup(server)
    taken_over(server, 2)
    eventually(lambda: len(server.processes("worker")) == 2)
    assert len(at_work(server)) == 2


def test_an_old_worker_finishes_its_request_while_the_new_generation_serves(serve, gate):
    server = serve("-w", "1", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    old = gate.wait()
    hup(server)
    server.read_until("Generation 2 has taken over")
    new = int(server.get().text)
    assert new != old
    gate.open()
    assert answer.result().text == str(old)
    eventually(lambda: server.processes("worker") == [new])


def test_an_old_worker_whose_request_outlasts_the_grace_is_killed(serve, gate):
    server = serve("-w", "1", "--graceful-timeout", "200ms", "gate:app", env=gate.env)
    answer = ask(server, "/gate")
    old = gate.wait()
    hup(server)
    server.read_until(rf"Worker 1 \(pid {old}\), which was leaving: it was killed, .* \(graceful_timeout\)")
    with pytest.raises(ConnectionError):
        answer.result()
    assert server.get().status == 200


def test_settings_of_the_first_start_such_as_the_name_stay_with_later_generations(site):
    server = site("-w", "1", "-n", "my shop")
    hup(server)
    taken_over(server, 2)
    (worker,) = at_work(server)
    assert title(worker).endswith("my shop]")


# -- broken code


BROKEN = {
    "SyntaxError": ("def app(:\n", "SyntaxError: invalid syntax"),
    "ImportError": ("import missing_one\n", "ModuleNotFoundError: No module named 'missing_one'"),
    "NameError": ("def app(*_): ...\n\nsurely_not_defined\n", "NameError: name 'surely_not_defined' is not defined"),
    "SystemExit": ("import sys\nsys.exit('out of here')\n", "SystemExit: out of here"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "RecursionError": ("def f(): f()\nf()\n", "RecursionError: maximum recursion depth exceeded"),
}


@pytest.mark.parametrize(
    ("preload", "what"), [*(("--preload", what) for what in BROKEN), ("--no-preload", "NameError")]
)
def test_broken_code_leaves_the_old_generation_serving_and_the_log_has_the_traceback(site, tmp_path, preload, what):
    code, error = BROKEN[what]
    server = site("-w", "2", preload)
    workers = server.processes("worker")
    write_module(tmp_path, code)
    hup(server)
    who = "generation 2" if preload == "--preload" else r"worker \d of generation 2"
    failed = rf"\[ERROR\] The application was not reloaded, {who} failed: site_app:app raised {error} on import\."
    server.read_until(rf"{failed} Generation 1 serves on\.\n    Traceback \(most recent call last\):$")
    server.read_until(rf"site_app\.py\", line {3 if what == 'NameError' else '[12]'}")
    assert at_work(server) == workers
    assert server.get().text == "one"
    write_app(tmp_path, "two")
    hup(server)
    taken_over(server, 3)
    assert server.get().text == "two"
    stop(server)


def test_an_application_that_is_gone_leaves_the_old_generation_serving(site, tmp_path):
    server = site("-w", "1")
    write_module(tmp_path, "application = None\n")
    hup(server)
    server.read_until("The application was not reloaded, generation 2 failed: module 'site_app' has no app")
    (tmp_path / "site_app.py").unlink()
    hup(server)
    server.read_until("The application was not reloaded, generation 3 failed: no module named 'site_app'")
    assert server.get().text == "one"


@PRELOAD
def test_code_that_ends_the_process_while_it_is_imported_leaves_the_old_generation_serving(site, tmp_path, preload):
    server = site("-w", "1", preload)
    write_module(tmp_path, "import os\nos._exit(7)\n")
    hup(server)
    server.read_until(r"The application was not reloaded, .* failed: (it|its forkserver) exited with status 7")
    assert server.get().text == "one"


def test_code_that_crashes_the_interpreter_while_it_is_imported_shows_where(site, tmp_path):
    server = site("-w", "1")
    write_module(tmp_path, "import os\ndef guilty():\n    os.abort()\nguilty()\n")
    hup(server)
    server.read_until(r"The application was not reloaded, .* failed: its forkserver was killed by SIGABRT")
    server.read_until("in guilty")
    assert server.get().text == "one"


@PRELOAD
def test_an_import_that_hangs_is_given_up_and_the_log_says_where_it_hung(serve, gate, tmp_path, preload):
    write_module(tmp_path, "from gate import app")
    env = gate.env | in_path(tmp_path) | NO_BYTE_CODE
    server = serve("-w", "1", preload, "--boot-timeout", "1500ms", "site_app:app", env=env)
    write_module(tmp_path, "import gate\ndef guilty():\n    gate.through_the_gate()\nguilty()\n")
    hup(server)
    gate.wait()
    server.read_until(r"The application was not reloaded, .* 1\.5s \(boot_timeout\)")
    server.read_until("in guilty")
    assert server.get().status == 200
    stop(server)


def test_a_worker_that_fails_when_others_have_changed_already_brings_the_old_generation_back(serve, tmp_path):
    """The first two imports succeed, the third does not: whoever has changed is replaced, with nobody missing."""
    write_app(tmp_path, "one")
    server = serve("-w", "3", "--no-preload", "site_app:app", cwd=tmp_path, env=NO_BYTE_CODE)
    write_module(
        tmp_path,
        """
        import os

        number = 1
        while True:
            try:
                os.close(os.open(f"import {number}", os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                number += 1
        if number == 3:
            raise RuntimeError("once too often")

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "3")])
            return [b"two"]
        """,
    )
    with Clients(server, 2) as clients:
        clients.reach(20)
        hup(server)
        server.read_until(r"worker \d of generation 2 failed: site_app:app raised RuntimeError: once too often")
        # With --no-preload the workers that generation 1 forks import the new code as well, and that works again.
        eventually(lambda: generations(server) == {"1"} and len(at_work(server)) == 3)
        clients.go_on(20)
    clients.expect_no_failure()
    stop(server)


# -- several at a time


def test_hup_during_a_hup_ends_with_the_newest_code(site, tmp_path):
    server = site("-w", "2")
    write_app(tmp_path, "two")
    hup(server)
    server.read_until("Received SIGHUP")
    write_app(tmp_path, "three")
    hup(server)
    server.read_until("Generation 2 is given up for a newer one")
    taken_over(server, 3)
    assert {server.get().text for _ in range(5)} == {"three"}
    stop(server)


def test_hup_while_a_new_generation_takes_over_never_leaves_too_few_workers(serve, gate, tmp_path):
    """Of generation 2 one worker serves and the next is still importing when generation 3 is asked for."""
    write_module(tmp_path, "from gate import app")
    env = gate.env | in_path(tmp_path) | NO_BYTE_CODE
    server = serve("-w", "2", "--no-preload", "site_app:app", env=env)
    write_module(tmp_path, "import gate\ngate.through_the_gate()\nfrom gate import app")
    hup(server)
    first = gate.wait()
    gate.open()
    gate.wait()  # the second is importing, so the first serves, and one of the old ones has gone
    (old,) = eventually(
        lambda: len(now := [pid for pid in at_work(server) if "generation 1" in title(pid)]) == 1 and now
    )
    write_module(tmp_path, "import gate\ngate.through_the_gate()\nfrom gate import app")
    hup(server)
    server.read_until("Generation 2 is given up for a newer one")
    gate.wait()  # generation 3 is importing
    assert {old, first} <= set(at_work(server))
    assert server.get().status == 200
    gate.stay_open()
    taken_over(server, 3)
    assert generations(server) == {"3"}
    stop(server)


def test_new_code_is_served_while_it_is_asked_for_again_and_again(site, tmp_path):
    """A start takes longer than the time between two of them."""
    server = site("-w", "1")
    numbers = itertools.count(2)

    def saved_again() -> str:
        write_app(tmp_path, str(next(numbers)))
        hup(server)
        return server.get().text

    first = eventually(lambda: (text := saved_again()) != "one" and text)
    eventually(lambda: saved_again() not in ("one", first))
    write_app(tmp_path, "last")
    hup(server)
    eventually(lambda: server.get().text == "last")
    stop(server)


def test_fifty_hups_at_once_end_in_one_healthy_generation(site, tmp_path):
    server = site("-w", "2")
    write_app(tmp_path, "two")
    with Clients(server, 2) as clients:
        for _ in range(50):
            hup(server)
        taken_over(server)
        clients.go_on(10)
    clients.expect_no_failure()
    assert server.get().text == "two"
    stop(server)


# -- more and fewer workers


def test_ttin_and_ttou_change_the_number_of_workers_and_a_reload_keeps_it(serve):
    server = serve("-w", "2", "simple:app")
    server.signal(signal.SIGTTIN)
    server.read_until("Received SIGTTIN: 3 workers from now on")
    eventually(lambda: len(at_work(server)) == 3)
    hup(server)
    taken_over(server, 2)
    assert generations(server) == {"2"}
    assert len(at_work(server)) == 3
    server.signal(signal.SIGTTOU)
    server.read_until("Received SIGTTOU: 2 workers from now on")
    server.signal(signal.SIGTTOU)
    server.read_until("Received SIGTTOU: 1 workers? from now on")
    eventually(lambda: len(server.processes("worker")) == 1)
    server.signal(signal.SIGTTOU)
    hup(server)
    taken_over(server, 3)
    eventually(lambda: len(server.processes("worker")) == 1)
    assert server.get().status == 200
    stop(server)


def test_a_worker_that_is_told_to_go_answers_its_request_first(serve, gate):
    server = serve("-w", "2", "gate:app", env=gate.env)
    answers = [ask(server, "/gate")]
    pids = {gate.wait()}
    answers.append(ask(server, "/gate"))
    pids.add(gate.wait())
    server.signal(signal.SIGTTOU)
    eventually(lambda: server.text.count("SIGTTOU"))
    gate.open()
    assert {int(answer.result().text) for answer in answers} == pids
    eventually(lambda: len(server.processes("worker")) == 1)


def test_a_flood_of_ttin_stops_at_what_is_possible_and_says_so(serve):
    """Each worker has a place in shared memory, so there is an end; nobody is told of workers that do not exist."""
    server = serve("-w", "1", "simple:app")
    for _ in range(12):
        server.signal(signal.SIGTTIN)
        server.read_until(r"Received SIGTTIN: (\d+) workers from now on")
    eventually(lambda: len(at_work(server)) == 13)
    for _ in range(12):
        server.signal(signal.SIGTTOU)
        server.read_until(r"Received SIGTTOU: (\d+) workers? from now on")
    eventually(lambda: len(server.processes("worker")) == 1)
    assert server.get().status == 200
    stop(server)


# -- when the machine is short of something


def test_without_descriptors_for_more_workers_the_server_goes_on_with_those_it_has(serve):
    command = ["sh", "-c", 'ulimit -n 16 && exec "$@"', "sh", *COMMAND]
    server = serve("-w", "2", "simple:app", command=command)
    for _ in range(10):
        server.signal(signal.SIGTTIN)
        server.read_until("Received SIGTTIN")
    server.read_until(r"Cannot start a worker: Too many open files\. Next try in ")
    assert server.get().status == 200
    hup(server)
    server.read_until(r"Cannot load the application: Too many open files\. Next try in ")
    assert server.get().status == 200
    server.signal(signal.SIGTERM)
    assert end_of(server) == 0
