"""A real server for one trial: started on a free port with one worker, talked to over sockets, surely ended."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType

#: the longest that anything is waited for
PATIENCE = 20.0


class Broken(AssertionError):
    """A promise that was not kept; the text says how."""


class NotStarted(Broken):
    """The server with this worker class has not come so far as to serve; the text is what it says of that."""


def expect(kept: bool, otherwise: str) -> None:
    """Raise Broken with these words unless ``kept``."""
    if not kept:
        raise Broken(otherwise)


def eventually(check: Callable[[], object], otherwise: str) -> None:
    """Wait until ``check()`` is true; for what no event announces.  Raises Broken."""
    deadline = time.monotonic() + PATIENCE
    while not check():
        expect(time.monotonic() < deadline, otherwise)
        time.sleep(0.02)


class Client:
    """A connection to the server; it sends bytes as they stand and reads answers one by one."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> Client:
        """Send; returns the client."""
        self.socket.sendall(data)
        return self

    def get(self, target: str, *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> Client:
        """Send a request; returns the client."""
        lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and fields of the next answer, the names in small letters.  Raises Broken at the end."""
        line = self._file.readline()
        expect(line.startswith(b"HTTP/1.1 "), f"{line!r} came where an answer should begin")
        fields: dict[str, str] = {}
        while (field := self._file.readline().decode("latin-1").strip()) != "":
            name, _, value = field.partition(":")
            fields[name.lower()] = value.strip()
        return int(line.split()[1]), fields

    def chunk(self) -> bytes:
        """The next chunk of a body, b"" for the last."""
        line = self._file.readline()
        expect(line.endswith(b"\r\n"), "the connection ended in the middle of an answer")
        size = int(line, 16)
        data = self._file.read(size)
        self._file.readline()
        return data

    def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, fields and body of the next answer."""
        status, fields = self.head()
        if head_only:
            return status, fields, b""
        if "content-length" in fields:
            return status, fields, self._file.read(int(fields["content-length"]))
        if fields.get("transfer-encoding") == "chunked":
            pieces = []
            while piece := self.chunk():
                pieces.append(piece)
            return status, fields, b"".join(pieces)
        return status, fields, self.rest()

    def rest(self) -> bytes:
        """All until the server ends the connection."""
        return self._file.read()

    def close(self) -> None:
        """Go away."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Trial:
    """A server with one worker of ``worker_class``; its log is ``log``, ``directory`` a place for files.

    Raises NotStarted.
    """

    def __init__(self, worker_class: str, *arguments: str) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="prefork-serve-contract-")
        self.directory = self._place.name
        command = [sys.executable, "-m", "server_core", "--workers", "1", "--worker-class", worker_class]
        command += ["--bind", "127.0.0.1:0", "--access-logfile", os.path.join(self.directory, "access")]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("SERVE_")}
        environ["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        self.process = subprocess.Popen(
            [*command, *arguments, "server_core.contract.application:app"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            start_new_session=True,
        )
        self.log = ""
        try:
            self.port = int(self.read_until(r"serves .* on http://127\.0\.0\.1:(\d+)")[1])
            self.read_until("Stop: ")
        except Broken:
            self.end()
            refusal = re.search(r"^Error: (.*)", self.log, re.MULTILINE | re.DOTALL)
            words = refusal[1] if refusal else f"the server has not begun to serve within {PATIENCE:g}s:\n{self.log}"
            raise NotStarted(words.strip()) from None
        except BaseException:
            self.end()
            raise

    def read_until(self, pattern: str) -> re.Match[str]:
        """Wait for this in the log.  Raises Broken."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.log)) is None:
            left = deadline - time.monotonic()
            ready = select.select([self.process.stdout], [], [], max(left, 0.0))[0]
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            expect(bool(data), f"the server's log does not say what it should:\n{self.log}")
            self.log += data.decode("utf-8", "replace")
        return found

    def connect(self) -> Client:
        """A new client."""
        return Client(self.port)

    def ask(self, target: str) -> bytes:
        """The body of the answer to one request of its own."""
        with self.connect() as client:
            return client.get(target, "Connection: close").answer()[2]

    def worker(self) -> int:
        """The worker's process id."""
        return int(self.ask("/pid"))

    def access_lines(self) -> list[str]:
        """What the access log has."""
        with open(os.path.join(self.directory, "access"), encoding="utf-8") as file:
            return file.read().splitlines()

    def signal(self, number: signal.Signals) -> None:
        """To the arbiter."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Whatever is left of it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._place.cleanup()

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def is_alive(pid: int) -> bool:
    """Is there such a process?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
