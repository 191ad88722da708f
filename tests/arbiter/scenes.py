"""What the tests of the process family share: both worker classes, requests that are held inside the application,
clients that never stop asking, and the proof that nobody is left."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import textwrap
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from live import PATIENCE, Answer, LiveServer, eventually

SYNC = ("-k", "sync")
GTHREAD = ("-k", "gthread", "--threads", "3")
BOTH = pytest.mark.parametrize("kind", [SYNC, GTHREAD], ids=["sync", "gthread"])


# -- who is there


def at_work(server: LiveServer) -> list[int]:
    """Process ids of the workers that have not been told to go."""
    leaving = {pid for pid in server.processes("worker") if "draining" in title(pid)}
    return [pid for pid in server.processes("worker") if pid not in leaving]


def title(pid: int) -> str:
    """What ps shows of a process, "" for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode("utf-8", "replace")
    except OSError:
        return ""


def freeze(*pids: int) -> None:
    """Stop processes, and wait until each of their threads stands still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        eventually(lambda pid=pid: all(state(stat) == "T" for stat in Path(f"/proc/{pid}/task").glob("*/stat")))


def state(stat: Path) -> str:
    """The letter for the state of a process or thread: R running, S sleeping, T stopped, Z dead and not yet reaped."""
    return stat.read_text().rpartition(")")[2].split()[0]


def read_when(path: Path, pattern: str) -> str:
    """The text of a file, once the pattern is in it."""
    eventually(lambda: path.exists() and re.search(pattern, path.read_text(), re.MULTILINE))
    return path.read_text()


def left_over(server: LiveServer) -> list[str]:
    """The processes of the server's session that are still there, with their titles; the session outlives orphans."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == server.pid and fields[0] != "Z":
                found.append(f"{entry} {title(int(entry))}")
    return found


def end_of(server: LiveServer) -> int:
    """Wait for the end; returns the exit status.  At that moment nobody of the family is left."""
    status = server.wait()
    assert left_over(server) == []
    return status


def stop(server: LiveServer, number: signal.Signals = signal.SIGTERM) -> None:
    """End the server in an orderly way."""
    server.signal(number)
    assert end_of(server) == 0, server.text


def is_refused(server: LiveServer) -> bool:
    """Would a new client be refused?"""
    try:
        server.connect(1.0).close()
    except ConnectionRefusedError:
        return True
    return False


# -- requests under way


def ask(server: LiveServer, path: str = "/", **options: Any) -> Future[Answer]:
    """A request that goes on in the background."""
    future: Future[Answer] = Future()

    def work() -> None:
        try:
            future.set_result(server.get(path, **options))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


class Gate:
    """The other side of ``gate:app``: tells when a request is inside the application, and lets it through."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "gate")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        self._listener.settimeout(PATIENCE)
        self._waiting: list[socket.socket] = []
        self._keeper: threading.Thread | None = None
        self._closing = False

    @property
    def env(self) -> dict[str, str]:
        """The environment of a server whose application comes to this gate."""
        return {"GATE": self.path}

    def wait(self) -> int:
        """Until a request has come to the gate; returns the process id of its worker."""
        visitor, _ = self._listener.accept()
        visitor.settimeout(PATIENCE)
        self._waiting.append(visitor)
        return int(visitor.recv(64) or 0)

    def open(self) -> None:
        """Let everybody through who has been waited for."""
        for visitor in self._waiting:
            try:
                visitor.sendall(b"x")
            except OSError:
                pass  # its worker is dead
            visitor.close()
        self._waiting.clear()

    def stay_open(self) -> None:
        """Let everybody through from now on."""
        self.open()

        def let_through() -> None:
            self.wait()
            while not self._closing:
                self.open()
                self.wait()

        self._keeper = threading.Thread(target=let_through)
        self._keeper.start()

    def close(self) -> None:
        """Let everybody go for good."""
        self._closing = True
        if self._keeper is not None:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(self.path)
                last.sendall(b"0")
                self._keeper.join()
        self.open()
        self._listener.close()


# -- clients that never stop asking


class Clients:
    """Threads that ask on and on: half of them on kept connections, half on a new one for each request.

    ``failures`` are requests that got no answer or a wrong one; none is ever tried again.
    """

    def __init__(self, server: LiveServer, count: int = 4, path: str = "/") -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._server = server
        self._path = path
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask_on, args=(number % 2 == 0,)) for number in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let each finish the request that it is at."""
        self._end.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def reach(self, count: int) -> None:
        """Wait until ``count`` requests have been answered."""
        eventually(lambda: self.answers >= count or self.failures, patience=60)
        self.expect_no_failure()

    def go_on(self, count: int) -> None:
        """Wait until ``count`` more requests have been answered."""
        self.reach(self.answers + count)

    def expect_no_failure(self) -> None:
        assert self.failures == []

    def _ask_on(self, keeps: bool) -> None:
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        while not self._end.is_set():
            try:
                if connection.sock is None:
                    connection.sock = self._server.connect()
                connection.request("GET", self._path, headers={} if keeps else {"Connection": "close"})
                response = connection.getresponse()
                body = response.read()
                if response.status != 200 or not body:
                    raise AssertionError(f"{response.status} {body[:100]!r}")
            except Exception as error:
                self.failures.append(repr(error))
                connection.close()
                if len(self.failures) > 20:
                    return
            else:
                with self._lock:
                    self.answers += 1
        connection.close()


# -- applications that change


def write_app(directory: Path, text: str, name: str = "site_app") -> None:
    """Write a module whose application answers ``text``."""
    write_module(
        directory,
        f"""
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "{len(text)}")])
            return [b"{text}"]
        """,
        name,
    )


def write_module(directory: Path, code: str, name: str = "site_app") -> None:
    """Write a module in one step, so that nobody ever imports half of it."""
    temporary = directory / f"{name}.new"
    temporary.write_text(textwrap.dedent(code), encoding="utf-8")
    temporary.rename(directory / f"{name}.py")


#: byte code is believed when size and second of its source are the same, and tests are quicker than that
NO_BYTE_CODE = {"PYTHONDONTWRITEBYTECODE": "1"}


def in_path(directory: object) -> dict[str, str]:
    """The environment in which modules of a directory can be imported."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")]))}
