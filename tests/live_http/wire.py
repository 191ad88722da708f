"""A client that sees every byte: what it sends goes out as it stands, what comes back is read answer by answer."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Any

from live import LiveServer
from tls_client import TlsClient

PATIENCE = 15.0


class Reply:
    """One answer as it was read: ``framing`` is "length", "chunked", "none" or "end" (of the connection)."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, framing: str) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.framing = framing

    @property
    def text(self) -> str:
        return self.body.decode("latin-1")


class Wire:
    """A connection to a server."""

    def __init__(self, server: LiveServer, receive_buffer: int = 0) -> None:
        if receive_buffer:
            self.sock: Any = socket.socket()
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.sock.settimeout(PATIENCE)
            self.sock.connect(server.address)
            if server.secure is not None:
                self.sock = TlsClient(self.sock, server.secure)
        else:
            self.sock = server.connect(PATIENCE)
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def reset(self) -> None:
        """Go away without a word."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, data: bytes) -> Wire:
        self.sock.sendall(data)
        return self

    def half_close(self) -> Wire:
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def get(self, target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> Wire:
        """Send a request without a body."""
        return self.send(request(target, *fields, method=method, version=version))

    def reply(self, method: str = "GET") -> Reply:
        """Read the next answer; ``method`` is that of the request, as HEAD has no body."""
        head = self.head()
        status, headers = head.status, head.headers
        if method == "HEAD" or status in (204, 304) or status < 200:
            return head
        if "transfer-encoding" in headers:
            assert headers["transfer-encoding"] == "chunked"
            assert "content-length" not in headers
            return Reply(status, headers, b"".join(iter(self.chunk, b"")), "chunked")
        if "content-length" in headers:
            size = int(headers["content-length"])
            body = self.file.read(size)
            assert len(body) == size, f"the connection ended after {len(body)} of {size} bytes"
            return Reply(status, headers, body, "length")
        return Reply(status, headers, self.file.read(), "end")

    def head(self) -> Reply:
        """Read the head of the next answer only."""
        status_line = self.file.readline().decode("latin-1")
        assert status_line.startswith("HTTP/1.1 "), f"no status line: {status_line!r}"
        assert status_line.endswith("\r\n")
        headers: dict[str, str] = {}
        while (line := self.file.readline().decode("latin-1")) != "\r\n":
            assert line.endswith("\r\n"), f"no header line: {line!r}"
            name, _, value = line[:-2].partition(": ")
            headers[name.lower()] = value
        return Reply(int(status_line[9:12]), headers, b"", "none")

    def hints(self, count: int) -> list[str]:
        """Read so many interim answers 103; their fields X-Hint."""
        heads = [self.head() for _ in range(count)]
        assert [head.status for head in heads] == [103] * count
        return [head.headers["x-hint"] for head in heads]

    def chunk(self) -> bytes:
        """Read one chunk; b"" for the last."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.read(2) == b"\r\n"
        return data

    def rest(self) -> bytes:
        """Everything until the server ends the connection."""
        try:
            return self.file.read()
        except ConnectionResetError:
            return b""

    def digest(self, size: int) -> str:
        """The hash of the next ``size`` bytes."""
        found = hashlib.sha256()
        while size:
            data = self.file.read(min(size, 1 << 20))
            assert data, f"{size} bytes are missing"
            size -= len(data)
            found.update(data)
        return found.hexdigest()


def request(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """A request as bytes, with a Host field."""
    head = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/{version}", "Host: shop.example", *fields))
    return f"{head}\r\n".encode("latin-1") + body


class Gate:
    """A unix socket at which the application waits, until the gate is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._gate = socket.socket(socket.AF_UNIX)
        self._gate.bind(str(path))
        self._gate.listen()
        self._gate.settimeout(PATIENCE)
        self._waiting: socket.socket | None = None

    def wait_until_reached(self) -> Gate:
        """Wait until a request stands before the gate."""
        if self._waiting is None:
            self._waiting = self._gate.accept()[0]
        return self

    def open(self) -> None:
        """Let the request go on."""
        self.wait_until_reached()
        assert self._waiting is not None
        self._waiting.close()
        self._waiting = None

    def close(self) -> None:
        """Nobody waits here any more."""
        for sock in (self._waiting, self._gate):
            if sock is not None:
                sock.close()


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
