"""Log files that are renamed while the server runs, as logrotate does it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from scenes import NO_BYTE_CODE, read_when, stop, write_module

APPLICATION = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@pytest.fixture
def rotated(serve, tmp_path):
    """``rotated(*arguments, folder)``: a server whose two logs are in ``folder``, one worker, and its two files."""

    def start(*arguments: str, folder: Path = tmp_path):
        write_module(folder, APPLICATION)
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
    server.get("/after")
    assert "before" not in read_when(access, "GET /after")
    stop(server)
    assert error.read_text().endswith("Stopped.\n")
    assert server.text == ""


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
