"""``--open``: which address the browser gets, and that a server without one says so."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from live import eventually

BROWSER = """\
import signal
import sys

with open("opened.txt", "a") as file:
    file.write(sys.argv[1] + "\\n")
"""


@pytest.fixture
def browser(tmp_path: Path) -> dict[str, str]:
    """A browser that only takes note of what it is asked to open."""
    (tmp_path / "browser.py").write_text(BROWSER)
    return {"BROWSER": f"{sys.executable} {tmp_path / 'browser.py'} %s"}


def opened(tmp_path: Path) -> list[str]:
    file = tmp_path / "opened.txt"
    return file.read_text().splitlines() if file.exists() else []


def write_application(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"
    )


@pytest.mark.parametrize(("host", "visited"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")])
def test_the_browser_is_opened_once_with_an_address_that_it_can_go_to(tmp_path, serve, browser, host, visited):
    write_application(tmp_path)
    command = [sys.executable, "-m", "server_core", "-b", f"{host}:0", "--open", "-w", "1", "mine:app"]
    server = serve(command=command, cwd=tmp_path, env=browser)
    port = server.url.rpartition(":")[2]
    eventually(lambda: opened(tmp_path) == [f"http://{visited}:{port}"])
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    assert opened(tmp_path) == [f"http://{visited}:{port}"]


def test_the_browser_is_led_to_where_the_application_is_mounted(tmp_path, serve, browser):
    write_application(tmp_path)
    server = serve("--open", "-w", "1", "--script-name", "/shop", "mine:app", cwd=tmp_path, env=browser)
    eventually(lambda: opened(tmp_path) == [f"{server.url}/shop/"])


def test_a_browser_that_cannot_be_started_is_told(tmp_path, serve):
    write_application(tmp_path)
    # Without a display and without commands there is no other one.
    environ = {"BROWSER": "nosuch", "DISPLAY": "", "WAYLAND_DISPLAY": "", "PATH": str(tmp_path)}
    server = serve("--open", "-w", "1", "mine:app", cwd=tmp_path, env=environ)
    server.read_until(rf"No browser was opened \(open_browser\): open {server.url} yourself, or name one in")


def test_a_unix_socket_is_nothing_for_a_browser(tmp_path, serve, browser):
    write_application(tmp_path)
    command = [sys.executable, "-m", "server_core", "-b", "unix:app.sock", "--open", "-w", "1", "mine:app"]
    server = serve(command=command, cwd=tmp_path, env=browser)
    server.read_until(r"No browser was opened \(open_browser\): it cannot reach a unix socket")
    assert opened(tmp_path) == []
