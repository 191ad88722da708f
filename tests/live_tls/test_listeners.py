"""Knows that each address speaks what it is to speak, plain HTTP or TLS, side by side in one server."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live import LiveServer
from tls_client import trusting
from wire import Wire

Start = Callable[..., LiveServer]
COMMAND = [sys.executable, "-m", "server_core"]


def told(server: LiveServer) -> dict[str, object]:
    """The environ of a request."""
    with Wire(server) as wire:
        return json.loads(wire.get("/told").reply().body)  # type: ignore[no-any-return]


def urls(server: LiveServer) -> list[str]:
    """All that the banner names."""
    (line,) = (line for line in server.text.splitlines() if " serves " in line)
    return line.partition(" on ")[2].split()


class TestSideBySide:
    @pytest.fixture(params=["", "https://"])
    def both(self, request: pytest.FixtureRequest, serve: Start, options: list[str]) -> LiveServer:
        """A server that speaks plain HTTP on one address and https on the other, which may say so."""
        bind = ["-b", "http://127.0.0.1:0", "-b", f"{request.param}127.0.0.1:0"]
        return serve("contract:app", *options, command=[*COMMAND, *bind])

    def test_the_banner_and_the_environ_say_which_is_which(self, both: LiveServer):
        plain, secure = urls(both)
        assert plain.startswith("http://127.0.0.1:")
        assert secure.startswith("https://127.0.0.1:")
        found = told(both)
        assert (found["wsgi.url_scheme"], found["SERVER_PORT"]) == ("http", plain.rpartition(":")[2])
        assert "HTTPS" not in found
        assert not [name for name in found if name.startswith("SSL_")]
        both.url, both.secure = secure, trusting()
        found = told(both)
        assert (found["wsgi.url_scheme"], found["SERVER_PORT"]) == ("https", secure.rpartition(":")[2])
        assert found["HTTPS"] == "on"

    def test_a_plain_request_to_the_other_is_told_so(self, both: LiveServer):
        both.url = urls(both)[1]
        assert b"this port speaks https" in both.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_unix_socket_can_be_plain_beside_https(serve: Start, with_certificate: list[str], tmp_path: Path):
    bind = ["-b", f"http://unix:{tmp_path}/socket", "-b", "127.0.0.1:0"]
    server = serve("contract:app", *with_certificate, "-w", "1", command=[*COMMAND, *bind])
    plain, secure = urls(server)
    assert plain == f"unix:{tmp_path}/socket"
    assert told(server)["wsgi.url_scheme"] == "http"
    server.url, server.secure = secure, trusting()
    assert told(server)["wsgi.url_scheme"] == "https"


def test_an_inherited_socket_can_be_the_one_that_speaks_tls(serve: Start, with_certificate: list[str]):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        bind = ["-b", "http://127.0.0.1:0", "-b", f"https://fd://{sock.fileno()}"]
        options = [*with_certificate, "-w", "1"]
        server = serve("contract:app", *options, command=[*COMMAND, *bind], pass_fds=(sock.fileno(),))
        assert told(server)["wsgi.url_scheme"] == "http"
        server.url, server.secure = f"https://127.0.0.1:{sock.getsockname()[1]}", trusting()
        assert told(server)["wsgi.url_scheme"] == "https"
