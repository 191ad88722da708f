"""What greenlets promise beyond the contract of all worker classes: who waits keeps nobody else from going on."""

from __future__ import annotations

import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from certificates import Authority
from live import LiveServer, eventually
from tls_client import trusting

CLASSES = ("gevent", "eventlet")
MANY = 5000


@pytest.fixture(scope="module", params=CLASSES)
def name(request: pytest.FixtureRequest) -> str:
    """Of the worker class."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(name: str) -> Iterator[LiveServer]:
    server = LiveServer("green:app", "-w", "1", "-k", name)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


def all_at_once(server: LiveServer, paths: list[str]) -> tuple[list[str], float]:
    """The answers, and for how many seconds they let us wait."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(paths)) as pool:
        answers = [answer.body.decode() for answer in pool.map(server.get, paths)]
    return answers, time.monotonic() - began


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_the_application_finds_everything_replaced_when_it_is_imported(
    serve: Callable[..., LiveServer], name: str, preload: str
):
    server = serve("green:app", "-w", "2", "-k", name, preload)
    assert server.get().body.decode().startswith({"gevent": "gevent.", "eventlet": "eventlet."}[name])


def test_what_the_import_starts_runs_in_a_worker_that_imports_for_itself(serve: Callable[..., LiveServer], name: str):
    server = serve("green:app", "-w", "2", "-k", name, "--no-preload")
    eventually(lambda: int(server.get("/background").body) > 3)


def test_requests_that_sleep_do_so_together(server: LiveServer):
    answers, seconds = all_at_once(server, ["/sleep/0.5"] * 40)
    assert answers == ["slept"] * 40
    assert seconds < 5


def test_a_request_may_ask_its_own_server(server: LiveServer):
    assert server.get(f"/ask?{server.url}/sleep/0").body == b"slept"


def test_requests_to_other_servers_wait_together(server: LiveServer, serve: Callable[..., LiveServer]):
    other = serve("green:app", "-w", "1", "-k", "gthread", "--threads", "20")
    answers, seconds = all_at_once(server, [f"/ask?{other.url}/sleep/0.5"] * 20)
    assert answers == ["slept"] * 20
    assert seconds < 5


def test_threads_of_the_application_are_greenlets(server: LiveServer):
    answers, seconds = all_at_once(server, [f"/ask-in-threads?{server.url}/sleep/0.5"] * 5)
    assert answers == ["sleptsleptsleptslept"] * 5
    assert seconds < 5


def test_processes_of_the_application_are_waited_for_together(server: LiveServer):
    answers, seconds = all_at_once(server, ["/run/0.5"] * 10)
    assert answers == ["ran\n"] * 10
    assert seconds < 4


def test_what_is_local_to_a_thread_is_local_to_a_request_under_way(server: LiveServer):
    names = [f"/local/{number}" for number in range(10)]
    assert all_at_once(server, names)[0] == [str(number) for number in range(10)]


def test_what_the_application_began_on_import_goes_on_in_the_worker_or_is_told(server: LiveServer, name: str):
    if name == "gevent":
        before = int(server.get("/background").body)
        eventually(lambda: int(server.get("/background").body) > before)
        assert "while it was imported" not in server.text
    else:
        assert server.get("/background").body == b"0"
        assert "The application started threads while it was imported" in server.text


def test_others_go_on_between_requests_that_compute(server: LiveServer):
    """One that sleeps is woken although a client always has more to compute."""
    with ThreadPoolExecutor(8) as pool:
        computed = [pool.submit(server.get, "/compute/0.05") for _ in range(40)]
        began = time.monotonic()
        assert server.get("/sleep/0.1").body == b"slept"
        assert time.monotonic() - began < 1.5
        assert all(one.result().body == b"computed" for one in computed)


def test_five_thousand_requests_sleep_in_one_worker(server: LiveServer):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY + 100:
        pytest.skip(f"a process may have {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY + 100), hard))
    clients = [socket.create_connection(server.address) for _ in range(MANY)]
    try:
        began = time.monotonic()
        selector = selectors.DefaultSelector()
        for client in clients:
            client.sendall(b"GET /sleep/1 HTTP/1.1\r\nHost: a\r\n\r\n")
            selector.register(client, selectors.EVENT_READ)
        answered = 0
        while answered < MANY:
            ready = selector.select(30)
            assert ready, f"{answered} answers, and no more for 30 s"
            for key, _ in ready:
                assert key.fileobj.recv(4096).endswith(b"slept")  # type: ignore[union-attr]
                answered += 1
        # One after the other, or in a pool of hundreds, they would take far longer.
        assert time.monotonic() - began < 10
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_request_that_lets_nobody_else_go_on_is_told_and_ended(serve: Callable[..., LiveServer], name: str):
    server = serve("green:app", "-w", "1", "-k", name, "--timeout", "1")
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(server.get, "/compute/30")
        server.read_until("shown no sign of life for 1s")
        server.read_until(r"green\.py.* in app")
        assert isinstance(hung.exception(), OSError)
    assert server.get("/sleep/0").body == b"slept"


def test_a_request_that_waits_longer_than_the_timeout_harms_nobody(serve: Callable[..., LiveServer], name: str):
    server = serve("green:app", "-w", "1", "-k", name, "--timeout", "2")
    (worker,) = server.processes()
    assert server.get("/sleep/4").body == b"slept"
    assert server.processes() == [worker]


def test_where_tls_is_spoken_there_is_nothing_to_warn_of(serve: Callable[..., LiveServer], name: str, tmp_path: Path):
    authority = Authority(tmp_path)
    certfile, keyfile = authority.make("server")
    server = serve("green:app", "-w", "1", "-k", name, "--certfile", str(certfile), "--keyfile", str(keyfile))
    server.secure = trusting(str(authority.path))
    assert server.get("/sleep/0.1").body == b"slept"
    assert "Warning" not in server.text


def test_a_missing_library_is_told_before_anything_starts(serve: Callable[..., LiveServer], name: str):
    pretend = f"import sys; sys.modules[{name!r}] = None; from server_core.cli import main; main()"
    server = serve("green:app", "-k", name, command=[sys.executable, "-c", pretend], wait=False)
    assert server.wait() == 2
    assert server.text == (
        f'Error: worker_class {name} (--worker-class) needs {name}: pip install "prefork-serve[{name}]".\n'
    )


def test_a_driver_that_would_wait_in_c_is_told_how_to_wait(serve: Callable[..., LiveServer]):
    server = serve("green_driver:app", "-w", "1", "-k", "gevent")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, "/wait")
        eventually(lambda: server.get("/go").body == b"gone")
        assert waiting.result().body == b"!"


@pytest.mark.parametrize("left", ["leave-timeout", "leave-kill"])
def test_what_a_request_leaves_behind_for_its_greenlet_ends_neither_others_nor_the_drain(
    serve: Callable[..., LiveServer], name: str, left: str
):
    server = serve("green:app", "-w", "1", "-k", name)
    with server.connect() as slow:
        slow.sendall(b"GET /sleep/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        server.get()  # so the slow one has begun, in a greenlet of its own
        assert server.get(f"/{left}/0.2").body == b"left"
        assert slow.recv(1000).endswith(b"slept")
    server.signal(signal.SIGTERM)
    assert server.wait(10) == 0
    assert "was lost" not in server.text
    assert "was leaving" not in server.text
    assert ("whose request was over, and ignored: " in server.text) == (left == "leave-timeout")


def test_the_banner_does_not_speak_of_one_thread(serve: Callable[..., LiveServer], name: str):
    server = serve("green:app", "-w", "2", "-k", name)
    assert f"2 workers with many requests at once in each, worker class {name}, generation 1" in server.text


def test_a_greenlet_that_exits_ends_no_worker(serve: Callable[..., LiveServer]):
    server = serve("green:app", "-w", "1", "-k", "gevent")
    (worker,) = server.processes()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.get, "/sleep/1")
        server.get("/spawn-exit")
        assert running.result().body == b"slept"
    server.read_until("A greenlet of the application wanted to end the worker")
    assert server.processes() == [worker]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
