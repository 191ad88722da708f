"""A real server as a subprocess, for tests: started on a free port, watched through what it writes, ended surely."""

from __future__ import annotations

import http.client
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tls_client import TlsClient, trusting

from server_core import workers

PATIENCE = 30.0
#: Worker class -> the options that choose it, four requests at once where that is a matter of choice; those for WSGI.
WORKER_CLASSES = {
    name: ["--worker-class", name, *(["--threads", "4"] if found.has_threads else [])]
    for name, found in workers.WORKER_CLASSES.items()
    if not found.asgi
}
#: these run what others run: eventlet what gevent runs but for its hub, and tornado gthread's code for WSGI
ALIKE = ("eventlet", "tornado")
#: the same as parameters of a fixture; of those that are alike the whole contract can wait
EACH_CLASS = [pytest.param(name, marks=[pytest.mark.slow] if name in ALIKE else []) for name in WORKER_CLASSES]
APPS = Path(__file__).parent / "apps"
COMMAND = [sys.executable, "-m", "server_core", "-b", "127.0.0.1:0"]


class LiveServer:
    """``arguments`` follow the command (``prefork-serve -b 127.0.0.1:0``, or ``command`` as it stands).

    What it writes, standard error and output together, is in ``text``; ``read_until`` waits for a pattern in it.
    """

    def __init__(
        self,
        *arguments: str,
        command: list[str] | None = None,
        cwd: Path | str = APPS,
        env: dict[str, str] | None = None,
        wait: bool = True,
        pass_fds: tuple[int, ...] = (),
        preexec: Callable[[], None] | None = None,
    ) -> None:
        environ = {
            key: value for key, value in os.environ.items() if not key.startswith(("SERVE_", "FLASK_", "DJANGO_"))
        }
        environ.pop("WEB_CONCURRENCY", None)
        environ.pop("PORT", None)
        environ |= {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error::SyntaxWarning"} | (env or {})
        self.process = subprocess.Popen(
            [*(command or COMMAND), *arguments],
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
            preexec_fn=preexec,
        )
        assert self.process.stdout is not None
        self._output = self.process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._bytes = b""
        self._mark = 0
        self.url = ""
        self.secure: ssl.SSLContext | None = None  # that of the client, where TLS is spoken

    # -- what it writes

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        self._collect(0)
        return self._bytes.decode("utf-8", "replace")

    def _collect(self, seconds: float) -> bool:
        """Read what is there, waiting up to ``seconds`` for something; False at the end of the stream."""
        if not select.select([self._output], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return True
        self._bytes += data
        return bool(data)

    def read_until(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Wait for ``pattern`` in what is written from now on: after the end of the previous match."""
        deadline = time.monotonic() + patience
        while True:
            text = self._bytes.decode("utf-8", "replace")
            found = re.compile(pattern, re.MULTILINE).search(text, self._mark)
            if found:
                self._mark = found.end()
                return found
            left = deadline - time.monotonic()
            if left <= 0 or not self._collect(min(left, 1.0)):
                raise AssertionError(f"{pattern!r} was not written; this was:\n{text[self._mark :]}")

    def wait_until_serving(self) -> None:
        self.url = self.read_until(r" serves .* on (\S+)")[1]
        self.read_until(r"Stop: .*\n")
        if self.url.startswith("https:") and self.secure is None:
            self.secure = trusting()

    # -- talking to it

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.rpartition("://")[2].rpartition(":")
        return host.strip("[]"), int(port)

    def connect(self, timeout: float = PATIENCE) -> Any:
        """A socket, or what has its methods."""
        sock = self.connect_plain(timeout)
        return sock if self.secure is None else TlsClient(sock, self.secure)

    def connect_plain(self, timeout: float = PATIENCE) -> socket.socket:
        if self.url.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            name = self.url.removeprefix("unix:")
            sock.connect("\0" + name[1:] if name.startswith("@") else name)
            return sock
        return socket.create_connection(self.address, timeout=timeout)

    def get(self, path: str = "/", method: str = "GET", body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own.  ``user_agent="x"`` is the field User-Agent."""
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = self.connect()
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def raw(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send bytes, return everything until the server closes."""
        with self.connect() as sock:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            return receive_all(sock)

    # -- its processes

    def processes(self, role: str = "worker") -> list[int]:
        """Process ids of this server's family whose title has the role, oldest first."""
        found = []
        for pid in family(self.pid):
            try:
                title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode("utf-8", "replace")
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if title.startswith(f"prefork-serve: {role}") and state != "Z":
                found.append(pid)
        return sorted(found)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for the end; returns the exit status.  All that it wrote is in ``text`` then."""
        status = self.process.wait(patience)
        while self._collect(0.5) and select.select([self._output], [], [], 0)[0]:
            pass
        return status

    def end(self) -> None:
        """Kill the whole session and make sure that nobody is left."""
        everyone = family(self.pid)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for pid in everyone:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Answer:
    """A response: status, headers by lower-case name, body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


def receive_all(sock: socket.socket) -> bytes:
    """Everything until the other side closes (a reset counts as an end)."""
    data = b""
    while True:
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += children.get(each, [])
    return found


def eventually(check: Any, patience: float = PATIENCE) -> Any:
    """Call ``check`` until it returns something true, and return that; for states that no event announces."""
    deadline = time.monotonic() + patience
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"never became true: {check}")
        select.select([], [], [], 0.02)
