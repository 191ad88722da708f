"""What applications, clients and machines do that nobody would expect harms one request at most."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable

import pytest
from live import LiveServer, receive_all

CLASSES = (("-k", "sync"), ("-k", "gthread", "--threads", "4"))
Serve = Callable[..., LiveServer]


@pytest.fixture(params=CLASSES, ids=lambda kind: kind[1])
def server(request: pytest.FixtureRequest, serve: Serve) -> LiveServer:
    return serve("-w", "1", *request.param, "awkward:app")


def test_head_of_an_endless_answer_ends(server: LiveServer):
    for _ in range(5):
        head = b"HEAD /endless HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert server.raw(head).startswith(b"HTTP/1.1 200 OK")
    assert server.get("/").status == 200


def test_an_application_that_empties_its_environ_and_fails_harms_nobody_else(server: LiveServer):
    (worker,) = server.processes()
    assert server.get("/spoil").status == 500
    assert server.get("/").status == 200
    assert server.processes() == [worker]


def test_headers_of_one_answer_never_appear_in_another(server: LiveServer):
    assert server.get("/iterator").headers["x-user"] == "alice"
    bare = server.get("/bare")
    assert "x-user" not in bare.headers
    assert bare.text == "yo"


def test_a_request_that_comes_while_its_connection_is_busy_is_answered(serve: Serve):
    server = serve("-w", "1", "-k", "gthread", "--threads", "4", "awkward:app")
    for _ in range(40):  # slow on average: every thread waits for events itself
        server.get("/nap/0.005")
    request = b"GET /nap/0.1 HTTP/1.1\r\nHost: a\r\n\r\n"
    with server.connect(10) as client:
        client.sendall(request + request)
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):  # the first is being answered
            client.recv(1)
        client.settimeout(10)
        client.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert receive_all(client).count(b"HTTP/1.1 200 OK") == 3


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind[1])
@pytest.mark.parametrize("size", [300_100, 310_100, 400_000, 2_000_000])
def test_an_upload_for_which_there_is_no_room_is_refused_and_the_worker_lives(serve: Serve, kind, size: int):
    server = serve("-w", "1", *kind, "--body-buffer-size", "256KB", "awkward:app", preexec=_small_files)
    (worker,) = server.processes()
    answer = server.raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert server.get("/").text == "0"
    assert server.processes() == [worker]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind[1])
def test_an_answer_for_which_no_file_has_room_arrives_whole_and_others_are_served(serve: Serve, kind):
    server = serve("-w", "1", *kind, "--response-buffer-size", "64KB", "awkward:app", preexec=_tiny_files)
    (worker,) = server.processes()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(server.address)
        client.sendall(b"GET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server.get("/")  # by now the application waits for its client, or has been waited for
        assert len(receive_all(client).partition(b"\r\n\r\n")[2]) == 9_100_000
    assert server.processes() == [worker]


def _tiny_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
