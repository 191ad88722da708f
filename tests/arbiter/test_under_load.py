"""Clients that never stop asking, while the server reloads and ends: not one request fails."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack

import pytest
from live import LiveServer, eventually, receive_all
from scenes import BOTH, NO_BYTE_CODE, SYNC, Clients, ask, left_over, stop, title, write_app

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def reload_ten_times(server: LiveServer, clients: Clients, between: int) -> None:
    for generation in range(2, 12):
        server.signal(signal.SIGHUP)
        server.read_until(f"Generation {generation} has taken over", patience=60)
        clients.go_on(between)


@BOTH
@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_ten_reloads_under_load_and_not_one_request_fails(serve, kind, preload):
    server = serve("-w", "2", *kind, preload, "simple:app")
    with Clients(server) as clients:
        clients.reach(100)
        reload_ten_times(server, clients, between=40)
        clients.reach(700)
    clients.expect_no_failure()
    assert "ERROR" not in server.text
    assert "lost" not in server.text
    stop(server)


@BOTH
@pytest.mark.slow
def test_ten_reloads_under_heavy_load_and_not_one_request_fails(serve, kind):
    server = serve("-w", "2", *kind, "simple:app")
    with Clients(server, 16) as clients:
        clients.reach(2000)
        reload_ten_times(server, clients, between=2000)
        clients.reach(30_000)
    clients.expect_no_failure()
    assert "ERROR" not in server.text
    stop(server)


@pytest.mark.slow
def test_everything_that_may_happen_happens_under_load_and_not_one_request_fails(serve):
    """Reloads, more and fewer workers, dead forkservers, broken code that is never served."""
    server = serve("-w", "2", "simple:app")
    with Clients(server, 8) as clients:
        for _ in range(10):
            clients.go_on(300)
            server.signal(signal.SIGTTIN)
            server.signal(signal.SIGHUP)
            server.read_until(r"Generation \d+ has taken over", patience=60)
            clients.go_on(300)
            server.signal(signal.SIGTTOU)
            forkserver = server.processes("forkserver")[-1]
            os.kill(forkserver, signal.SIGKILL)
            server.read_until(r"The forkserver of generation \d+ was lost")
            server.read_until(r"Generation \d+ has taken over", patience=60)
    clients.expect_no_failure()
    stop(server)


@BOTH
def test_every_request_that_was_sent_before_term_is_answered(serve, gate, kind):
    """Some are running, some wait in buffers, some in the queue of connections that nobody has accepted yet."""
    server = serve("-w", "2", *kind, "gate:app", env=gate.env)
    with ExitStack() as stack:
        used = [stack.enter_context(server.connect()) for _ in range(30)]
        for client in used:
            client.sendall(REQUEST)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        running = []
        for _ in range(2 if kind == SYNC else 6):  # now nobody is free
            running.append(ask(server, "/gate"))
            gate.wait()
        queued = [stack.enter_context(server.connect()) for _ in range(30)]
        for client in (*used, *queued):
            client.sendall(REQUEST)
        server.signal(signal.SIGTERM)
        server.read_until("Received SIGTERM")
        gate.open()
        assert [answer.result().status for answer in running] == [200] * len(running)
        for client in (*used, *queued):
            assert receive_all(client).startswith(b"HTTP/1.1 200 OK"), server.text
    assert server.wait() == 0
    assert left_over(server) == []


def test_new_code_is_served_by_a_connection_that_is_kept_all_the_while(serve, tmp_path):
    """An old worker ends a kept connection after an answer, never before it."""
    write_app(tmp_path, "one")
    server = serve("-w", "1", "site_app:app", cwd=tmp_path, env=NO_BYTE_CODE)
    with server.connect() as client:
        client.sendall(REQUEST)
        assert client.recv(65536).endswith(b"one")
        write_app(tmp_path, "two")
        old = server.processes("worker")[0]
        server.signal(signal.SIGHUP)
        eventually(lambda: "draining" in title(old))
        client.sendall(REQUEST)
        answer = receive_all(client)
        assert b"Connection: close" in answer
        assert answer.endswith(b"one")
    assert server.get().text == "two"


def test_a_client_that_sends_slowly_is_waited_for_while_the_server_drains(serve):
    server = serve("-w", "1", "simple:app")
    with server.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
        eventually(lambda: server.get().status == 200)
        server.signal(signal.SIGTERM)
        server.read_until("Received SIGTERM")
        eventually(lambda: "draining" in title(server.processes("worker")[0]))
        client.sendall(b"there")
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client).endswith(b"hellothere")
    assert server.wait() == 0
