"""What an import leaves behind is told, with the module that made it; of a clean one nothing is, nothing is patched."""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from live import eventually
from projects import FLASK, MANAGE_SERVE, copy_of, shop_with_goods

from server_core.gateway.leftovers import Leftovers

Import = Callable[..., ModuleType]


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    """``bring(source, library="")`` imports an application, and puts a library where libraries are installed.

    ``stop`` of the module, if there is one, is called in the end.
    """
    (tmp_path / "site-packages").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(tmp_path)
    modules: list[ModuleType] = []

    def make(source: str, library: str = "") -> ModuleType:
        (tmp_path / "mine.py").write_text(dedent(source))
        (tmp_path / "site-packages" / "bought.py").write_text(dedent(library))
        modules.append(importlib.import_module("mine"))
        return modules[0]

    yield make
    for module in modules:
        if hasattr(module, "stop"):
            module.stop()
    for name in ("mine", "bought"):
        sys.modules.pop(name, None)


THREAD = """
import threading

gate = threading.Event()

def begin(name):
    thread = threading.Thread(target=gate.wait, name=name)
    thread.start()
    return thread

def stop():
    gate.set()
    for thread in threads:
        thread.join()
"""


def test_nothing_is_told_of_a_clean_import(bring: Import) -> None:
    with Leftovers() as leftovers:
        bring("import json, socket\nsocket.create_server(('127.0.0.1', 0)).close()\nopen(__file__).close()\n")
    assert leftovers.words() == ""


def test_nothing_is_told_when_nothing_was_imported() -> None:
    assert Leftovers().words() == ""


def test_threads_are_told_with_their_names_and_their_module(bring: Import) -> None:
    with Leftovers() as leftovers:
        bring(THREAD + 'threads = [begin("sweeper"), begin("reaper")]\n')
    assert leftovers.words() == (
        "The application started threads while it was imported (sweeper, made by mine, reaper, made by mine); they do "
        "not exist in the workers, which are forked afterwards. Start them later, or set preload_app to false so that "
        "each worker imports the application for itself."
    )


def test_threads_that_have_ended_or_were_there_before_are_not_told(bring: Import) -> None:
    gate = threading.Event()
    before = threading.Thread(target=gate.wait)
    before.start()
    with Leftovers() as leftovers:
        bring("import threading\nthread = threading.Thread(target=int)\nthread.start()\nthread.join()\n")
    assert leftovers.words() == ""
    gate.set()
    before.join()


def test_a_library_is_told_with_the_module_that_called_it(bring: Import) -> None:
    with Leftovers() as leftovers:
        bring(
            "import bought\nthreads = [bought.begin('sweeper')]\nbought.threads = threads\nstop = bought.stop\n", THREAD
        )
    assert "(sweeper, made by bought for mine)" in leftovers.words()


def test_a_thread_of_the_standard_library_is_the_callers(bring: Import) -> None:
    source = """
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor(1, "pool")
    pool.submit(int).result()
    stop = pool.shutdown
    """
    with Leftovers() as leftovers:
        bring(source)
    assert "(pool_0, made by mine)" in leftovers.words()


def test_ten_are_enough(bring: Import) -> None:
    with Leftovers() as leftovers:
        bring(THREAD + 'threads = [begin(f"t{number}") for number in range(12)]\n')
    assert "t9, made by mine, and 2 more)" in leftovers.words()


def test_connections_are_told_with_their_peer_and_their_module(bring: Import) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with Leftovers() as leftovers:
            module: Any = bring(
                f"import socket\nsock = socket.create_connection(('127.0.0.1', {port}))\nstop = sock.close\n"
            )
        assert leftovers.words() == (
            f"The application left connections open while it was imported (descriptor {module.sock.fileno()}, a socket "
            f"to 127.0.0.1:{port}, made by mine); all workers would use the same ones at once. Open them later, close "
            "them, or set preload_app to false."
        )


@pytest.mark.parametrize("address", ["name", "\\0name"])
def test_a_unix_socket_is_told_with_its_path(bring: Import, tmp_path: Path, address: str) -> None:
    source = f"""
    import os, socket
    address = "{address}" + str(os.getpid()) if "{address}".startswith("\\0") else {str(tmp_path / "sock")!r}
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
    def stop():
        server.close()
        client.close()
    """
    with Leftovers() as leftovers:
        module: Any = bring(source)
    number = module.client.fileno()
    shown = re.escape(module.address)
    assert re.search(rf"descriptor {number}, a socket to {shown}, made by mine\)", leftovers.words())
    assert f"descriptor {module.server.fileno()}, a socket, made by mine" in leftovers.words(), "it listens"


def test_what_sends_datagrams_can_be_shared(bring: Import) -> None:
    source = """
    import logging.handlers, socket
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    handler = logging.handlers.SysLogHandler(server.getsockname())
    def stop():
        handler.close()
        server.close()
    """
    with Leftovers() as leftovers:
        bring(source)
    assert leftovers.words() == ""


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="there is epoll on Linux only")
def test_an_epoll_would_mix_up_the_workers(bring: Import) -> None:
    with Leftovers() as leftovers:
        module: Any = bring("import select\nepoll = select.epoll()\nstop = epoll.close\n")
    assert f"left connections open while it was imported (descriptor {module.epoll.fileno()}, an epoll)" in (
        leftovers.words()
    )


def test_an_event_loop_is_told(bring: Import) -> None:
    with Leftovers() as leftovers:
        bring("import asyncio\nloop = asyncio.new_event_loop()\nstop = loop.close\n")
    assert "a socket, made by mine" in leftovers.words()


def test_inheritable_descriptors_are_told_with_the_module_that_made_them_so(bring: Import, tmp_path: Path) -> None:
    source = """
    import os
    file = open(__file__)
    os.set_inheritable(file.fileno(), True)
    private = open(__file__)
    def stop():
        file.close()
        private.close()
    """
    with Leftovers() as leftovers:
        module: Any = bring(source)
    what = str(tmp_path / "mine.py") if sys.platform == "linux" else "a file"
    number = module.file.fileno()
    assert leftovers.words() == (
        f"The application left descriptors inheritable while it was imported (descriptor {number}, {what}, "
        "made by mine); every program that a worker starts will hold them open. See os.set_inheritable."
    )


def test_all_kinds_are_told_one_below_the_other(bring: Import) -> None:
    with Leftovers() as leftovers:
        bring(
            THREAD + "import os, socket\nthreads = [begin('t')]\nsock = socket.create_server(('127.0.0.1', 0))\n"
            "file = open(__file__)\nos.set_inheritable(file.fileno(), True)\n"
            "only_threads = stop\ndef stop():\n    only_threads()\n    sock.close()\n    file.close()\n"
        )
    lines = leftovers.words().splitlines()
    kinds = ["started threads", "left connections open", "left descriptors inheritable"]
    assert len(lines) == 3
    for line, kind in zip(lines, kinds, strict=True):
        assert line.startswith(f"The application {kind} while it was imported (")


def functions() -> tuple[object, ...]:
    return threading.Thread.start, socket.socket.__init__, os.set_inheritable


def test_nothing_is_left_patched(bring: Import) -> None:
    before = functions()
    with Leftovers():
        assert all(now is not then for now, then in zip(functions(), before, strict=True))
        bring("")
    assert functions() == before


def test_nothing_is_left_patched_when_the_import_fails(bring: Import) -> None:
    before = functions()
    with pytest.raises(ZeroDivisionError), Leftovers():
        bring("1 / 0")
    assert functions() == before


def test_what_the_application_puts_there_stays_and_ours_below_it_notes_nothing_more(
    bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in ((threading.Thread, "start"), (socket.socket, "__init__"), (os, "set_inheritable")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # to be put back in the end
    source = """
    import threading
    begin, started = threading.Thread.start, []
    def start(thread):
        started.append(thread)
        begin(thread)
    threading.Thread.start = start
    """
    with Leftovers() as leftovers:
        module: Any = bring(source)
    assert threading.Thread.start is module.start
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert module.started == [thread]
    assert leftovers._threads == {}, "every thread of a worker would be kept in memory for ever"


def test_a_class_that_the_application_replaces_is_put_right_too(bring: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, make = socket.socket, socket.socket.__init__
    monkeypatch.setattr(socket, "socket", plain)  # to be put back in the end
    with Leftovers() as leftovers:
        bring("import socket\nclass Mine(socket.socket):\n    pass\nsocket.socket = Mine\n")
    assert socket.socket is not plain
    assert plain.__init__ is make
    assert leftovers.words() == ""


# --- in a real server

LEAVING = """
import json, os, socket, threading
from concurrent.futures import ThreadPoolExecutor

server = socket.create_server(("127.0.0.1", 0))
thread = threading.Thread(target=threading.Event().wait, name="sweeper", daemon=True)
thread.start()
file = open(__file__)
os.set_inheritable(file.fileno(), True)

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    functions = [threading.Thread.start, socket.socket.__init__, os.set_inheritable]
    return [json.dumps([function.__module__ for function in functions]).encode()]
"""


def test_what_is_left_is_told_once_at_the_start_and_not_after_a_reload(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "leaving.py").write_text(LEAVING)
    server = serve("-w", "2", "leaving:app", cwd=tmp_path)
    told = server.text
    assert "[WARNING] The application started threads while it was imported (sweeper, made by leaving); they" in told
    assert re.search(r"left connections open .* \(descriptor \d+, a socket, made by leaving\); all workers", told)
    assert re.search(
        rf"inheritable .* \(descriptor \d+, {tmp_path}/leaving\.py, made by leaving\); every program", told
    )
    assert json.loads(server.get("/").body) == ["threading", "socket", "posix"], "nothing is left patched"
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    assert server.text.count("started threads") == 1


def test_nothing_is_shared_when_each_worker_imports_for_itself(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "leaving.py").write_text(LEAVING)
    server = serve("-w", "2", "--no-preload", "leaving:app", cwd=tmp_path)
    assert json.loads(server.get("/").body) == ["threading", "socket", "posix"]
    assert "while it was imported" not in server.text


FORGOTTEN = """
import socket

class Connection:
    def __init__(self):
        self.itself = self
        self.socket = socket.create_server(("127.0.0.1", 0))

Connection()

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


@pytest.mark.parametrize("how", ["--tune-gc", "--no-tune-gc"])
def test_what_nobody_can_use_any_more_is_not_told(tmp_path: Path, serve: Any, how: str) -> None:
    (tmp_path / "forgetful.py").write_text(FORGOTTEN)
    server = serve("-w", "1", how, "forgetful:app", cwd=tmp_path)
    assert "while it was imported" not in server.text


@pytest.mark.parametrize("debug", ["0", "1"])
def test_the_shop_leaves_nothing_behind(tmp_path: Path, serve: Any, debug: str) -> None:
    pytest.importorskip("django")
    shop = shop_with_goods(tmp_path)
    command = [*MANAGE_SERVE, "--bind", "127.0.0.1:0", "--no-reload"]
    server = serve(command=command, cwd=shop, env={"DJANGO_DEBUG": debug})
    assert "Fountain pen" in server.get("/").text
    assert "while it was imported" not in server.text


@pytest.mark.parametrize("debug", ["--no-debug", "--debug"])
def test_the_notes_leave_nothing_behind(tmp_path: Path, serve: Any, debug: str) -> None:
    pytest.importorskip("flask")
    notes = copy_of("flask_notes", tmp_path)
    command = [*FLASK, "--app", "notes", debug, "serve", "--bind", "127.0.0.1:0", "--no-reload"]
    server = serve(command=command, cwd=notes)
    assert server.get("/whoami").status == 200
    assert "while it was imported" not in server.text


#: as NumPy is in this respect: a generator of its own, which knows nothing of forks
NUMPY_RANDOM = """
import random
_generator = random.Random()
seed = _generator.seed
random_sample = _generator.random
"""

RANDOM = """
import json, os, random
import numpy.random

random.seed(1)
numpy.random.seed(1)

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([os.getpid(), random.random(), numpy.random.random_sample()]).encode()]
"""


@pytest.mark.parametrize("how", ["--preload", "--no-preload"])
def test_workers_draw_different_random_numbers_though_the_application_has_seeded(
    tmp_path: Path, serve: Any, how: str
) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("")
    (tmp_path / "numpy" / "random.py").write_text(NUMPY_RANDOM)
    (tmp_path / "drawing.py").write_text(RANDOM)
    server = serve("-w", "3", how, "drawing:app", cwd=tmp_path)
    first: dict[int, tuple[float, float]] = {}

    def all_have_drawn() -> bool:
        worker, *drawn = json.loads(server.get("/").body)
        first.setdefault(worker, tuple(drawn))
        return len(first) == 3

    eventually(all_have_drawn)
    assert len({python for python, _ in first.values()}) == 3
    assert len({numpy for _, numpy in first.values()}) == 3


def test_a_generator_that_cannot_be_seeded_is_left_alone(tmp_path: Path, serve: Any) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("")
    text = "def seed(*numbers):\n    if not numbers:\n        raise TypeError('can only re-seed a MT19937')\n"
    (tmp_path / "numpy" / "random.py").write_text(text + "random_sample = lambda: 1.0\n")
    (tmp_path / "drawing.py").write_text(RANDOM)
    assert serve("-w", "1", "drawing:app", cwd=tmp_path).get("/").status == 200
