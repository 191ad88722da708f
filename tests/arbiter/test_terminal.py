"""A server that was started from a terminal, a real one."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import termios
import urllib.request
from collections.abc import Iterator

import pytest
from live import PATIENCE, eventually

DEAF = """
import termios

def app(environ, start_response):
    modes = termios.tcgetattr(0)
    modes[3] &= ~(termios.ECHO | termios.ICANON)  # as readline has it while it asks
    termios.tcsetattr(0, termios.TCSANOW, modes)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hush"]
"""


@pytest.fixture
def terminal(tmp_path) -> Iterator[tuple[int, int]]:
    """A server that is the foreground of a new terminal: its process id, and the terminal's other end."""
    (tmp_path / "deaf.py").write_text(DEAF)
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-m", "server_core", "-w", "1", "-b", "127.0.0.1:0", "deaf:app"])
    yield pid, master
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
    os.close(master)


def read_until(master: int, pattern: str) -> re.Match[str]:
    text = ""
    while not (found := re.search(pattern, text)):
        assert select.select([master], [], [], PATIENCE)[0], text
        text += os.read(master, 65536).decode()
    return found


def echoes(master: int) -> bool:
    return bool(termios.tcgetattr(master)[3] & termios.ECHO)


def test_it_is_left_as_it_was_found(terminal):
    """A worker that is killed at the prompt of a debugger has switched off the echo."""
    pid, master = terminal
    url = read_until(master, r"(?s) serves .* on (http://[0-9.:]+).*Stop: Ctrl-C")[1]
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        assert answer.read() == b"hush"
    assert not echoes(master)
    os.write(master, b"\x03")
    _, status = eventually(lambda: (found := os.waitpid(pid, os.WNOHANG))[0] and found)
    assert os.waitstatus_to_exitcode(status) == 0
    assert echoes(master)
