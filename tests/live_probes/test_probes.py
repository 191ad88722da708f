"""What every worker class answers at the paths of health_path, without the application."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from live import LiveServer, eventually
from spin import Spin
from wire import Wire, request

Start = Callable[..., LiveServer]


def test_live_and_ready_are_answered_in_words_that_nobody_keeps(server: LiveServer):
    for path, text in (("/-/live", "live\n"), ("/-/ready", "ready\n"), ("/-/ready?verbose", "ready\n")):
        answer = server.get(path)
        assert (answer.status, answer.text) == (200, text)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"].startswith("text/plain")


def test_head_says_the_same_without_the_words(server: LiveServer):
    answer = server.get("/-/ready", method="HEAD")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "6", b"")


@pytest.mark.parametrize(("method", "path"), [("POST", "/-/ready"), ("GET", "/-/ready/"), ("GET", "/-/"), ("GET", "/")])
def test_anything_else_is_the_applications(server: LiveServer, method: str, path: str):
    assert server.get(path, method=method).text == f"hello {path}"


def test_a_probe_and_a_request_share_a_connection_in_any_order(server: LiveServer):
    targets = ["/a", "/-/live", "/-/live", "/b", "/-/ready", "/b"]
    expected = ["hello /a", "live\n", "live\n", "hello /b", "ready\n", "hello /b"]
    with Wire(server) as wire:
        assert [wire.get(target).reply().text for target in targets] == expected
    with Wire(server) as wire:
        wire.send(b"".join(map(request, targets)))
        assert [wire.reply().text for _ in targets] == expected


def test_a_probe_ends_its_connection_when_asked_to_or_when_its_client_speaks_http_1_0(server: LiveServer):
    for probe in (request("/-/live", "Connection: close"), b"GET /-/live HTTP/1.0\r\n\r\n"):
        with Wire(server) as wire:
            reply = wire.send(probe).reply()
            assert (reply.text, reply.headers["connection"]) == ("live\n", "close")
            assert wire.rest() == b""


def test_a_probe_may_have_a_body(server: LiveServer):
    with Wire(server) as wire:
        wire.send(request("/-/live", "Content-Length: 2", body=b"ok") + request("/next"))
        assert [wire.reply().text, wire.reply().text] == ["live\n", "hello /next"]


def test_what_is_no_http_is_refused_at_these_paths_too(server: LiveServer):
    assert server.raw(b"GET /-/live HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")


class TestHosts:
    HEAD = b"%b %b HTTP/1.1\r\nHost: 10.1.2.3:8000\r\n\r\n"

    def test_a_probe_may_name_any_host_and_nobody_else_may(self, start: Start):
        server = start("--check-hosts", "--allowed-host", "shop.example")
        for path, method in ((b"/-/live", b"GET"), (b"/-/ready", b"HEAD")):
            with Wire(server) as wire:
                assert wire.send(self.HEAD % (method, path)).reply(method.decode()).status == 200
        for path, method in ((b"/", b"GET"), (b"/-/live", b"POST"), (b"/-/live/", b"GET")):
            with Wire(server) as wire:
                assert wire.send(self.HEAD % (method, path)).reply().status == 400

    def test_nobody_slips_in_behind_a_probe_with_the_same_head(self, start: Start):
        server = start("--check-hosts", "--allowed-host", "shop.example")
        with Wire(server) as wire:
            for _ in range(2):
                assert wire.send(self.HEAD % (b"GET", b"/-/live")).reply().status == 200
            assert wire.send(self.HEAD % (b"GET", b"/-/lives")).reply().status == 400


def test_probes_are_not_in_the_access_log_and_count_for_no_limit(start: Start):
    server = start("--access-logfile", "-", "--access-logformat", "logged %(U)s", "--max-requests", "2")
    for _ in range(3):
        assert server.get("/-/live").status == 200
    for path in ("/one", "/two"):
        assert server.get(path).status == 200
    words = ["logged /one", "logged /two", "has answered 2 requests (max_requests)"]
    eventually(lambda: all(each in server.text for each in words))
    assert "/-/live" not in server.text


def test_the_paths_begin_at_the_root_whatever_the_application_is_mounted_on(start: Start):
    server = start("--script-name", "/shop")
    assert server.get("/-/ready").text == "ready\n"
    assert "hello" in server.get("/shop/-/ready").text


def test_ready_says_no_until_all_workers_have_come_up(serve: Start, command: list[str], tmp_path: Path):
    """By a unix socket, because nobody says the number of the port before."""
    go = tmp_path / "go"
    more = ["--workers", "2", "--no-preload", "--no-checks", "-b", f"unix:{tmp_path}/door"]
    server = serve(*command, *more, env={"WAIT_FOR": str(go)}, wait=False)
    server.url = f"unix:{tmp_path}/door"
    eventually(lambda: (tmp_path / "door").exists() and len(server.processes()) == 2)
    answer = server.get("/-/ready")
    assert (answer.status, answer.text) == (503, "not ready: starting: not all workers have come up yet\n")
    assert server.get("/-/live").status == 200
    go.touch()
    server.wait_until_serving()
    server.url = f"unix:{tmp_path}/door"
    assert server.get("/-/ready").status == 200


def test_ready_stays_true_during_a_reload(start: Start):
    server = start()
    server.signal(signal.SIGHUP)
    seen = set()

    def has_taken_over() -> bool:
        seen.add(server.get("/-/ready").status)
        return "has taken over" in server.text

    eventually(has_taken_over)
    assert seen == {200}


def sockets_of(pid: int) -> int:
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(os.readlink(link))
    return sum(link.startswith("socket:") for link in links)


def test_a_server_that_ends_says_so_on_connections_that_are_still_there(start: Start, spin: Spin, at_once: int):
    server = start()
    with Wire(server) as wire:
        assert wire.get("/-/ready").reply().status == 200
        spin.begin(server, 1)
        before = sockets_of(server.pid)
        server.signal(signal.SIGTERM)
        eventually(lambda: sockets_of(server.pid) < before)  # the arbiter listens no more
        wire.get("/-/ready")
        spin.end()
        reply = wire.reply()
        assert (reply.status, reply.text) == (503, "not ready: draining: the server has been told to end\n")
    assert server.wait() == 0


def test_a_probe_that_found_nobody_free_for_long_says_so_and_the_next_one_is_ready(
    server: LiveServer, spin: Spin, at_once: int
):
    spin.begin(server, at_once)
    with Wire(server) as ready, Wire(server) as live:
        ready.get("/-/ready")
        live.get("/-/live")
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 2.2)
        spin.end()
        reply = ready.reply()
        assert reply.status == 503
        assert reply.text.startswith("not ready: busy: no worker was free for 2.")
        assert live.reply().status == 200
    assert server.get("/-/ready").status == 200


def test_another_worker_that_is_free_answers_at_once(start: Start, spin: Spin, at_once: int):
    server = start("--workers", "2")
    spin.begin(server, at_once)
    for _ in range(10):
        assert server.get("/-/ready").status == 200
    spin.end()


@pytest.mark.parametrize("paths", ["/-/ready", "/a,/b,/c", "/same,/same"])
def test_live_and_ready_are_two_questions(serve: Start, paths: str):
    server = serve("probed:wsgi", "--health-path", paths, wait=False)
    assert server.wait() == 2
    assert f"health_path is {paths} (--health-path) but takes two different paths" in server.text
