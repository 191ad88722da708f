"""Werkzeug's debugger under ``flask --debug serve`` with several workers: consoles, PIN, and what it must not show."""

from __future__ import annotations

import html
import http.client
import json
import os
import re
import select
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from urllib.parse import quote_plus, urlencode

import pytest
from live import PATIENCE, Answer, LiveServer, eventually
from projects import FLASK

pytest.importorskip("flask")

from werkzeug.debug import DebuggedApplication

from flask_serve.debugger import debugged
from server_core.config.bindings import parse_binding

PIN = "123-456-789"
APP = """
import os
import time
from flask import Flask, render_template_string, request

app = Flask(__name__)

@app.get("/")
def hello():
    return "hello"

@app.route("/fail")
def fail():
    mine = f"a value of {os.getpid()}"
    raise ValueError("on purpose")

@app.get("/slow")
def slow():
    time.sleep(0.3)
    raise ValueError("slowly")

@app.get("/template")
def template():
    return render_template_string("first line\\n{{ nothing.at.all }}", colour="green")

@app.get("/no-template")
def no_template():
    return render_template_string("first line\\n{% if %}")

@app.get("/stream/<int:blocks>")
def stream(blocks):
    def parts():
        for _ in range(blocks):
            yield b"part"
        raise ValueError("in the stream")
    return parts()

@app.get("/endless")
def endless():
    def parts():
        while True:
            yield b"part"
    response = app.response_class(parts())
    response.call_on_close(lambda: open("closed", "a").write("once"))
    return response

@app.get("/exit")
def leave():
    raise SystemExit(3)
"""
# sync, whose workers share new connections evenly: the tests have to meet all of them.
DEBUG_SERVE = [*FLASK, "--debug", "serve", "-b", "127.0.0.1:0", "-k", "sync", "--access-logfile", "-"]
LOG_FORMAT = ["--access-logformat", "pid=%(p)s %(r)s"]
WORKERS = 3
DRAINING = Lock()
LOST = "The worker that had this exception has ended"
REFUSED = "The debugger refuses this command"
needs_trusted_hosts = pytest.mark.skipif(
    not hasattr(DebuggedApplication, "check_host_trust"), reason="Werkzeug trusts every host before 3.0.3"
)


@contextmanager
def short_folder() -> Iterator[Path]:
    """For TMPDIR: the names of sockets must be short, and those of pytest's folders are not."""
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def temporary() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture
def debug(serve: Callable[..., LiveServer], tmp_path: Path, temporary: Path) -> Callable[..., LiveServer]:
    """``debug(*arguments, code=APP)`` starts ``flask --debug serve`` with three workers."""

    def start(*arguments: str, code: str = APP, **env: str) -> LiveServer:
        (tmp_path / "app.py").write_text(code)
        environ = {"WERKZEUG_DEBUG_PIN": PIN, "TMPDIR": str(temporary)} | env
        arguments = ("--workers", str(WORKERS), *LOG_FORMAT, *arguments)
        return serve(*arguments, command=DEBUG_SERVE, cwd=tmp_path, env=environ)

    return start


@pytest.fixture(scope="module")
def shared(serve_for_all: Callable[..., LiveServer]) -> Iterator[LiveServer]:
    """A server for all tests that do not hurt it."""
    with short_folder() as folder:
        (folder / "app.py").write_text(APP)
        environ = {"WERKZEUG_DEBUG_PIN": PIN, "TMPDIR": str(folder)}
        yield serve_for_all("--workers", str(WORKERS), *LOG_FORMAT, command=DEBUG_SERVE, cwd=folder, env=environ)


class Page:
    """What the script in the debugger's page knows and does; each request on a connection of its own."""

    def __init__(self, server: LiveServer, path: str = "/fail") -> None:
        self.server = server
        self.path = path
        drain(server)
        self.text = server.get(path).text
        found = re.search(r'SECRET = "(.*)"', self.text)
        assert found, self.text
        self.secret = found[1]
        self.consoles = "EVALEX = true" in self.text
        self.frames = [int(frame) for frame in re.findall(r'id="frame-(\d+)"', self.text)]
        self.cookie = ""

    @property
    def worker(self) -> int:
        """The process that showed it."""
        return int(self.secret.partition("-")[0])

    def path_of(self, cmd: str, **more: object) -> str:
        """Where a command is sent."""
        arguments = {"__debugger__": "yes", "cmd": cmd, "s": self.secret, **more}
        return f"{self.path}?{urlencode(arguments)}"

    def send(self, cmd: str, **more: object) -> Answer:
        drain(self.server)
        return self.server.get(self.path_of(cmd, **more), cookie=self.cookie)

    def enter(self, pin: str) -> dict[str, bool]:
        """Enter a PIN; what the page's script gets to know."""
        answer = self.send("pinauth", pin=pin)
        self.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        return json.loads(answer.text)

    def run(self, command: str, frame: int = -1) -> str:
        """Run a command in one of the frames, by default that of the view; its output as text."""
        number = self.frames[frame] if self.frames else 0
        answer = self.send(command, frm=number)
        assert answer.status == 200, answer.text
        echo, _, output = html.unescape(re.sub(r"<[^>]+>", "", answer.text)).partition("\n")
        assert echo == f">>> {command}"
        return output.strip()


def drain(server: LiveServer) -> None:
    """Read what it has written: tracebacks fill a pipe soon, and then it waits."""
    with DRAINING:
        assert server.text


def opened(server: LiveServer, path: str = "/fail") -> Page:
    """A page on which the right PIN has been entered."""
    page = Page(server, path)
    assert page.enter(PIN) == {"auth": True, "exhausted": False}
    return page


def pages_of_all_workers(server: LiveServer) -> list[Page]:
    """One page of each worker."""
    pages: dict[int, Page] = {}
    with ExitStack() as idle:

        def look() -> bool:
            page = Page(server)
            pages[page.worker] = page
            idle.enter_context(server.connect())  # who has one leaves the next to others
            return len(pages) == WORKERS

        eventually(look)
    return list(pages.values())


def until_all_have_taken(server: LiveServer, mark: str, check: Callable[[], None]) -> None:
    """Repeat a check until each worker has taken a request in whose line ``mark`` stands."""
    with ExitStack() as idle:

        def once() -> bool:
            check()
            idle.enter_context(server.connect())  # who has one leaves the next to others
            drain(server)
            lines = re.findall(r"^pid=<(\d+)> (.*)$", server.text, re.MULTILINE)
            return {int(pid) for pid, line in lines if mark in line} == set(server.processes())

        eventually(once)


def leave_a_trace(trace: Path) -> str:
    """A command whose run can be seen."""
    return f"open({str(trace)!r}, 'w').close()"


# --- consoles


def test_commands_run_in_the_worker_that_had_the_exception_whoever_is_asked(shared):
    pages = pages_of_all_workers(shared)
    assert {page.worker for page in pages} == set(shared.processes())
    for page in pages:
        page.enter(PIN)

        def check(page: Page = page) -> None:
            # Frames of several workers may have the same number: they come from the same fork.
            assert page.run("mine") == f"'a value of {page.worker}'"
            assert page.run(f"{page.worker} == os.getpid()") == "True"

        until_all_have_taken(shared, f"cmd={page.worker}+", check)


def test_what_a_command_leaves_behind_is_there_for_the_next(shared):
    page = opened(shared)
    page.run("counted = 0")
    times = iter(range(1, 10_000))

    def check() -> None:
        page.run("counted += 1")
        assert page.run("counted") == str(next(times))

    until_all_have_taken(shared, "cmd=counted&", check)
    until_all_have_taken(shared, "cmd=counted+", check)
    assert "NameError" in page.run("counted", frame=0), "another frame has names of its own"


def test_the_request_is_there_in_a_console(shared):
    page = opened(shared)

    def check() -> None:
        assert page.run("request.path") == "'/fail'"

    until_all_have_taken(shared, "request.path", check)


def test_the_console_outside_a_traceback_stays_in_its_worker(debug):
    server = debug()
    page = opened(server, "/console")
    page.run("import os; here = os.getpid()")

    def check() -> None:
        assert page.run("here, os.getpid(), app.name") == f"({page.worker}, {page.worker}, 'app')"

    until_all_have_taken(server, "app.name", check)


def test_a_console_has_the_variables_of_a_template(shared):
    page = opened(shared, "/template")
    assert "UndefinedError" in page.text
    assert "{{ nothing.at.all }}" in html.unescape(page.text)
    assert any("'green'" in page.run("colour", frame) for frame in range(len(page.frames)))
    assert "TemplateSyntaxError" in Page(shared, "/no-template").text


def test_exit_in_a_console_ends_the_command_and_no_worker(shared):
    page = opened(shared)
    before = shared.processes()

    def check() -> None:
        assert page.send("exit()", frm=page.frames[-1]).text == "The command ended with SystemExit."

    until_all_have_taken(shared, "cmd=exit", check)
    assert shared.processes() == before
    assert page.run("1 + 1") == "2"


def test_the_files_of_the_page_come_from_every_worker(shared):
    page = Page(shared)

    def check() -> None:
        assert "promptForPin" in shared.get("/fail?__debugger__=yes&cmd=resource&f=debugger.js").text
        assert page.send("resource", f="console.png").body.startswith(b"\x89PNG")

    until_all_have_taken(shared, "debugger.js", check)
    until_all_have_taken(shared, "console.png", check)


def test_the_frames_of_the_debugger_itself_are_not_shown(shared):
    assert "debugger.py" not in Page(shared).text


# --- who may


def test_nobody_runs_a_command_without_the_pin_whoever_is_asked(shared, tmp_path):
    trace = tmp_path / "trace"
    for page in pages_of_all_workers(shared):

        def check(page: Page = page) -> None:
            answer = page.send(leave_a_trace(trace), frm=page.frames[-1])
            assert (answer.status, REFUSED in answer.text) == (403, True)

        until_all_have_taken(shared, page.secret, check)
    assert not trace.exists()
    opened(shared).run(leave_a_trace(trace))
    assert trace.exists(), "it would have been seen"


def test_a_cookie_with_a_wrong_pin_opens_nothing(shared):
    page = opened(shared)
    page.cookie = page.cookie[:-3] + "xyz"

    def check() -> None:
        assert page.send("'xyz'", frm=page.frames[-1]).status == 403

    until_all_have_taken(shared, "xyz", check)


def test_nobody_runs_a_command_without_the_secret(shared, tmp_path):
    page = opened(shared)
    trace = tmp_path / "trace"
    right = page.secret
    another = "a" if right[-1] != "a" else "b"
    # Werkzeug lets the application answer what is no secret at all; it fails as before.
    for wrong, status in {
        right[:-1] + another: 410,
        f"{page.worker}-{20 * 'a'}": 410,
        right[:-1]: 500,
        "../" + right: 500,
        "": 500,
    }.items():
        page.secret = wrong

        def check(status: int = status) -> None:
            assert page.send(leave_a_trace(trace), frm=page.frames[-1]).status == status

        until_all_have_taken(shared, f"s={quote_plus(wrong)}&frm", check)
    assert not trace.exists()


def test_the_secret_of_one_worker_opens_no_frame_of_another(shared):
    one, other = pages_of_all_workers(shared)[:2]
    one.enter(PIN)
    assert one.send("1", frm=12345).status == 403
    for frame in set(other.frames) - set(one.frames):
        # The number may be that of a frame in another page of its own: forked processes are alike.
        answer = one.send("__import__('os').getpid()", frm=frame)
        assert answer.status == 403 or str(other.worker) not in answer.text


@needs_trusted_hosts
def test_a_strange_host_gets_no_console(shared):
    page = opened(shared)
    strange = shared.get("/fail", host="attacker.example")
    assert "EVALEX = false" in strange.text
    assert 'SECRET = ""' in strange.text
    arguments = urlencode({"__debugger__": "yes", "cmd": "'strange'", "s": page.secret, "frm": page.frames[-1]})

    def check() -> None:
        assert shared.get(f"/fail?{arguments}", host="attacker.example", cookie=page.cookie).status == 400

    until_all_have_taken(shared, "strange", check)
    assert shared.get("/console", host="attacker.example").status == 400


def has_console(server: LiveServer, host: str) -> bool:
    """Does the page have consoles, and their secret, for who asks with this host?"""
    text = server.get("/fail", host=host).text
    console = server.get("/console", host=host).status
    assert ("EVALEX = true" in text, console) in ((True, 200), (False, 400))
    return "EVALEX = true" in text


@needs_trusted_hosts
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_the_host_that_the_server_is_bound_to_gets_a_console(debug):
    server = debug("--bind", "127.0.0.2:0")
    port = server.address[1]
    for host in ("127.0.0.2", f"127.0.0.2:{port}", "localhost", "127.0.0.1"):
        assert has_console(server, host), host
    for host in ("127.0.0.3", f"127.0.0.3:{port}", "attacker.example", "127.0.0.2.attacker.example", "127.0.0.2:x"):
        assert not has_console(server, host), host


@needs_trusted_hosts
def test_all_addresses_of_the_machine_are_no_host(debug):
    server = debug("--bind", "0.0.0.0:0")
    for host in ("0.0.0.0", "127.0.0.2"):
        assert not has_console(server, host), host
    assert has_console(server, "127.0.0.1")


@needs_trusted_hosts
def test_hosts_are_compared_as_browsers_write_them():
    bindings = map(
        parse_binding, ["[FE80:0::1]:80", "Shop.example:80", "[::]:80", ":80", "unix:/a", "fd://3", "10.1.2.3:1"]
    )
    debugger = debugged(lambda environ, start_response: [], bindings)
    for host in ("[fe80::1]", "[fe80::1]:8000", "shop.example", "SHOP.example:1", "10.1.2.3", "a.localhost"):
        assert debugger.check_host_trust({"HTTP_HOST": host}), host
    for host in ("", "[::]", "::", "fe80::1", "a.shop.example", "10.1.2.3.4", ":80", "[fe80::1]x", "/a"):
        assert not debugger.check_host_trust({"HTTP_HOST": host}), host
    assert not debugger.check_host_trust({})
    debugger._failed_tries._file.close()  # a server keeps it to its end


def test_wrong_pins_are_counted_over_all_workers(debug):
    threads = 8
    server = debug("-k", "gthread", "--threads", str(threads))
    with ThreadPoolExecutor(WORKERS * threads) as pool:
        found: dict[int, Page] = {}

        def look() -> bool:
            found.update((page.worker, page) for page in pool.map(lambda _: Page(server, "/slow"), range(24)))
            return len(found) == WORKERS

        eventually(look)
        pages = list(found.values())

        def enter_wrong_ones(each: int) -> None:
            answers = pool.map(lambda page: page.enter("000-000-000"), pages * each)
            assert not any(answer["auth"] for answer in answers)

        for _ in range(2):  # the right one sets the count back
            enter_wrong_ones(2)
            opened(server)
        enter_wrong_ones(4)
    for page in pages:  # they have seen eight each, and four since the right one
        assert page.enter(PIN) == {"auth": False, "exhausted": True}


def test_the_pin_is_told_once_and_is_the_same_in_all_workers(debug):
    server = debug(WERKZEUG_DEBUG_PIN="")
    pages = pages_of_all_workers(server)
    pin = server.read_until(r"^The PIN of the debugger: ([0-9-]+)$")[1]
    for page in pages:
        assert page.enter(pin)["auth"]
    cookie = pages[0].cookie
    for page in pages:
        page.cookie = cookie
        assert page.run("os.getpid()") == str(page.worker)
    assert server.text.count("The PIN of the debugger") == 1


def test_a_pin_that_is_switched_off_is_told_as_a_danger(debug):
    server = debug(WERKZEUG_DEBUG_PIN="off")
    for page in pages_of_all_workers(server):
        assert page.run("os.getpid()") == str(page.worker)
    assert server.text.count("The debugger asks for no PIN (WERKZEUG_DEBUG_PIN is off)") == 1


def test_the_sockets_are_for_nobody_else_and_are_taken_away(debug, temporary):
    server = debug()
    pages = pages_of_all_workers(server)
    (folder,) = temporary.glob("prefork-serve-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {page.secret for page in pages}
    os.kill(pages[0].worker, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pages[0].worker}").exists())  # the others take its socket away
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert list(temporary.iterdir()) == []


# --- workers that are gone


def test_a_worker_that_was_killed_is_told_in_a_sentence(debug):
    server = debug()
    page = opened(server)
    os.kill(page.worker, signal.SIGKILL)
    eventually(lambda: page.worker not in server.processes() and len(server.processes()) == WORKERS)

    def check() -> None:
        answer = page.send("'lost'", frm=page.frames[-1])
        assert (answer.status, answer.text.startswith(LOST), answer.text.count("\n")) == (410, True, 0)

    until_all_have_taken(server, "lost", check)


def test_a_worker_that_dies_while_it_runs_a_command_is_told_in_a_sentence(debug):
    server = debug()
    page = opened(server)
    through = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    os.kill(page.worker, signal.SIGSTOP)  # so that another one takes the connection, on which the command follows
    with ExitStack() as others, server.connect() as through.sock:
        through.request("GET", "/")
        while not select.select([through.sock], [], [], 1)[0]:
            others.enter_context(server.connect())  # the system has told the stopped one, and tells another of this
        assert through.getresponse().read() == b"hello"
        os.kill(page.worker, signal.SIGCONT)
        through.request("GET", page.path_of("os._exit(1)", frm=page.frames[-1]), headers={"Cookie": page.cookie})
        assert through.getresponse().read().decode().startswith(LOST)


def test_a_process_that_the_application_has_forked_does_not_hide_the_end_of_its_worker(debug):
    server = debug()
    page = opened(server)
    child = int(page.run("child = os.fork() or time.sleep(100); child"))
    try:
        os.kill(page.worker, signal.SIGKILL)
        eventually(lambda: page.worker not in server.processes())
        assert page.send("1 + 1", frm=page.frames[-1]).text.startswith(LOST)
    finally:
        os.kill(child, signal.SIGKILL)


def test_after_a_reload_the_old_page_says_so_and_a_new_one_works(debug, temporary):
    server = debug()
    page = opened(server)
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    eventually(lambda: len(server.processes()) == WORKERS and page.worker not in server.processes())
    assert page.send("1 + 1", frm=page.frames[-1]).text.startswith(LOST)
    assert list(temporary.glob("prefork-serve-*")) == []
    assert opened(server).run("1 + 1") == "2"


# --- what is answered, and what is logged


def test_a_traceback_is_in_the_log_once(debug):
    server = debug()
    assert server.get("/fail?mark=1").status == 500
    head = server.get("/fail?mark=2", method="HEAD")
    assert (head.status, head.body) == (500, b"")
    server.read_until(r"pid=.* HEAD /fail\?mark=2")
    assert server.text.count("ValueError: on purpose") == 2
    assert server.text.count("Error in the application at GET /fail?mark=1\nTraceback (most recent") == 1
    assert server.text.count("Error in the application at HEAD /fail?mark=2\nTraceback (most recent") == 1


def test_a_stream_that_fails_in_the_middle_is_cut_and_logged_once(debug):
    server = debug()
    with pytest.raises(http.client.IncompleteRead):
        server.get("/stream/2")
    server.read_until("GET /stream/2 HTTP")
    assert server.text.count("ValueError: in the stream") == 1


def test_a_stream_that_fails_before_its_first_block_becomes_a_page(debug):
    server = debug()
    page = opened(server, "/stream/0")
    assert page.run("blocks") == "0"
    assert server.text.count("ValueError: in the stream") == 1


def test_an_answer_is_closed_once_when_its_client_leaves(debug, tmp_path):
    server = debug()
    with server.connect() as sock:
        sock.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(4096)
    server.read_until("GET /endless")  # the access log has the last word
    assert (tmp_path / "closed").read_text() == "once"


def test_system_exit_in_a_view_ends_the_request_and_no_worker(shared):
    before = shared.processes()
    answer = shared.get("/exit")
    assert (answer.status, "SECRET" in answer.text) == (500, False)
    assert shared.processes() == before


# --- where there is none


def test_in_production_there_is_no_debugger(serve, tmp_path):
    (tmp_path / "app.py").write_text(APP)
    server = serve(command=[*FLASK, "serve", "--bind", "127.0.0.1:0"], cwd=tmp_path, env={"WERKZEUG_DEBUG_PIN": "off"})
    answer = server.get("/fail")
    assert answer.status == 500
    assert "SECRET" not in answer.text
    assert "Traceback" not in answer.text
    assert server.get("/console").status == 404
    assert server.get("/?__debugger__=yes&cmd=resource&f=debugger.js").text == "hello"


def test_workers_that_import_the_application_themselves_show_no_consoles(debug):
    server = debug("--no-preload")
    page = Page(server)
    assert "on purpose" in page.text
    assert (page.consoles, page.secret) == (False, "")
    assert server.get("/console").status == 404
    server.read_until("The debugger shows tracebacks without consoles, .*: switch preload_app on.")
    assert PIN not in server.text


def test_a_directory_whose_name_is_too_long_is_told(debug, temporary):
    long = temporary / (100 * "d")
    long.mkdir()
    server = debug(TMPDIR=str(long))
    assert not Page(server).consoles
    server.read_until(
        f"The debugger shows tracebacks without consoles: cannot listen in {long}/prefork-serve-.*too long"
    )
    assert PIN not in server.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the directory of another user")
def test_a_directory_that_somebody_else_has_made_is_not_used(debug, temporary):
    server = debug("--workers", "1")
    page = opened(server)
    os.kill(page.worker, signal.SIGKILL)
    (folder,) = temporary.glob("prefork-serve-*")
    shutil.rmtree(folder)
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    assert page.send("1 + 1", frm=page.frames[-1]).text.startswith(LOST)
    assert not Page(server).consoles
    server.read_until(f"without consoles: cannot listen in {folder}: it belongs to another user")
    assert list(folder.iterdir()) == []


def test_an_application_that_brings_its_own_debugger_keeps_it(debug):
    own = "from werkzeug.debug import DebuggedApplication\napp.wsgi_app = DebuggedApplication(app.wsgi_app, True)\n"
    server = debug("--workers", "1", code=APP + own)
    page = opened(server)
    assert "-" not in page.secret
    assert page.run("mine").startswith("'a value of")
