"""Log files that are renamed while the server runs, as logrotate does it."""

from __future__ import annotations

import os
import pwd
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import eventually
from scenes import NO_BYTE_CODE, read_when, stop, write_module

APPLICATION = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("on purpose")
    if environ["PATH_INFO"] == "/says":
        environ["wsgi.errors"].write("said by the application\\n")
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


ASGI_APPLICATION = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/fail":
        raise ValueError("on purpose")
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
"""
TORNADO_APPLICATION = """
from tornado.web import Application, RequestHandler

class Page(RequestHandler):
    def get(self):
        if self.request.path == "/fail":
            raise ValueError("on purpose")

app = Application([(".*", Page)])
"""


@pytest.fixture
def rotated(serve, tmp_path):
    """``rotated(*arguments, folder)``: a server whose two logs are in ``folder``, one worker, and its two files."""

    def start(*arguments: str, folder: Path = tmp_path, application: str = APPLICATION):
        write_module(folder, application)
        error, access = folder / "e.log", folder / "a.log"
        logs = ("--error-logfile", error.name, "--access-logfile", access.name)
        server = serve("-w", "1", *logs, *arguments, "site_app:app", cwd=folder, env=NO_BYTE_CODE, wait=False)
        server.url = re.search(r"serves site_app:app on (\S+)", read_when(error, "Stop: .*\n"))[1]
        server.get("/before")
        read_when(access, "GET /before")
        return server, error, access

    return start


def rotate(*files: Path) -> None:
    for file in files:
        file.rename(file.with_suffix(".1"))


def test_after_a_rotation_hup_makes_everybody_write_to_the_new_files(rotated):
    server, error, access = rotated()
    rotate(error, access)
    server.signal(signal.SIGHUP)
    text = read_when(error, "Generation 2 has taken over")
    assert re.match(r"\[.*\] \[INFO\] Received SIGHUP: loading the application anew", text)
    assert "SIGHUP" not in error.with_suffix(".1").read_text()
    # A worker that is about to end still has the old file, and may take a last request.
    eventually(lambda: server.get("/after") and access.exists() and "GET /after" in access.read_text())
    assert "before" not in access.read_text()
    stop(server)
    assert error.read_text().endswith("Stopped.\n")
    assert server.text == ""


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent", "asgi", "tornado"])
def test_after_a_rotation_usr1_makes_everybody_write_to_the_new_files_and_nothing_else_changes(
    rotated, tmp_path, worker_class
):
    application = {"asgi": ASGI_APPLICATION, "tornado": TORNADO_APPLICATION}.get(worker_class, APPLICATION)
    server, error, access = rotated("-k", worker_class, application=application)
    processes = server.processes()
    rotate(error, access)
    server.signal(signal.SIGUSR1)
    read_when(error, "Received SIGUSR1: all processes open their log files anew")
    eventually(lambda: server.get("/after") and access.exists() and "GET /after" in access.read_text())
    server.get("/fail")
    read_when(error, "on purpose")
    assert "on purpose" not in error.with_suffix(".1").read_text()
    assert server.processes() == processes
    # Who is forked later writes there, too.
    os.kill(processes[0], signal.SIGKILL)
    eventually(lambda: server.processes() not in ([], processes))
    error.write_text("")
    server.get("/fail")
    read_when(error, "on purpose")
    stop(server)


def test_what_the_application_writes_to_its_error_stream_follows_too(rotated):
    server, error, access = rotated()
    rotate(error, access)
    server.signal(signal.SIGUSR1)
    eventually(lambda: server.get("/says") and error.exists() and "said by the application" in error.read_text())


def test_a_generation_that_is_imported_while_logs_are_renamed_writes_to_the_new_ones(rotated, tmp_path):
    server, error, access = rotated()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    write_module(tmp_path, f"open({str(gate)!r}).read()\n" + APPLICATION)
    server.signal(signal.SIGHUP)
    with open(gate, "w"):  # it imports now
        rotate(error, access)
        server.signal(signal.SIGUSR1)
        read_when(error, "Received SIGUSR1")
    read_when(error, "Generation 2 has taken over")
    server.get("/fail")
    read_when(error, "on purpose")


def test_a_file_that_cannot_be_made_anew_is_told_and_the_old_one_is_written_on(serve, tmp_path):
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        write_module(tmp_path, APPLICATION)
        server = serve("-w", "1", "--access-logfile", str(logs / "a.log"), "site_app:app", cwd=tmp_path)
        logs.rename(Path(folder) / "old")
        server.signal(signal.SIGUSR1)
        server.read_until("cannot write the log .*a.log.*: No such file or directory")
        server.read_until("cannot be opened anew: .* What was open before is written on")
        server.get("/after")
        read_when(Path(folder) / "old" / "a.log", "GET /after")


def test_hup_opens_the_error_log_anew_also_when_the_new_code_does_not_load(rotated, tmp_path):
    server, error, _ = rotated()
    rotate(error)
    (tmp_path / "site_app.py").write_text("missing_name\n")
    server.signal(signal.SIGHUP)
    read_when(error, "The application was not reloaded(.|\n)*NameError")
    assert "SIGHUP" not in error.with_suffix(".1").read_text()
    assert server.get().status == 200


def test_an_error_log_that_cannot_be_opened_anew_is_written_on(rotated):
    server, error, _ = rotated()
    rotate(error)
    error.mkdir()
    server.signal(signal.SIGHUP)
    text = read_when(error.with_suffix(".1"), "The application was not reloaded.*\n")
    assert re.search(rf"\[ERROR\] Cannot open the log {error} anew \(errorlog\): Is a directory\. What was op", text)
    assert server.get().status == 200
    error.rmdir()
    server.signal(signal.SIGHUP)
    read_when(error, "Generation 3 has taken over")


# -- as another user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def roots_directory() -> Iterator[Path]:
    """A directory that everybody may enter and only root may write to; those of pytest are closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@as_root
@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_root_makes_the_new_files_for_the_account_that_serves(rotated, roots_directory, preload):
    nobody = pwd.getpwnam("nobody")
    server, error, access = rotated("--user", "nobody", preload, folder=roots_directory)
    rotate(error, access)
    server.signal(signal.SIGHUP)
    read_when(error, "Generation 2 has taken over")

    def is_told() -> bool:  # the old worker, which may still answer, has the old file
        server.get("/after")
        return access.exists() and "GET /after" in access.read_text()

    eventually(is_told)
    for file in (error, access):
        assert file.stat().st_uid == nobody.pw_uid
    assert "Errno" not in error.read_text()


@as_root
def test_a_new_log_that_the_account_may_not_write_is_one_sentence_and_the_old_code_serves(rotated, roots_directory):
    server, error, access = rotated("--user", "nobody", folder=roots_directory)
    rotate(error, access)
    for file in (error, access):
        file.touch(0o600)
    server.signal(signal.SIGHUP)
    text = read_when(error.with_suffix(".1"), r"The application was not reloaded.*\n")
    assert f"Cannot open the log {error} anew (errorlog): it does not belong to nobody (user). " in text
    assert (
        "generation 2 failed: cannot write the log e.log (errorlog: --error-logfile) as nobody (user): give the file to"
        " that account with chown, or remove it. Generation 1 serves on."
    ) in text
    assert "Traceback" not in text
    assert error.read_text() == ""
    assert server.get().status == 200


@as_root
def test_a_worker_that_finds_no_log_between_the_renaming_and_hup_is_one_sentence(rotated, roots_directory):
    server, error, access = rotated("--user", "nobody", folder=roots_directory)
    rotate(error, access)
    os.kill(server.processes("worker")[0], signal.SIGKILL)
    text = read_when(
        error.with_suffix(".1"), r"was lost: cannot write the log a\.log \(accesslog\): Permission denied\."
    )
    assert "Traceback" not in text
    server.signal(signal.SIGHUP)
    read_when(error, "Generation 2 has taken over")
    assert eventually(lambda: server.processes("worker"))
    assert server.get().status == 200
