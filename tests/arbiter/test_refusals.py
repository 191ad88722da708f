"""What cannot be honoured is refused: one sentence with origin and remedy, an exit status, nobody left running."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from scenes import NO_BYTE_CODE, end_of, write_module

from server_core.errors import ConfigError
from server_core.workers import find_worker_class

COMMAND = [sys.executable, "-m", "server_core"]
EVERYWHERE = "-b", "127.0.0.1:0"


@pytest.fixture
def refuse(serve, tmp_path):
    """``refuse(*arguments)`` starts a server that cannot start; returns its exit status and what it said."""

    def start(*arguments: str, **options: object) -> tuple[int, str]:
        options = {"command": COMMAND, "cwd": tmp_path, "env": NO_BYTE_CODE} | options
        server = serve(*arguments, wait=False, **options)
        return end_of(server), server.text

    return start


def one_sentence(text: str) -> str:
    """The one line that a refusal is, without its mark."""
    (line,) = text.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


# -- the application


def app_error(text: str) -> str:
    return text.splitlines()[0].removeprefix("Error: ")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("missing:app", "no module named 'missing', so the application 'missing:app' cannot be imported"),
        ("here:nothing", "module 'here' has no nothing: write the application as module:callable"),
        ("here:number", "the application 'here:number' is not callable: it is a int"),
        ("here", 'module \'here\' has no "app" or "application": write the application as module:callable'),
        ("here:number.real.imag.x", "module 'here' has no number.real.imag.x"),
        ("here:f(os)", "the application 'here:f(...)' is neither module:callable nor module:factory"),
        (":app", "the application ':app' names no module"),
    ],
)
def test_a_typo_in_the_name_of_the_application_is_one_sentence(refuse, tmp_path, target, sentence):
    write_module(tmp_path, "number = 1\n", "here")
    status, text = refuse(*EVERYWHERE, "-w", "2", target)
    assert status == 4
    assert one_sentence(text).startswith(sentence)


@pytest.mark.parametrize(
    ("preload", "code", "error", "guilty"),
    [
        ("--preload", "import missing_one\n", "ModuleNotFoundError: No module named 'missing_one'", "line 1"),
        ("--preload", "\nnot_defined\n", "NameError: name 'not_defined' is not defined", "line 2"),
        ("--no-preload", "\nnot_defined\n", "NameError: name 'not_defined' is not defined", "line 2"),
        ("--preload", "def app(:\n", "SyntaxError: invalid syntax", "line 1"),
        ("--preload", "import sys; sys.exit(3)\n", "SystemExit: 3", "line 1"),
        ("--no-preload", "raise KeyboardInterrupt\n", "KeyboardInterrupt", "line 1"),
    ],
)
def test_an_error_of_the_application_itself_is_told_with_its_traceback(refuse, tmp_path, preload, code, error, guilty):
    write_module(tmp_path, code, "here")
    status, text = refuse(*EVERYWHERE, "-w", "2", preload, "here:app")
    assert status == 4
    first, *traceback = text.splitlines()
    assert first == f"Error: here:app raised {error} on import"
    assert traceback[0] == "Traceback (most recent call last):"
    assert re.search(rf"here\.py\", {guilty}\b", text)
    assert error in traceback[-1]
    assert "server_core" not in text


def test_a_factory_that_raises_is_the_applications_own_error(refuse, tmp_path):
    write_module(tmp_path, "def make(name):\n    raise LookupError(name)\n", "here")
    status, text = refuse(*EVERYWHERE, "here:make('x')")
    assert status == 4
    assert text.startswith("Error: here:make(...) raised LookupError: x on import\nTraceback")


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_application_that_ends_the_process_while_it_is_imported_is_a_failed_boot(refuse, tmp_path, preload):
    write_module(tmp_path, "import os; os._exit(9)\n", "here")
    status, text = refuse(*EVERYWHERE, "-w", "2", preload, "here:app")
    assert status == 3
    assert "generation 1 failed: it" in one_sentence(text)
    assert "exited with status 9" in text


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_import_that_hangs_is_given_up_and_told_with_its_stack(refuse, gate, tmp_path, preload):
    write_module(tmp_path, "import gate\ndef guilty():\n    gate.through_the_gate()\nguilty()\n", "here")
    apps = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    arguments = (*EVERYWHERE, preload, "--boot-timeout", "500ms", "--chdir", str(Path(__file__).parent.parent / "apps"))
    status, text = refuse(*arguments, "here:app", env=gate.env | apps)
    assert status == 3
    assert "0.5s (boot_timeout)" in text.splitlines()[0]
    assert "in guilty" in text


def test_no_application_at_all_is_one_sentence(refuse):
    status, text = refuse(*EVERYWHERE)
    assert status == 2
    assert one_sentence(text).startswith("no application was named: prefork-serve module:callable, or wsgi_app in the")


# -- settings


def test_an_unknown_worker_class_is_refused_with_a_suggestion(refuse):
    status, text = refuse(*EVERYWHERE, "-k", "gthreat", "x:y")
    assert status == 2
    assert "'gthreat'" in one_sentence(text)
    assert "Did you mean gthread?" in text
    assert "(--worker-class)" in text


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("uvicorn", "asgi"),
        ("uvicorn.workers.UvicornWorker", "asgi"),
        ("uvicorn.workers:UvicornH11Worker", "asgi"),
        ("uvicorn_worker.UvicornWorker", "asgi"),
        ("gunicorn.workers.sync.SyncWorker", "sync"),
        ("gunicorn.workers.gthread.ThreadWorker", "gthread"),
        ("gunicorn.workers.ggevent.GeventWorker", "gevent"),
        ("gunicorn.workers.geventlet.EventletWorker", "eventlet"),
        ("gunicorn.workers.gtornado.TornadoWorker", "tornado"),
        ("gunicorn.workers.gtornado", "tornado"),
        ("mine.Announcing", "mine:Announcing"),
        ("package.mine.Announcing", "package.mine:Announcing"),
    ],
)
def test_a_worker_class_as_other_servers_write_it_is_refused_with_ours(name, ours):
    with pytest.raises(ConfigError, match=rf"no worker class '{name}' \(-k\): .* Did you mean {ours}\?$"):
        find_worker_class(name, "-k")


def test_threads_for_a_worker_class_that_has_none_are_refused(refuse):
    status, text = refuse(*EVERYWHERE, "-k", "sync", "--threads", "2", "x:y")
    assert status == 2
    assert "threads" in one_sentence(text)


def test_a_directory_that_does_not_exist_is_refused(refuse):
    status, text = refuse(*EVERYWHERE, "--chdir", "/no/such/place", "x:y")
    assert status == 2
    assert one_sentence(text) == "chdir: cannot change to '/no/such/place' (--chdir): No such file or directory."


@pytest.mark.parametrize("name", ["user", "group"])
def test_an_unknown_user_or_group_is_refused(refuse, name):
    status, text = refuse(*EVERYWHERE, f"--{name}", "nobody-of-that-name", "x:y")
    assert status == 2
    assert one_sentence(text) == f"{name}: there is no {name} 'nobody-of-that-name' on this machine (--{name})."


def test_a_user_number_without_a_group_is_refused_when_nothing_tells_the_group(refuse):
    """Else the application would run as that user, but in root's group."""
    status, text = refuse(*EVERYWHERE, "--user", "54321", "x:y")
    assert status == 2
    assert one_sentence(text).startswith(
        "user: user 54321 (--user) has no entry on this machine that would tell the gr"
    )


@pytest.mark.parametrize("flag", ["--error-logfile", "--access-logfile"])
def test_a_log_that_cannot_be_written_is_refused(refuse, flag):
    status, text = refuse(*EVERYWHERE, flag, "/no/such/place/log", "x:y")
    assert status == 1
    assert one_sentence(text).startswith("cannot write the log /no/such/place/log (")
    assert flag in text
    assert text.rstrip().endswith("No such file or directory")


def test_a_log_that_is_a_directory_is_refused(refuse, tmp_path):
    status, text = refuse(*EVERYWHERE, "--error-logfile", str(tmp_path), "x:y")
    assert status == 1
    assert one_sentence(text).endswith("Is a directory")


def test_an_atom_of_the_access_log_that_does_not_exist_is_refused(refuse):
    status, text = refuse(*EVERYWHERE, "--access-logformat", "%(Q)s", "x:y")
    assert status == 2
    assert "%(Q)s (--access-logformat) is no atom" in one_sentence(text)


# -- addresses


def test_a_port_in_use_is_refused(refuse):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        status, text = refuse("-b", address, "x:y")
    assert status == 1
    assert one_sentence(text).startswith(f"cannot listen on {address} (--bind): ")
    assert f" (pid {os.getpid()}) listens there already: stop it, or take the next free port with --bind " in text


def test_an_address_of_another_machine_is_refused(refuse):
    status, text = refuse("-b", "192.0.2.1:8000", "x:y")
    assert status == 1
    assert "cannot listen on 192.0.2.1:8000 (" in one_sentence(text)
    assert "that address does not belong to this machine: 0.0.0.0 or [::] stand for all of its own" in text


def test_a_host_that_nobody_knows_is_refused(refuse):
    status, text = refuse("-b", "no-such-host.invalid:8000", "x:y")
    assert status == 1
    assert "the host 'no-such-host.invalid' is not known" in one_sentence(text)


def test_a_descriptor_that_is_no_socket_is_refused(refuse):
    status, text = refuse("-b", "fd://0", "x:y")
    assert status == 1
    assert one_sentence(text) == "cannot listen on fd://0 (--bind): that descriptor is no stream socket"


@pytest.mark.parametrize("number", [*range(3, 12), 99])
def test_a_descriptor_that_nobody_has_handed_down_is_told_as_such(refuse, number):
    """Not as one that the server has opened itself meanwhile."""
    status, text = refuse("-b", f"fd://{number}", "x:y")
    assert status == 1
    assert one_sentence(text).startswith(f"cannot listen on fd://{number} (--bind): no such descriptor is open: it has")


def test_a_datagram_socket_is_refused(refuse):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        number = datagrams.fileno()
        status, text = refuse("-b", f"fd://{number}", "x:y", pass_fds=(number,))
    assert status == 1
    assert one_sentence(text).endswith("that descriptor is no stream socket")


def test_a_unix_socket_on_which_somebody_answers_is_refused_and_left_alone(refuse, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        status, text = refuse("-b", f"unix:{path}", "x:y")
    assert status == 1
    assert one_sentence(text).endswith(f"(pid {os.getpid()}) listens there already: stop it, or choose another address")
    assert path.is_socket()


def test_a_live_unix_socket_is_refused_even_when_its_queue_is_full(refuse, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(str(path))
        other.listen(0)
        client.connect(str(path))
        status, text = refuse("-b", f"unix:{path}", "x:y")
    assert status == 1
    assert f"(pid {os.getpid()}) listens there already" in one_sentence(text)


def test_a_file_where_the_unix_socket_should_be_is_refused_and_left_alone(refuse, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    status, text = refuse("-b", f"unix:{path}", "x:y")
    assert status == 1
    assert "it is no socket" in one_sentence(text)
    assert path.read_text() == "precious"


def test_a_unix_socket_in_a_directory_that_does_not_exist_is_refused(refuse):
    status, text = refuse("-b", "unix:/no/such/place/socket", "x:y")
    assert status == 1
    assert one_sentence(text).endswith("the directory does not exist")


def test_a_path_that_is_too_long_for_a_unix_socket_is_refused(refuse):
    status, text = refuse("-b", "unix:/tmp/" + "x" * 200, "x:y")
    assert status == 1
    assert "too long" in one_sentence(text)


def test_what_was_opened_before_the_refusal_is_closed_and_taken_away(refuse, tmp_path):
    path, pidfile = tmp_path / "socket", tmp_path / "pid"
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        status, _ = refuse("-b", f"unix:{path}", "-b", busy, "--pid", str(pidfile), "x:y")
    assert status == 1
    assert not path.exists()
    assert not pidfile.exists()


def test_after_a_failed_boot_the_files_are_taken_away(refuse, tmp_path):
    path, pidfile = tmp_path / "socket", tmp_path / "pid"
    status, _ = refuse("-b", f"unix:{path}", "--pid", str(pidfile), "missing:app")
    assert status == 4
    assert not path.exists()
    assert not pidfile.exists()


# -- the pid file


def test_two_servers_on_one_pid_file_are_one_too_many(serve, refuse, tmp_path):
    pidfile = tmp_path / "pid"
    first = serve("--pid", str(pidfile), "-w", "1", "simple:app")
    status, text = refuse(*EVERYWHERE, "--pid", str(pidfile), "x:y")
    assert status == 1
    assert one_sentence(text) == (
        f"the pid file {pidfile} (--pid) belongs to process {first.pid}, which is running: "
        "stop that server, or give this one another pidfile"
    )
    assert pidfile.read_text() == f"{first.pid}\n"
    assert first.get().status == 200


@pytest.mark.parametrize("content", ["4194305\n", "0\n", "", "nonsense"])
def test_the_pid_file_of_a_dead_server_is_taken_over(serve, tmp_path, content):
    pidfile = tmp_path / "pid"
    pidfile.write_text(content)
    server = serve("--pid", str(pidfile), "-w", "1", "simple:app")
    assert pidfile.read_text() == f"{server.pid}\n"
    assert oct(pidfile.stat().st_mode & 0o777) == "0o644"


def test_a_pid_file_that_has_become_another_servers_is_left_alone(serve, tmp_path):
    pidfile = tmp_path / "pid"
    server = serve("--pid", str(pidfile), "-w", "1", "simple:app")
    pidfile.write_text("1\n")
    server.signal(signal.SIGTERM)
    assert end_of(server) == 0
    assert pidfile.read_text() == "1\n"


@pytest.mark.parametrize("where", ["a directory", "/no/such/place/pid"])
def test_a_pid_file_that_cannot_be_written_is_refused_and_leaves_no_litter(refuse, tmp_path, where):
    path = tmp_path / "directory"
    path.mkdir()
    status, text = refuse(*EVERYWHERE, "--pid", where if where.startswith("/") else str(path), "x:y")
    assert status == 1
    assert one_sentence(text).startswith("cannot write the pid file ")
    assert os.listdir(tmp_path) == ["directory"]


# -- looking without serving


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_check_config_says_that_all_is_well(refuse, tmp_path, preload):
    write_module(tmp_path, "def app(*_): ...\n", "here")
    status, text = refuse("--check-config", preload, "here:app")
    assert status == 0
    assert text == "The settings are right and the application can be imported.\n"


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_check_config_tells_of_an_application_that_cannot_be_imported(refuse, tmp_path, preload):
    write_module(tmp_path, "surely_not_defined\n", "here")
    status, text = refuse("--check-config", preload, "here:app")
    assert status == 4
    assert text.startswith("Error: here:app raised NameError: name 'surely_not_defined' is not defined on import\nTrac")


def test_check_config_tells_of_wrong_settings(refuse):
    status, text = refuse("--check-config", "-w", "many", "x:y")
    assert status == 2
    assert "many" in one_sentence(text)
    status, text = refuse("--check-config", "--error-logfile", "/no/such/place/log", "x:y")
    assert status == 1
    assert one_sentence(text).startswith("cannot write the log")


def test_check_config_makes_nothing(refuse, tmp_path):
    write_module(tmp_path, "def app(*_): ...\n", "here")
    logs = ("--error-logfile", "new.log", "--access-logfile", "newa.log")
    status, text = refuse("--check-config", *logs, "--pid", "new.pid", "-b", "unix:socket", "here:app")
    assert status == 0, text
    assert os.listdir(tmp_path) == ["here.py"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--pid", "/no/such/place/pid"), "cannot write the pid file /no/such/place/pid (--pid): No such file or dir"),
        (("-b", "nosuch.invalid:8500"), "cannot listen on nosuch.invalid:8500 (--bind): the host 'nosuch.invalid' is"),
        (("-b", "192.0.2.1:8000"), "cannot listen on 192.0.2.1:8000 (--bind): that address does not belong to this"),
        (("-b", "unix:/no/such/place/s"), "cannot listen on unix:/no/such/place/s (--bind): the directory does not "),
        (("-b", "unix:here.py"), "cannot listen on unix:here.py (--bind): there is a file of that name, and it is no"),
        (("-b", "fd://77"), "cannot listen on fd://77 (--bind): no such descriptor is open"),
        (("--reload", "--reload-include", "/no/*.txt"), 'reload_include: "/no/*.txt" (--reload-include) means nothing'),
    ],
)
@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_check_config_refuses_what_a_start_refuses_in_the_same_words(refuse, tmp_path, options, sentence, check):
    write_module(tmp_path, "def app(*_): ...\n", "here")
    status, text = refuse(*check, *options, "here:app")
    assert status in (1, 2)
    assert one_sentence(text).startswith(sentence)


def test_check_config_gives_up_an_import_that_hangs_or_dies(refuse, gate, tmp_path):
    write_module(tmp_path, "import signal; signal.pause()\n", "hangs")
    status, text = refuse("--check-config", "--boot-timeout", "500ms", "hangs:app")
    assert status == 3
    assert one_sentence(text) == "the application is still being imported after 0.5s (boot_timeout)"
    write_module(tmp_path, "import os; os._exit(5)\n", "dies")
    status, text = refuse("--check-config", "dies:app")
    assert status == 3
    assert one_sentence(text) == "the process that imported the application exited with status 5"


def test_check_config_needs_neither_address_nor_pid_file_to_be_free(serve, refuse, tmp_path):
    pidfile = ("--pid", str(tmp_path / "pid"))
    server = serve("-w", "1", "-b", f"unix:{tmp_path}/socket", *pidfile, "simple:app")
    write_module(tmp_path, "def app(*_): ...\n", "here")
    addresses = ("-b", server.url.removeprefix("http://"), "-b", f"unix:{tmp_path}/socket")
    status, _ = refuse("--check-config", *addresses, *pidfile, "here:app")
    assert status == 0


def test_show_config_shows_values_and_where_they_are_from_and_starts_nothing(refuse, tmp_path):
    (tmp_path / "serve.toml").write_text("timeout = '7s'\n")
    arguments = ("--show-config", "-c", "serve.toml", "-w", "3", "missing:app")
    status, text = refuse(*arguments, env={"SERVE_THREADS": "4"})
    assert status == 0
    shown = {line.split()[0]: line for line in text.splitlines() if line}
    assert re.search(r"^workers +3 +--workers$", shown["workers"])
    assert re.search(r"^timeout +7s +.*serve\.toml", shown["timeout"])
    assert re.search(r"^threads +4 +SERVE_THREADS", shown["threads"])
    assert re.search(r"^worker_class +gthread +threads > 1$", shown["worker_class"])
    assert re.search(r"^keepalive +\S+ +default$", shown["keepalive"])
