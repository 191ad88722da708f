"""Knows that who comes by plain HTTP is sent to https, at once, by nobody but the server itself."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Authority
from live import LiveServer, eventually
from tls_client import trusting
from wire import Wire, request

Start = Callable[..., LiveServer]
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
COMMAND = [sys.executable, "-m", "server_core", "-b", "127.0.0.1:0", "--redirect-bind", "127.0.0.1:0"]


def redirecting(server: LiveServer) -> LiveServer:
    """The server, to be talked to where it redirects; its ``port`` is that of https."""
    server.read_port = server.address[1]  # type: ignore[attr-defined]
    (line,) = (line for line in server.text.splitlines() if "Redirects to https: " in line)
    server.url, server.secure = line.rpartition(" ")[2], None
    return server


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The access log of ``door``."""
    return tmp_path_factory.mktemp("logs") / "access.log"


@pytest.fixture(scope="module")
def door(options: list[str], log: Path):
    """A server that redirects what comes by plain HTTP; connections go there."""
    server = LiveServer("contract:app", *options, "--access-logfile", str(log), command=COMMAND)
    try:
        server.wait_until_serving()
        yield redirecting(server)
    finally:
        server.end()


@pytest.fixture
def plain(door: LiveServer):
    with Wire(door) as wire:
        yield wire


@pytest.fixture
def port(door: LiveServer) -> int:
    """That of https."""
    return door.read_port  # type: ignore[attr-defined, no-any-return]


class TestAnswers:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
    def test_every_method_is_sent_to_https_and_is_to_stay_the_same(self, plain: Wire, port: int, method: str):
        reply = plain.get("/a/b?c=d&e", method=method).reply(method=method)
        assert (reply.status, reply.headers["location"]) == (308, f"https://shop.example:{port}/a/b?c=d&e")
        assert reply.headers["connection"] == "close"
        assert reply.headers["server"] == "prefork-serve"
        assert plain.rest() == b""

    @pytest.mark.parametrize(("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308)])
    def test_http_1_0_is_told_in_words_of_its_time(self, plain: Wire, port: int, method: str, status: int):
        reply = plain.get("/", method=method, version="1.0").reply(method=method)
        assert (reply.status, reply.headers["location"]) == (status, f"https://shop.example:{port}/")

    def test_a_body_is_not_waited_for(self, plain: Wire, port: int):
        plain.send(request("/", "Content-Length: 1000000000", method="POST", body=b"abc"))
        assert plain.reply().headers["location"] == f"https://shop.example:{port}/"

    def test_nor_is_it_asked_for(self, plain: Wire):
        plain.send(request("/", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert plain.reply().status == 308

    def test_the_page_is_of_the_kind_that_the_client_likes(self, plain: Wire):
        reply = plain.get("/<script>", "Accept: text/html").reply()
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert b"script" not in reply.body

    def test_the_target_may_be_absolute(self, plain: Wire, port: int):
        reply = plain.get("http://b.example?x").reply()
        assert reply.headers["location"] == f"https://b.example:{port}/?x"

    def test_without_a_host_there_is_nowhere_to_go(self, plain: Wire):
        plain.send(b"GET / HTTP/1.0\r\n\r\n")
        reply = plain.reply()
        assert reply.status == 400
        assert reply.text == "400 Bad Request: this port only redirects to https\n"

    @pytest.mark.parametrize(
        "field", ["Host: a b", "Host: a/b", "Host: user@a", "Host: ", "Host: a\r\nHost: b", "X: y"]
    )
    def test_a_host_that_is_none_is_refused(self, door: LiveServer, field: str):
        answer = door.raw(f"GET / HTTP/1.1\r\n{field}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"location" not in answer.lower()

    def test_limits_hold_there_too(self, door: LiveServer):
        assert door.raw(request("/" + "x" * 9000)).startswith(b"HTTP/1.1 414 ")

    def test_the_application_serves_by_https_and_hears_of_nothing_else(self, door: LiveServer, log: Path, port: int):
        path = f"/crash/{port}"
        with Wire(door) as wire:
            assert wire.get(path, "User-Agent: me").reply().status == 308
        (line,) = eventually(lambda: [line for line in log.read_text().splitlines() if path in line])
        assert f'"GET {path} HTTP/1.1" 308 - "-" "me"' in line

    @needs_curl
    def test_curl_follows(self, door: LiveServer, authority: Authority, port: int):
        url = f"http://localhost:{door.address[1]}/echo"
        command = ["curl", "-sS", "-L", "--cacert", str(authority.path), "--data", "all of it", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert (done.stdout, done.stderr) == ("all of it", "")


class TestWhere:
    def test_hosts_are_checked_if_they_are_to_be(self, serve: Start, with_certificate: list[str]):
        hosts = ["--check-hosts", "--allowed-host", ".shop.example"]
        server = redirecting(serve("contract:app", "-w", "1", *with_certificate, *hosts, command=COMMAND))
        assert server.get("/", host="www.shop.example").status == 308
        answer = server.get("/", host="evil.example")
        assert answer.status == 400
        assert "location" not in answer.headers

    def test_head_timeout_holds_there_too(self, serve: Start, with_certificate: list[str]):
        server = serve("contract:app", "-w", "1", *with_certificate, "--head-timeout", "500ms", command=COMMAND)
        with Wire(redirecting(server)) as wire:
            began = time.monotonic()
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            assert wire.reply().status == 408
            assert time.monotonic() - began < 5

    def test_there_can_be_several_and_plain_addresses_beside_them(
        self, serve: Start, with_certificate: list[str], tmp_path: Path
    ):
        bind = ["-b", "http://127.0.0.1:0", "--redirect-bind", f"unix:{tmp_path}/door"]
        server = serve("contract:app", "-w", "1", *with_certificate, *bind, command=COMMAND)
        urls = server.text.partition(" on ")[2].partition("\n")[0].split()
        assert [url.partition("://")[0] for url in urls] == ["https", "http"]
        port = urls[0].rpartition(":")[2]
        server.url, server.secure = f"unix:{tmp_path}/door", None
        assert server.get("/x", host="a.example").headers["location"] == f"https://a.example:{port}/x"
        server.url = urls[1]
        assert server.get("/x").text == "hello GET /x"
        server.url, server.secure = urls[0], trusting()
        assert server.get("/x").text == "hello GET /x"

    def test_a_reload_goes_on_redirecting(self, serve: Start, with_certificate: list[str]):
        server = redirecting(serve("contract:app", "-w", "1", *with_certificate, command=COMMAND))
        server.signal(signal.SIGHUP)
        server.read_until("Generation 2 has taken over")
        assert server.get("/", host="a.example").status == 308
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


class TestRefusals:
    def test_it_needs_https(self, serve: Start):
        server = serve("contract:app", "--redirect-bind", "127.0.0.1:0", wait=False)
        assert server.wait() == 2
        assert "redirect_bind is given (--redirect-bind) but certfile is not (default)" in server.text

    def test_it_does_not_speak_it_itself(self, serve: Start, with_certificate: list[str]):
        server = serve("contract:app", *with_certificate, "--redirect-bind", "https://127.0.0.1:0", wait=False)
        assert server.wait() == 2
        assert "redirect_bind: https://127.0.0.1:0 (--redirect-bind) is to speak https, but what comes" in server.text

    def test_an_address_in_use_is_told_with_its_origin(self, serve: Start, with_certificate: list[str]):
        server = serve("contract:app", "-w", "1", *with_certificate)
        where = f"127.0.0.1:{server.address[1]}"
        second = serve("contract:app", *with_certificate, "--redirect-bind", where, wait=False)
        assert second.wait() == 1
        assert f"cannot listen on {where} (--redirect-bind): another prefork-serve, " in second.text
        assert "or take the next free port with --redirect-bind 127.0.0.1:" in second.text
