"""A start that is cut short: by Ctrl-C, which finds processes without a handler, or because the import hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from live import LiveServer, eventually
from projects import FLASK, MANAGE_SERVE, copy_of, run

#: moments of a start, in seconds; the last one is when it serves, more or less
MOMENTS = [step / 20 for step in range(14)]

HELLO = """
from flask import Flask

app = Flask(__name__)
"""

SLOW = """
import pathlib, time

pathlib.Path("importing").touch()
time.sleep(60)
"""

# What a program finds in its own mask when the application starts it, at its import and in a request.
MASKS = """
import subprocess

def mask():
    return subprocess.run(["grep", "SigBlk", "/proc/self/status"], stdout=subprocess.PIPE, text=True).stdout

AT_IMPORT = mask()

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{AT_IMPORT}\\n{mask()}".encode()]
"""


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")


def nobody_is_left(session: int) -> bool:
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(session) and fields[0] != "Z":
            return False
    return True


def interrupt(server: LiveServer) -> int:
    """Ctrl-C; the exit status, when all processes have gone without a traceback."""
    os.killpg(server.pid, signal.SIGINT)
    status = server.wait()
    eventually(lambda: nobody_is_left(server.pid))
    assert "Traceback" not in server.text
    return status


@pytest.mark.parametrize("moment", MOMENTS)
def test_whenever_it_comes_all_end_without_a_traceback(serve: Callable[..., LiveServer], tmp_path: Path, moment: float):
    """From the moment when the front door has handed over: what was before is Flask's and click's own."""
    pytest.importorskip("flask")
    (tmp_path / "app.py").write_text(HELLO)
    command = [*FLASK, "--debug", "serve", "--bind", "127.0.0.1:0"]
    server = serve(command=command, cwd=tmp_path, wait=False)
    eventually(lambda: "server_core.launch" in command_of(server.pid))
    time.sleep(moment)  # no event tells of these moments: any of them will do
    assert interrupt(server) in (0, 130)


def test_while_flask_serve_asks_the_application_nobody_is_left_importing_it(serve, tmp_path):
    pytest.importorskip("flask")
    (tmp_path / "app.py").write_text(SLOW)
    server = serve(command=[*FLASK, "serve"], cwd=tmp_path, wait=False)
    eventually(lambda: (tmp_path / "importing").exists())
    server.signal(signal.SIGINT)  # to the front door alone
    assert server.wait() == 1
    assert server.text.strip() == "Aborted!"
    eventually(lambda: nobody_is_left(server.pid))


def test_while_python_m_django_serve_imports_the_settings_it_ends_at_once(serve, tmp_path):
    pytest.importorskip("django")
    (tmp_path / "slow_settings.py").write_text(SLOW)
    command = [sys.executable, "-m", "django_serve"]
    server = serve(command=command, cwd=tmp_path, env={"DJANGO_SETTINGS_MODULE": "slow_settings"}, wait=False)
    eventually(lambda: (tmp_path / "importing").exists())
    assert interrupt(server) == 130
    assert server.text == ""


def test_no_process_and_no_program_of_the_application_is_left_deaf(serve, tmp_path):
    pytest.importorskip("flask")
    (tmp_path / "app.py").write_text(HELLO)
    (tmp_path / "masks.py").write_text(MASKS)
    command = [*FLASK, "--debug", "serve", "--bind", "127.0.0.1:0"]
    server = serve(command=command, cwd=tmp_path, env={"SERVE_WSGI_APP": "masks:app"})
    assert set(server.get().text.split()) == {"SigBlk:", "0" * 16}
    for role in ("arbiter", "forkserver", "worker", "watcher"):
        (pid,) = server.processes(role)
        assert f"SigBlk:\t{0:016x}\n" in Path(f"/proc/{pid}/status").read_text()


# --- an import that hangs is given up by the front door, too: nobody else knows of it yet


def hung(serve: Callable[..., LiveServer], folder: Path, command: list[str], **env: str) -> LiveServer:
    server = serve(command=command, cwd=folder, env=env, wait=False)
    assert server.wait() == 3
    assert "Error: the application was still being imported after 0.5s (boot_timeout)\n" in server.text
    assert "Stack (most recent call last):\n" in server.text
    assert server.text.endswith("in <module>\n    time.sleep(60)\n")
    eventually(lambda: nobody_is_left(server.pid))
    return server


@pytest.mark.parametrize("debug", ["--debug", "--no-debug"])
def test_flask_serve_ends_after_boot_timeout_and_says_where_the_import_hangs(serve, tmp_path, debug):
    pytest.importorskip("flask")
    (tmp_path / "app.py").write_text(SLOW)
    hung(serve, tmp_path, [*FLASK, "serve", debug, "--boot-timeout", "500ms"])


@pytest.mark.parametrize("said", ["on the command line", "in the environment", "in a file"])
def test_python_m_django_serve_ends_after_boot_timeout_and_says_where_the_import_hangs(serve, tmp_path, said):
    pytest.importorskip("django")
    (tmp_path / "slow_settings.py").write_text(SLOW)
    (tmp_path / "serve.toml").write_text('boot_timeout = "500ms"\n')
    options = {"on the command line": ["--boot-timeout", "500ms"], "in a file": ["-c", "serve.toml"]}.get(said, [])
    env = {"SERVE_BOOT_TIMEOUT": "500ms"} if said == "in the environment" else {}
    command = [sys.executable, "-m", "django_serve", "--bind", "127.0.0.1:0", *options]
    hung(serve, tmp_path, command, DJANGO_SETTINGS_MODULE="slow_settings", **env)


def test_manage_py_serve_ends_when_the_models_of_an_app_hang(serve, tmp_path):
    pytest.importorskip("django")
    project = copy_of("django_shop", tmp_path)
    models = next(project.glob("*/models.py"))
    models.write_text("import time\n\ntime.sleep(60)\n")
    hung(serve, project, [*MANAGE_SERVE, "--boot-timeout=500ms"])


def test_the_limit_ends_with_the_import(serve, tmp_path):
    """A timer that is set stays set in the program that takes this one's place."""
    pytest.importorskip("django")
    project = copy_of("django_shop", tmp_path)
    command = [sys.executable, "-m", "django_serve", "--bind", "127.0.0.1:0", "--boot-timeout", "5s"]
    server = serve(command=command, cwd=project)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(5)


def test_another_command_of_that_name_is_left_alone(tmp_path):
    pytest.importorskip("django")
    project = copy_of("django_shop", tmp_path)
    settings = project / "shop_site" / "settings.py"
    settings.write_text(settings.read_text() + '\nINSTALLED_APPS.insert(0, "theirs")\n')
    commands = project / "theirs" / "management" / "commands"
    commands.mkdir(parents=True)
    for folder in (commands, commands.parent, commands.parent.parent):
        (folder / "__init__.py").touch()
    (commands / "serve.py").write_text(
        "import signal\n"
        "from django.core.management.base import BaseCommand\n\n"
        "class Command(BaseCommand):\n"
        "    def handle(self, **options):\n"
        "        print(signal.getitimer(signal.ITIMER_REAL))\n"
    )
    assert run([sys.executable, "manage.py", "serve"], project) == (0, "(0.0, 0.0)\n")
