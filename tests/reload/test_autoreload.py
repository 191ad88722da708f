"""``--reload`` on a project that is being edited while it is served, with each way of noticing changes."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pty
import re
import shutil
import signal
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from live import LiveServer, eventually, family

APP = """
import part

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [part.ANSWER]
"""
LOADED = "Generation {} has taken over"

# Makes the watcher slow to start, and its library slow to begin.
SLOW_WATCHER = """
import sys, time

if any("server_core.reload.watcher" in argument for argument in sys.orig_argv):
    time.sleep(0.5)
    try:
        import watchfiles
    except ImportError:
        pass
    else:
        watch = watchfiles.watch

        def slow(*arguments, **options):
            time.sleep(0.5)
            return watch(*arguments, **options)

        watchfiles.watch = slow
"""


@pytest.fixture(params=["watchfiles", "poll"])
def engine(request):
    if request.param == "watchfiles" and not importlib.util.find_spec("watchfiles"):
        pytest.skip("watchfiles is not installed")
    return request.param


@pytest.fixture
def project(tmp_path):
    """A package of two modules, with a folder around it for what does not belong to it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "site_of_mine.py").write_text(APP)
    (folder / "part.py").write_text('ANSWER = b"one"\n')
    return folder


@pytest.fixture
def start(serve, project, engine):
    def start(*arguments: str, **options) -> LiveServer:
        return serve(
            "--reload",
            "--reload-engine",
            engine,
            "--workers",
            "1",
            *arguments,
            "site_of_mine:app",
            cwd=project,
            **options,
        )

    return start


def answers(server: LiveServer, text: str) -> None:
    """Wait until the server answers with ``text``; the old generation may take a last request."""
    eventually(lambda: server.get("/").text == text)


def watcher_of(server: LiveServer) -> int:
    for pid in family(server.pid):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"prefork-serve: watcher"):
            return pid
    raise AssertionError("there is no watcher")


def test_a_save_brings_new_code_while_the_socket_stays_open(start, project):
    server = start()
    stop = threading.Event()
    failures: list[object] = []
    seen: set[str] = set()

    def ask_without_a_pause() -> None:
        while not stop.is_set():
            try:
                answer = server.get("/")
                seen.add(answer.text)
                if answer.status != 200:
                    failures.append(answer.status)
            except OSError as error:
                failures.append(error)

    client = threading.Thread(target=ask_without_a_pause)
    client.start()
    try:
        for generation, text in enumerate(("second", "the third"), start=2):
            (project / "part.py").write_text(f'ANSWER = b"{text}"\n')
            server.read_until(r"part\.py changed: loading the application anew")
            server.read_until(LOADED.format(generation))
            eventually(lambda text=text: text in seen)
    finally:
        stop.set()
        client.join()
    assert failures == []


def test_broken_code_is_told_once_and_the_old_code_serves_until_it_is_mended(start, project):
    server = start()
    (project / "part.py").write_text("ANSWER = b'half\n")
    server.read_until(r"was not reloaded.*SyntaxError")
    server.read_until(r"part\.py\", line 1")
    assert server.get("/").text == "one"
    (project / "part.py").write_text('ANSWER = b"mended"\n')
    server.read_until(LOADED.format(3))
    answers(server, "mended")
    assert server.text.count("was not reloaded") == 1
    assert len(re.findall(r"^ +SyntaxError", server.text, re.MULTILINE)) == 1


def test_new_deleted_and_older_files_are_noticed(start, project):
    server = start()
    (project / "new.py").write_text("")
    server.read_until(r" new\.py changed")
    server.read_until(LOADED.format(2))
    (project / "new.py").unlink()
    server.read_until(r" new\.py changed")
    server.read_until(LOADED.format(3))
    os.utime(project / "part.py", (1_000_000_000, 1_000_000_000))  # as a checkout of an older version may do
    server.read_until(r" part\.py changed")
    server.read_until(LOADED.format(4))


@pytest.mark.parametrize("name", ["page.html", "mail.j2", "settings.toml", ".env", "deep/er/new.py"])
def test_templates_settings_and_files_in_new_folders_count_too(serve, project, name):
    server = serve("--reload", "--reload-engine", "poll", "-w", "1", "site_of_mine:app", cwd=project)
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text("x = 1\n")
    server.read_until(rf" {re.escape(name)} changed")


def test_what_is_no_code_of_the_project_is_ignored(start, project, tmp_path):
    server = start()
    for folder in ("own-environment/lib", ".hidden", "node_modules", "lib/site-packages", "__pycache__"):
        (project / folder).mkdir(parents=True)
        if folder.startswith("own-environment"):
            (project / "own-environment" / "pyvenv.cfg").write_text("home = /usr/bin\n")
        (project / folder / "foreign.py").write_text("")
    for name in ("db.sqlite3", "server.log", "part.pyc", ".#part.py", "part.py~"):
        (project / name).write_text("x\n")
    (tmp_path / "outside.py").write_text("")
    (project / "zzz.py").write_text("")
    # All of it is noticed in one look, or in this order: only the last file may be told.
    assert server.read_until(r"\[INFO\] (.*) changed: loading")[1] == "zzz.py"
    server.read_until(LOADED.format(2))
    assert server.text.count("loading the application anew") == 1


def test_a_change_during_the_very_first_import_is_not_missed_by_a_slow_watcher(start, project, tmp_path):
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW_WATCHER)
    with (project / "part.py").open("a") as file:
        file.write("import os\nif not os.path.exists('made.py'):\n    open('made.py', 'w').close()\n")
    server = start(wait=False, env={"PYTHONPATH": str(tmp_path / "slow")})
    server.read_until(r"made\.py changed")


def test_a_first_start_with_broken_code_waits_and_serves_when_it_is_mended(start, project):
    (project / "part.py").write_text("ANSWER = \n")
    server = start("--bind", "unix:waiting.sock", wait=False)
    server.read_until(r"SyntaxError.*Waiting for a change")
    server.url = f"unix:{project / 'waiting.sock'}"
    with server.connect() as early:  # asks before there is anybody to answer
        early.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        (project / "part.py").write_text('ANSWER = b"mended"\n')
        received = b""
        while more := early.recv(65536):
            received += more
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"mended" in received


def test_further_files_are_watched_when_named_also_when_they_are_replaced(start, tmp_path):
    (tmp_path / "words.txt").write_text("a")
    server = start("--reload-extra-file", "../words.txt")
    (tmp_path / "words.txt").write_text("a b")
    server.read_until(r"words\.txt changed")
    server.read_until(LOADED.format(2))
    for generation in (3, 4):
        (tmp_path / "words.new").write_text("c" * generation)
        (tmp_path / "words.new").rename(tmp_path / "words.txt")
        server.read_until(r"words\.txt changed")
        server.read_until(LOADED.format(generation))


def test_patterns_add_files_and_take_files_away(start, project):
    includes = ("--reload-include", "*.txt", "--reload-include", ".github/,data/*.json")
    server = start(*includes, "--reload-exclude", "generated/", "--reload-exclude", "old.*")
    for generation, name in enumerate(("words.txt", ".github/x", "data/a.json"), start=2):
        for other in ("generated/a.py", "old.txt", "data/a.xml", name):
            (project / other).parent.mkdir(exist_ok=True)
            (project / other).write_text(name)
        assert server.read_until(r"\[INFO\] (.*) changed: loading")[1] == name
        server.read_until(LOADED.format(generation))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (
            "*.{html,css}",
            'holds "*.{html", which has braces: write a pattern for each alternative, and [{] for a brace',
        ),
        ("/docs/", "means nothing: there is no /docs; a path inside of the project begins without a slash."),
    ],
)
def test_a_pattern_that_means_nothing_is_refused_in_one_sentence(serve, project, option, sentence):
    server = serve("--reload", "--reload-include", option, "site_of_mine:app", cwd=project, wait=False)
    assert server.wait() == 2
    (line,) = server.text.splitlines()
    assert line.startswith(f'Error: reload_include: "{option}" (--reload-include) {sentence}')


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_watcher_ends_with_the_server_however_that_ends(start, number):
    server = start()
    watcher = watcher_of(server)
    server.signal(number)
    server.wait()
    if number == signal.SIGTERM:
        assert not Path(f"/proc/{watcher}").exists(), "it is reaped, too: not everywhere does somebody else do that"
    eventually(lambda: not is_running(watcher))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("change", ["edited", "deleted", "made"])
def test_a_watcher_that_dies_is_replaced_and_what_changed_meanwhile_is_not_missed(start, project, change):
    (project / "more.py").write_text("")
    server = start()
    time.sleep(1.1)  # what was written right before the end of a watcher counts as not told
    os.kill(watcher_of(server), signal.SIGKILL)
    if change == "edited":
        (project / "part.py").write_text('ANSWER = b"changed"\n')
    elif change == "deleted":
        (project / "more.py").unlink()
    else:
        (project / "made.py").write_text("")
    server.read_until("The watcher has died")
    assert server.get("/").text == "one"
    server.read_until("A new watcher has been started")
    server.read_until({"edited": r"part\.py", "deleted": r"\.", "made": r"made\.py"}[change] + " changed:")
    server.read_until(LOADED.format(2))
    (project / "part.py").write_text('ANSWER = b"and again"\n')
    answers(server, "and again")


def test_no_reload_without_the_option(serve, project):
    server = serve("--workers", "1", "site_of_mine:app", cwd=project)
    with pytest.raises(AssertionError, match="there is no watcher"):
        watcher_of(server)


@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_an_engine_that_is_not_installed_is_refused_in_one_sentence(serve, project, check):
    pretend = "import sys; sys.modules['watchfiles'] = None; from server_core.cli import main; main()"
    command = [sys.executable, "-c", pretend, "--bind", "127.0.0.1:0", "--reload"]
    server = serve(
        "--reload-engine", "watchfiles", *check, "site_of_mine:app", command=command, cwd=project, wait=False
    )
    assert server.wait() == 2
    assert server.text == (
        'Error: reload_engine watchfiles (--reload-engine) needs watchfiles: pip install "prefork-serve[reload]"\n'
    )


def test_when_the_system_can_watch_no_more_files_are_polled_and_that_is_told(serve, project, tmp_path):
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "watchfiles.py").write_text(
        "def watch(*paths, **options):\n    raise OSError('OS file watch limit reached')\n    yield\n"
    )
    environ = {"PYTHONPATH": str(tmp_path / "stand_in")}
    server = serve("--reload", "--workers", "1", "site_of_mine:app", cwd=project, env=environ)
    eventually(lambda: "[WARNING] watchfiles has given up (OS file watch limit reached)" in server.text)
    (project / "part.py").write_text('ANSWER = b"polled"\n')
    server.read_until(r"part\.py changed")
    answers(server, "polled")


def test_the_whole_file_system_is_not_watched(serve, project):
    shutil.copy(project / "part.py", project / "nothing.py")
    server = serve("--reload", "--chdir", "/", "site_of_mine:app", cwd=project, env={"PYTHONPATH": str(project)})
    assert "No directory is watched (reload)" in server.text


@pytest.mark.parametrize("by", ["a closed terminal", "nohup and a closed terminal"])
def test_a_closed_terminal_ends_the_server_unless_nohup_was_asked_for(serve, project, by):
    terminal, end = pty.openpty()

    def enter_terminal() -> None:
        fcntl.ioctl(end, termios.TIOCSCTTY, 0)
        # Said in either case: whoever runs the tests may have been started by nohup.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if by.startswith("nohup") else signal.SIG_DFL)

    server = serve("--reload", "--workers", "1", "site_of_mine:app", cwd=project, preexec=enter_terminal)
    server.signal(signal.SIGHUP)
    server.read_until(LOADED.format(2))
    os.close(end)
    os.close(terminal)
    if by.startswith("nohup"):
        server.read_until(LOADED.format(3))
    else:
        assert server.wait() == 0


def test_the_watcher_outlives_a_signal_to_the_whole_family(serve, project):
    server = serve("--reload", "--workers", "1", "site_of_mine:app", cwd=project)
    os.killpg(server.pid, signal.SIGHUP)
    server.read_until(LOADED.format(2))
    (project / "part.py").write_text('ANSWER = b"second"\n')
    answers(server, "second")


def test_a_project_that_is_deleted_and_made_anew_is_served_from_where_it_is_now(serve, project, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    (copy / "part.py").write_text('ANSWER = open("words.txt", "rb").read()\n')
    (copy / "words.txt").write_text("read from the new directory")
    server = serve("--profile", "development", "site_of_mine:app", cwd=project)
    shutil.rmtree(project)
    server.read_until("The browser shows why")
    eventually(lambda: b"no module named" in server.get().body)  # the old workers may take a last request
    os.rename(copy, project)
    answers(server, "read from the new directory")


def test_the_browser_is_promised_only_when_it_shows_why(serve, project):
    server = serve("--profile", "development", "site_of_mine:app", cwd=project)
    (project / "part.py").write_text("1 / 0\n")
    server.read_until("The browser shows why")
    eventually(lambda: len(server.processes("worker")) == 1)  # the old one has answered what it had taken
    assert server.get().status == 500
    assert server.text.count("ZeroDivisionError: division by zero on import") == 1
    assert server.text.count("Traceback") == 1


def test_an_answer_that_never_ends_holds_up_the_end_of_a_development_server_for_seconds_only(serve, project):
    (project / "open_for_ever.py").write_text(
        "import itertools, time\n\n"
        "def app(environ, start_response):\n"
        '    start_response("200 OK", [("Content-Type", "text/event-stream")])\n'
        '    return (time.sleep(0.1) or b"data: 1\\n\\n" for _ in itertools.count())\n'
    )
    server = serve("--profile", "development", "open_for_ever:app", cwd=project)
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        server.signal(signal.SIGINT)
        server.read_until(r"up to 3s \(graceful_timeout\)")
        assert server.wait(patience=15) == 0
    assert "which was leaving: it was killed" in server.text
    assert "Current thread" not in server.text
    assert "stack" not in server.text
