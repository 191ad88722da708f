"""Pages that each worker asks its application for before it serves, and what becomes of those that fail."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from live import LiveServer, eventually

WSGI = """
import os

ASKED = []

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if environ["HTTP_USER_AGENT"].startswith("prefork-serve"):
        ASKED.append(f"{os.getpid()} {environ['HTTP_HOST']} {environ['SCRIPT_NAME']}{path}?{environ['QUERY_STRING']}")
    if path == "/raises":
        raise ValueError("on purpose")
    start_response("STATUS" if path == "/health" else "200 OK", [("Content-Type", "text/plain")])
    return ["\\n".join(ASKED).encode()]
"""
ASGI = """
import os

ASKED = []

async def app(scope, receive, send):
    assert scope["type"] == "http"
    headers = dict(scope["headers"])
    if headers[b"user-agent"].startswith(b"prefork-serve"):
        host, query = headers[b"host"].decode(), scope["query_string"].decode()
        ASKED.append(f"{os.getpid()} {host} {scope['path']}?{query}")
    if scope["path"].endswith("/raises"):
        raise ValueError("on purpose")
    status = int("STATUS"[:3]) if scope["path"].endswith("/health") else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": "\\n".join(ASKED).encode()})
"""
Start = Callable[..., LiveServer]


@pytest.fixture(params=["sync", "gthread", "gevent", "asgi"])
def start(request: pytest.FixtureRequest, serve: Start, tmp_path: Path) -> Start:
    """``start(*arguments, status)``: a server whose page /health is answered with ``status``."""

    def write(status: str) -> None:
        (tmp_path / "warm.py").write_text((ASGI if request.param == "asgi" else WSGI).replace("STATUS", status))

    def start(*arguments: str, status: str = "200 OK", **more: object) -> LiveServer:
        write(status)
        server = serve("-k", request.param, "-w", "1", *arguments, "warm:app", cwd=tmp_path, **more)
        server.rewrite = write  # type: ignore[attr-defined]
        return server

    return start


def asked(server: LiveServer) -> list[str]:
    return server.get("/", user_agent="x").text.split("\n")


def test_each_worker_has_asked_before_it_serves(start: Start):
    server = start("--warmup", "/health,/caf%C3%A9?a=b", "--access-logfile", "-")
    (worker,) = server.processes()
    (first, second) = asked(server)
    assert first == f"{worker} 127.0.0.1 /health?"
    assert second.startswith(f"{worker} 127.0.0.1 /caf")
    assert second.endswith("?a=b")
    server.read_until('"GET / HTTP/1.1" 200')
    assert "/health" not in server.text


def test_it_is_asked_as_a_host_that_is_allowed_and_below_its_mount(start: Start):
    hosts = ("--allowed-host", ".a.example", "--allowed-host", "b.example")
    server = start("--warmup", "/shop/health", "--script-name", "/shop", *hosts)
    (worker,) = server.processes()
    assert server.get("/shop/", user_agent="x", host="b.example").text == f"{worker} b.example /shop/health?"


def test_a_page_of_the_servers_fault_refuses_the_start(start: Start):
    server = start("--warmup", "/health", status="503 Not yet", wait=False)
    assert server.wait() == 4
    assert "warm-up: GET /health was answered 503" in server.text
    assert "Traceback" not in server.text


def test_one_of_the_clients_fault_does_not(start: Start):
    assert start("--warmup", "/health", status="404 Not Found").get("/", user_agent="x").status == 200


def test_an_exception_is_told_with_its_traceback(start: Start):
    server = start("--warmup", "/raises", wait=False)
    assert server.wait() == 4
    assert "warm-up: GET /raises raised ValueError: on purpose (warmup)" in server.text
    assert server.text.count("Traceback") == 1


def test_after_a_reload_that_fails_so_the_old_workers_serve_on(start: Start):
    server = start("--warmup", "/health")
    before = server.processes()
    server.rewrite("500 Broken")  # type: ignore[attr-defined]
    server.signal(signal.SIGHUP)
    server.read_until("The application was not reloaded, .*: warm-up: GET /health was answered 500")
    assert asked(server)[0].startswith(f"{before[0]} ")
    server.rewrite("200 OK")  # type: ignore[attr-defined]
    server.signal(signal.SIGHUP)
    server.read_until("has taken over")
    eventually(lambda: server.processes() not in ([], before))


def test_a_page_that_hangs_meets_the_boot_timeout(serve: Start, tmp_path: Path):
    (tmp_path / "warm.py").write_text("import time\ndef app(environ, start_response):\n    time.sleep(60)\n")
    server = serve("--warmup", "/", "--boot-timeout", "2s", "warm:app", cwd=tmp_path, wait=False)
    server.read_until(r"it was not ready after 2s \(boot_timeout\)")
    assert server.wait() == 3


def test_tornado_is_told_that_it_cannot_be_asked(serve: Start):
    server = serve("-k", "tornado", "--warmup", "/", "tornado_pages:app", wait=False)
    assert server.wait() == 4
    assert "warmup: an application of tornado cannot be asked before it serves" in server.text
