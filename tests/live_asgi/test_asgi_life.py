"""How a worker of the class asgi comes and goes: lifespan, drain, quit, recycling, reloads, signs of life."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from live import LiveServer, eventually
from wire import Wire, request

Start = Callable[..., LiveServer]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """What the application's lifespan has heard."""
    return tmp_path / "notes"


class TestLifespan:
    def test_a_startup_that_takes_long_is_told_before_its_time_is_over(self, start: Start, tmp_path: Path):
        write(tmp_path / "changing.py", "right", lifespan='(await __import__("asyncio").sleep(60))')
        server = start("--boot-timeout", "6s", app="changing:app", cwd=tmp_path, wait=False)
        server.read_until("still waits for the application's startup \\(lifespan\\) after 5s; boot_timeout \\(6s\\)")
        assert server.wait() == 3

    def test_the_application_hears_of_the_start_and_the_end(self, start: Start, notes: Path):
        server = start(env={"LIFESPAN_NOTES": str(notes)})
        assert notes.read_text() == "startup\n"
        assert server.get("/").status == 200
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert notes.read_text() == "startup\nshutdown\n"

    def test_its_end_comes_after_the_last_answer(self, start: Start, notes: Path, tmp_path: Path):
        server = start(env={"LIFESPAN_NOTES": str(notes)})
        with Wire(server) as wire:
            wire.get(f"/afterwards?path={tmp_path}/go").reply()
            server.signal(signal.SIGTERM)
            server.read_until("Received SIGTERM")
            wire.rest()
            assert notes.read_text() == "startup\n"
            (tmp_path / "go").touch()
            assert server.wait() == 0
        assert (tmp_path / "go.done").exists()
        assert notes.read_text() == "startup\nshutdown\n"

    def test_an_application_without_a_lifespan_is_served(self, start: Start):
        assert start(app='asgi_pages:make("hello")').get("/").text == "hello"

    def test_unless_it_has_to_have_one(self, start: Start):
        server = start("--asgi-lifespan", "on", app='asgi_pages:make("hello")', wait=False)
        assert server.wait() == 4
        assert "the application failed at its startup (lifespan): AssertionError" in server.text

    def test_off_means_off(self, start: Start, notes: Path):
        server = start("--asgi-lifespan", "off", env={"LIFESPAN_NOTES": str(notes)})
        assert server.get("/").status == 200
        assert not notes.exists()

    def test_a_startup_that_is_said_to_have_failed_refuses_the_start(self, start: Start):
        server = start(wait=False, env={"LIFESPAN_FAILS": "startup says"})
        assert server.wait() == 4
        assert "the application failed at its startup (lifespan): ValueError: no database today" in server.text
        assert "Traceback ..." in server.text

    def test_one_that_hangs_is_given_up(self, start: Start):
        server = start("--boot-timeout", "2", wait=False, env={"LIFESPAN_FAILS": "startup hangs"})
        assert server.wait() != 0
        assert "boot_timeout" in server.text

    def test_a_shutdown_that_fails_is_told(self, start: Start):
        server = start(env={"LIFESPAN_FAILS": "shutdown"})
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "the application failed at its shutdown (lifespan): RuntimeError: no database today" in server.text


APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({LIFESPAN})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b"VERSION"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
COMPLETE = '{"type": "lifespan.startup.complete"}'
FAILED = '{"type": "lifespan.startup.failed", "message": "no database today"}'


def write(path: Path, version: str, lifespan: str = COMPLETE) -> None:
    path.write_text(APP.replace("VERSION", version).replace("{LIFESPAN}", lifespan))


class TestReload:
    def test_a_lifespan_that_fails_leaves_the_old_code_serving(self, start: Start, tmp_path: Path):
        write(tmp_path / "changing.py", "old")
        server = start(app="changing:app", cwd=tmp_path)
        write(tmp_path / "changing.py", "new", FAILED)
        server.signal(signal.SIGHUP)
        server.read_until("no database today")
        assert server.get("/").text == "old"
        write(tmp_path / "changing.py", "newest")
        server.signal(signal.SIGHUP)
        server.read_until("has taken over")
        eventually(lambda: server.get("/").text == "newest")

    def test_no_request_is_lost(self, start: Start, tmp_path: Path):
        server = start()
        with Wire(server) as idle, Wire(server) as busy:
            idle.get("/before").reply()
            busy.get(f"/gate?path={tmp_path}/go")
            server.get("/")
            server.signal(signal.SIGHUP)
            server.read_until("has taken over")
            (tmp_path / "go").touch()
            assert busy.reply().text == "through the gate"
            assert busy.rest() == b""
            assert idle.rest() == b""
        assert server.get("/").status == 200

    def test_what_is_broken_is_shown_in_development(self, start: Start, tmp_path: Path):
        write(tmp_path / "changing.py", "right")
        server = start("--profile", "development", app="changing:app", cwd=tmp_path)
        assert server.get("/").text == "right"
        (tmp_path / "changing.py").write_text("app = 1 / 0\n")
        server.read_until("The browser shows why")
        # The old workers may take a last request.
        eventually(lambda: "ZeroDivisionError" in server.get("/", accept="text/html").text)
        write(tmp_path / "changing.py", "mended")
        eventually(lambda: server.get("/").text == "mended")


def refuses(server: LiveServer) -> None:
    """Wait until the worker has begun to drain: then nobody listens any more."""

    def is_refused() -> bool:
        try:
            server.connect(5).close()
        except ConnectionRefusedError:
            return True
        return False

    eventually(is_refused, patience=10)


class TestDrain:
    def test_running_requests_are_finished_and_new_ones_refused(self, start: Start, tmp_path: Path):
        server = start()
        with Wire(server) as busy, Wire(server) as idle:
            idle.get().reply()
            busy.get(f"/gate?path={tmp_path}/go")
            server.get("/")
            server.signal(signal.SIGTERM)
            server.read_until("Received SIGTERM")
            assert idle.rest() == b""
            refuses(server)
            (tmp_path / "go").touch()
            assert busy.reply().text == "through the gate"
        assert server.wait() == 0

    def test_a_kept_connection_may_bring_one_more(self, start: Start, tmp_path: Path):
        server = start()
        with Wire(server) as busy, Wire(server) as kept:
            kept.get().reply()
            busy.get(f"/gate?path={tmp_path}/go")
            server.get("/")
            server.signal(signal.SIGTERM)
            refuses(server)
            reply = kept.get("/last").reply()
            assert (reply.text, reply.headers["connection"]) == ("hello GET /last", "close")
            (tmp_path / "go").touch()
            busy.reply()
        assert server.wait() == 0

    def test_who_does_not_finish_is_cancelled_and_the_application_hears_of_the_end(self, start: Start, notes: Path):
        server = start("--graceful-timeout", "2s", env={"LIFESPAN_NOTES": str(notes)})
        with Wire(server) as wire:
            wire.get("/nap/60")
            server.get("/")
            server.signal(signal.SIGTERM)
            assert wire.reply().status == 500
            assert server.wait(10) == 0
        server.read_until("Error in the application at GET /nap/60")
        server.read_until("CancelledError: its worker has to go: graceful_timeout is 2s")
        assert "killed" not in server.text
        assert notes.read_text() == "startup\nshutdown\n"

    def test_quit_ends_at_once(self, start: Start):
        server = start()
        with Wire(server) as wire:
            wire.get("/nap/60")
            server.get("/")
            server.signal(signal.SIGQUIT)
            server.wait(10)
            assert wire.rest() == b""

    def test_workers_end_when_the_arbiter_is_gone(self, start: Start):
        server = start()
        (worker,) = server.processes()
        server.signal(signal.SIGKILL)
        server.process.wait(10)
        eventually(lambda: not os.path.exists(f"/proc/{worker}"), patience=10)


class TestRecycling:
    def test_a_worker_is_replaced_after_its_requests(self, start: Start):
        server = start("--max-requests", "10")
        first = server.get("/pid").text
        seen = {server.get("/pid").text for _ in range(12)}
        eventually(lambda: server.get("/pid").text not in (first,))
        assert first in seen

    def test_code_that_holds_up_the_loop_is_killed(self, serve: Start, options: list[str], tmp_path: Path):
        (tmp_path / "stuck.py").write_text(
            "import time\n"
            "async def app(scope, receive, send):\n"
            "    assert scope['type'] == 'http'\n"
            "    time.sleep(60)\n"
        )
        server = serve("stuck:app", *options, "--timeout", "1.5", cwd=tmp_path)
        (worker,) = server.processes()
        with Wire(server) as wire:
            wire.get()
            assert wire.rest() == b""
        eventually(lambda: server.processes() not in ([], [worker]))

    def test_one_that_only_waits_is_not(self, start: Start):
        server = start("--timeout", "2")
        (worker,) = server.processes()
        assert server.get("/nap/4").text == "slept"
        assert server.processes() == [worker]


class TestRefusals:
    def test_a_wsgi_application_is_refused(self, start: Start):
        server = start(app="simple:app", wait=False)
        assert server.wait() == 4
        assert "simple:app is no ASGI 3 application" in server.text

    @pytest.mark.parametrize("worker_class", ["sync", "gthread"])
    def test_an_asgi_application_is_refused_elsewhere(self, serve: Start, worker_class: str):
        server = serve("asgi_pages:app", "-k", worker_class, wait=False)
        assert server.wait() == 4
        assert f"asgi_pages:app is an ASGI application, and worker_class {worker_class} calls WSGI" in server.text

    def test_it_has_no_threads(self, start: Start):
        server = start("--threads", "2", wait=False)
        assert server.wait() == 2
        assert (
            "worker_class asgi (--worker-class) has no threads, but threads is 2 (--threads): leave it at 1"
            in server.text
        )

    def test_a_missing_library_is_told_before_anything_starts(self, serve: Start, tmp_path: Path):
        # A finder in front of all others, as if the package were not installed.
        (tmp_path / "sitecustomize.py").write_text(
            "import importlib.util\nfound = importlib.util.find_spec\n"
            "importlib.util.find_spec = lambda name, *more: None if name == 'uvicorn' else found(name, *more)\n"
        )
        server = serve("asgi_pages:app", "-k", "asgi", wait=False, env={"PYTHONPATH": str(tmp_path)})
        assert server.wait() == 2
        assert 'needs uvicorn: pip install "prefork-serve[asgi]"' in server.text


def test_each_of_several_workers_serves(serve: Start):
    server = serve("asgi_pages:app", "-k", "asgi", "-w", "2")
    wires = [Wire(server).get("/pid") for _ in range(40)]
    pids = {wire.reply().text for wire in wires}
    for wire in wires:
        wire.close()
    assert pids == {str(pid) for pid in server.processes()}
    assert server.raw(request("/", "Connection: close")).startswith(b"HTTP/1.1 200 OK\r\n")
