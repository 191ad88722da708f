"""Where bodies and answers wait that are too large for memory (``tmp_upload_dir``)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from live import APPS, COMMAND, LiveServer, eventually
from projects import MANAGE_SERVE, copy_of, run

APP = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.readlink(f"/proc/self/fd/{environ['wsgi.input'].fileno()}").encode()]
"""

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where a descriptor leads")


@needs_proc
def test_a_large_body_waits_in_the_directory(tmp_path: Path, serve: Callable[..., LiveServer]) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "uploads").mkdir()
    directory = ("--tmp-upload-dir", "uploads")  # relative to the directory of the server
    server = serve("--body-buffer-size", "10", *directory, "mine:app", cwd=tmp_path)
    where = server.get("/", "POST", b"x" * 11).text
    assert where.startswith(f"{tmp_path}/uploads/")
    assert os.listdir(tmp_path / "uploads") == [], "a file without a name is nobody else's"


@needs_proc
def test_without_the_setting_it_is_the_systems_directory(tmp_path: Path, serve: Callable[..., LiveServer]) -> None:
    (tmp_path / "mine.py").write_text(APP)
    (tmp_path / "systems").mkdir()
    server = serve("--body-buffer-size", "10", "mine:app", cwd=tmp_path, env={"TMPDIR": str(tmp_path / "systems")})
    assert server.get("/", "POST", b"x" * 11).text.startswith(f"{tmp_path}/systems/")


@needs_proc
def test_a_large_answer_waits_there_too(tmp_path: Path, serve: Callable[..., LiveServer]) -> None:
    (tmp_path / "answers").mkdir()
    arguments = ("-w", "1", "--response-buffer-size", "0", "--tmp-upload-dir", str(tmp_path / "answers"))
    server = serve(*arguments, "simple:app", cwd=APPS)
    size = 30_000_000
    with server.connect() as sock:
        sock.sendall(f"GET /big/{size} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        first = sock.recv(1000)  # and for the moment no more
        worker = server.processes()[0]

        def leads_there() -> bool:
            for number in os.listdir(f"/proc/{worker}/fd"):
                with suppress(FileNotFoundError):  # closed since
                    if os.readlink(f"/proc/{worker}/fd/{number}").startswith(f"{tmp_path}/answers/"):
                        return True
            return False

        eventually(leads_there)
        received = len(first)
        while data := sock.recv(1 << 20):
            received += len(data)
        assert received > size


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_directory_that_is_none_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    status, text = run([*COMMAND, "--tmp-upload-dir", str(tmp_path / name), "simple:app"], APPS)
    sentence = f"Error: tmp_upload_dir: {tmp_path}/{name} (--tmp-upload-dir) is no directory: make it, or leave the "
    assert (status, text) == (2, sentence + "setting out.\n")


def test_a_directory_of_django_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("django")
    shop = copy_of("django_shop", tmp_path)
    with (shop / "shop_site" / "settings.py").open("a") as file:
        file.write('FILE_UPLOAD_TEMP_DIR = "/nowhere"\n')
    status, text = run([*MANAGE_SERVE, "--bind", "127.0.0.1:0"], shop)
    assert status == 2
    assert text.startswith(
        "Error: tmp_upload_dir: /nowhere (FILE_UPLOAD_TEMP_DIR in shop_site.settings) is no directory: make it, or"
    )


NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_directory_that_the_account_cannot_write_is_one_sentence(tmp_path: Path) -> None:
    directory = tmp_path / "uploads"
    directory.mkdir(mode=0o755)
    command = [*COMMAND, "--tmp-upload-dir", str(directory), "--check-config", "--user", str(NOBODY), "simple:app"]
    status, text = run(command, APPS)
    assert status == 2
    words = (
        rf"tmp_upload_dir: {directory} \(--tmp-upload-dir\) cannot be written by \w+ \(user\): give it to that account"
    )
    assert re.search(words, text), text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_we_cannot_write_is_one_sentence(tmp_path: Path) -> None:
    directory = tmp_path / "uploads"
    directory.mkdir(mode=0o555)
    done = subprocess.run(
        [*COMMAND, "--tmp-upload-dir", str(directory), "simple:app"], cwd=APPS, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"tmp_upload_dir: {directory} (--tmp-upload-dir) cannot be written by this account" in done.stderr
