"""How a worker of the class tornado comes and goes: drain, quit, recycling, reloads, signs of life, refusals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from live import WORKER_CLASSES, LiveServer, eventually
from wire import Wire, request

Start = Callable[..., LiveServer]
Drains = Callable[[LiveServer], None]


APP = """
import asyncio
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.web import Application, RequestHandler
ticks = []
class Hello(RequestHandler):
    def get(self):
        self.write("VERSION")
class Ticks(RequestHandler):
    async def get(self):
        await asyncio.sleep(0.3)
        self.write(str(len(ticks)))
app = Application([("/", Hello), ("/ticks", Ticks)])
"""


def write(path: Path, version: str) -> None:
    path.write_text(APP.replace("VERSION", version))


class TestReload:
    def test_the_new_code_serves_and_no_request_is_lost(self, start: Start, tmp_path: Path):
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

    def test_tornados_own_debugging_does_not_disturb_it(self, start: Start):
        server = start("--profile", "development", app="tornado_pages:make(debug=True)")
        assert "this page always fails" in server.get("/fail").text  # serve_traceback
        assert server.get("/").status == 200


class TestTheLoop:
    @pytest.mark.parametrize(("options", "ticks"), [([], False), (["--no-preload"], True)])
    def test_what_is_started_at_import_runs_where_it_was_imported(
        self, start: Start, tmp_path: Path, options: list[str], ticks: bool
    ):
        write(tmp_path / "ticking.py", "")
        with (tmp_path / "ticking.py").open("a") as file:
            file.write("PeriodicCallback(lambda: ticks.append(1), 20).start()\n")
        server = start(*options, app="ticking:app", cwd=tmp_path)
        assert (int(server.get("/ticks").text) > 3) is ticks


class TestDrain:
    def test_running_requests_are_finished_and_new_ones_refused(self, start: Start, drains: Drains, tmp_path: Path):
        server = start()
        with Wire(server) as busy, Wire(server) as idle:
            idle.get().reply()
            busy.get(f"/gate?path={tmp_path}/go")
            server.get("/")
            server.signal(signal.SIGTERM)
            drains(server)
            assert idle.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                server.connect(5)
            (tmp_path / "go").touch()
            assert busy.reply().text == "through the gate"
        assert server.wait() == 0

    def test_a_long_poll_is_answered_by_who_comes_last(self, start: Start, drains: Drains):
        server = start()
        with Wire(server) as waiting, Wire(server) as kept:
            waiting.get("/news")
            eventually(lambda: server.get("/waiting").text == "1")
            kept.get().reply()
            server.signal(signal.SIGTERM)
            drains(server)
            assert kept.get("/tell/goodbye").reply().headers["connection"] == "close"
            assert waiting.reply().text == "goodbye"
        assert server.wait() == 0

    def test_who_does_not_finish_is_ended(self, start: Start):
        server = start("--graceful-timeout", "0.5")
        with Wire(server) as wire:
            wire.get("/nap/60")
            server.get("/")
            server.signal(signal.SIGTERM)
            server.wait(10)

    def test_what_goes_on_after_its_answer_is_waited_for(self, start: Start, tmp_path: Path):
        server = start()
        assert server.get(f"/afterwards?path={tmp_path}/go").text == "more is done"
        server.signal(signal.SIGTERM)
        server.read_until("Received SIGTERM")
        with pytest.raises(AssertionError):
            server.read_until("Stopped", patience=1.5)
        (tmp_path / "go").touch()
        assert server.wait() == 0
        assert (tmp_path / "go.done").exists()

    def test_whoever_answers_a_client_that_is_gone_is_not_waited_for(self, start: Start):
        server = start("--access-logfile", "-", "--access-logformat", "LOG %(U)s")
        wire = Wire(server).get("/nap/60")
        server.get("/")
        wire.reset()
        server.read_until("LOG /nap/60")
        server.signal(signal.SIGTERM)
        assert server.wait(15) == 0
        assert "Error" not in server.text

    def test_what_waits_for_nobody_is_cancelled(self, start: Start, tmp_path: Path):
        (tmp_path / "forever.py").write_text(
            "import asyncio\n"
            "from pathlib import Path\n"
            "from tornado.web import Application, RequestHandler\n"
            "tasks = []\n"
            "async def work():\n"
            "    try:\n"
            "        await asyncio.sleep(3600)\n"
            "    finally:\n"
            "        Path('farewell').touch()\n"
            "class Begin(RequestHandler):\n"
            "    def get(self):\n"
            "        tasks.append(asyncio.ensure_future(work()))\n"
            "app = Application([('/', Begin)])\n"
        )
        server = start(app="forever:app", cwd=tmp_path)
        assert server.get("/").status == 200
        server.signal(signal.SIGTERM)
        assert server.wait(15) == 0
        assert (tmp_path / "farewell").exists()
        assert "Error" not in server.text

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
        for _ in range(9):
            server.get("/pid")
        eventually(lambda: server.get("/pid").text != first)

    def test_code_that_holds_up_the_loop_is_killed(self, start: Start, tmp_path: Path):
        (tmp_path / "stuck.py").write_text(
            "import time\n"
            "from tornado.web import Application, RequestHandler\n"
            "class Stuck(RequestHandler):\n"
            "    def get(self):\n"
            "        time.sleep(60)\n"
            "app = Application([('/', Stuck)])\n"
        )
        server = start("--timeout", "1.5", app="stuck:app", cwd=tmp_path)
        (worker,) = server.processes()
        with Wire(server) as wire:
            wire.get()
            assert wire.rest() == b""
        eventually(lambda: server.processes() not in ([], [worker]))


class TestRefusals:
    @pytest.mark.parametrize("worker_class", [name for name in WORKER_CLASSES if name != "tornado"])
    def test_its_application_is_refused_elsewhere(self, serve: Start, worker_class: str):
        server = serve("tornado_pages:app", "-k", worker_class, wait=False)
        assert server.wait() == 4
        kind = "ASGI" if worker_class == "asgi" else "WSGI"
        assert (
            f"tornado_pages:app is an application of tornado, and worker_class {worker_class} calls {kind} "
            "applications: choose worker_class tornado."
        ) in server.text

    @pytest.mark.parametrize("worker_class", ["tornado", "sync", "asgi"])
    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            (
                "Home",
                'a request handler of tornado, and no application: write app = tornado.web.Application([(r"/", Home)])',
            ),
            ("Site", "a class of tornado's applications, and no application: write app = Site(...)"),
        ],
    )
    def test_a_class_is_no_application(self, serve: Start, tmp_path: Path, name: str, sentence: str, worker_class: str):
        (tmp_path / "main.py").write_text(
            "from tornado.web import Application, RequestHandler\n"
            "class Home(RequestHandler): ...\n"
            "class Site(Application): ...\n"
        )
        server = serve(f"main:{name}", "-k", worker_class, cwd=tmp_path, wait=False)
        assert server.wait() == 4
        assert f"Error: main:{name} is {sentence} beside it, and name that" in server.text
        assert "Traceback" not in server.text

    def test_an_asgi_application_is_refused_here(self, start: Start):
        server = start(app="asgi_pages:app", wait=False)
        assert server.wait() == 4
        assert "asgi_pages:app is an ASGI application" in server.text
        assert "choose worker_class asgi." in server.text

    def test_files_beside_it_are_refused(self, start: Start, tmp_path: Path):
        server = start("--static-mount", f"/static/={tmp_path}", wait=False)
        assert server.wait() == 4
        assert "static_mounts: no files are served beside an application of tornado" in server.text

    def test_a_missing_library_is_told_before_anything_starts(self, serve: Start, tmp_path: Path):
        # A finder in front of all others, as if the package were not installed.
        (tmp_path / "sitecustomize.py").write_text(
            "import importlib.util\nfound = importlib.util.find_spec\n"
            "importlib.util.find_spec = lambda name, *more: None if name == 'tornado' else found(name, *more)\n"
        )
        server = serve("simple:app", "-k", "tornado", wait=False, env={"PYTHONPATH": str(tmp_path)})
        assert server.wait() == 2
        assert 'needs tornado: pip install "prefork-serve[tornado]"' in server.text


class TestWSGI:
    def test_it_runs_once_at_a_time_unless_there_are_threads(self, start: Start, tmp_path: Path):
        (tmp_path / "told.py").write_text(
            "def app(environ, start_response):\n"
            "    start_response('200 OK', [])\n"
            "    return [str(environ['wsgi.multithread']).encode()]\n"
        )
        assert start(app="told:app", cwd=tmp_path).get("/").text == "False"
        assert start("--threads", "2", app="told:app", cwd=tmp_path).get("/").text == "True"


def test_each_of_several_workers_serves(serve: Start):
    server = serve("tornado_pages:app", "-k", "tornado", "-w", "2")
    wires = [Wire(server).get("/pid") for _ in range(40)]
    pids = {wire.reply().text for wire in wires}
    for wire in wires:
        wire.close()
    assert pids == {str(pid) for pid in server.processes()}
    assert server.raw(request("/", "Connection: close")).startswith(b"HTTP/1.1 200 OK\r\n")
