"""``flask serve`` on small applications and on the Flask example: how it finds them, its settings, its reload."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from live import eventually
from projects import FLASK, copy_of, edit, run

pytest.importorskip("flask")

SERVE = [*FLASK, "serve", "--bind", "127.0.0.1:0"]
DEBUG_SERVE = [*FLASK, "--debug", "serve", "--bind", "127.0.0.1:0"]
RIGHT = "The settings are right and the application can be imported.\n"
needs_dotenv = pytest.mark.skipif(not importlib.util.find_spec("dotenv"), reason="python-dotenv is not installed")

HELLO = """
from flask import Flask

app = Flask(__name__)

@app.get("/")
def hello():
    return "hello"
"""

FACTORY = """
from flask import Flask

def create_app(greeting="hello", times=1):
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: greeting * times)
    return app
"""


def write(folder: Path, text: str = "", name: str = "app.py", code: str = HELLO) -> Path:
    """A project in ``folder``: ``code`` with ``text`` at its end."""
    (folder / name).write_text(code + text)
    return folder


def flask(folder: Path, *arguments: str, **env: str) -> tuple[int, str]:
    return run([*FLASK, *arguments], folder, **env)


def config(folder: Path, *arguments: str, **env: str) -> dict[str, tuple[str, str]]:
    """What ``flask serve --show-config`` shows: value and origin by name."""
    status, text = flask(folder, "serve", *arguments, "--show-config", **env)
    assert status == 0, text
    return {name: (value, origin) for name, value, origin in (line.split(maxsplit=2) for line in text.splitlines())}


# --- what the application says of the server


def test_the_largest_body_of_the_application_is_that_of_the_server(tmp_path):
    write(tmp_path, "app.config['MAX_CONTENT_LENGTH'] = 2000")
    assert config(tmp_path)["limit_request_body"] == ("2000", 'app.config["MAX_CONTENT_LENGTH"]')
    write(tmp_path, "app.config['MAX_CONTENT_LENGTH'] = 2000\napp.config['SERVE'] = {'limit_request_body': '1MB'}")
    assert config(tmp_path)["limit_request_body"] == ("1MB", 'app.config["SERVE"]["limit_request_body"]')
    assert config(tmp_path, "--limit-request-body", "3KB")["limit_request_body"][0] == "3KB"
    write(tmp_path, "app.config['MAX_CONTENT_LENGTH'] = None")
    assert config(tmp_path)["limit_request_body"] == ("1GB", "default")


# --- finding the application


@pytest.mark.parametrize("name", ["app.py", "wsgi.py"])
def test_an_app_py_or_wsgi_py_is_found(tmp_path, name):
    assert flask(write(tmp_path, name=name), "serve", "--check-config") == (0, RIGHT)


def test_a_wsgi_py_goes_before_an_app_py(tmp_path):
    write(tmp_path, 'app.config["SERVE_WORKERS"] = 5', name="app.py")
    write(tmp_path, 'app.config["SERVE_WORKERS"] = 6', name="wsgi.py")
    assert config(tmp_path)["workers"][0] == "6"


def test_the_option_app_names_a_factory_with_arguments(tmp_path, serve):
    write(tmp_path, name="site_of_mine.py", code=FACTORY)
    command = [*FLASK, "--app", 'site_of_mine:create_app("good", times=2)', "serve", "--bind", "127.0.0.1:0"]
    assert serve(command=command, cwd=tmp_path).get("/").text == "goodgood"


def test_the_option_app_names_a_file_in_another_folder(tmp_path, serve):
    (tmp_path / "code").mkdir()
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "code", "import neighbour\n", name="mine.py")
    (tmp_path / "code" / "neighbour.py").write_text("")
    server = serve(
        "--bind", "127.0.0.1:0", command=[*FLASK, "--app", "../code/mine.py", "serve"], cwd=tmp_path / "elsewhere"
    )
    assert server.get("/").text == "hello"


def test_the_variable_flask_app_names_the_application(tmp_path):
    write(tmp_path, name="site_of_mine.py", code=FACTORY)
    assert flask(tmp_path, "serve", "--check-config", FLASK_APP="site_of_mine") == (0, RIGHT)


@needs_dotenv
def test_flaskenv_names_the_application_and_env_sets_the_server(tmp_path):
    write(tmp_path, name="site_of_mine.py", code=FACTORY)
    (tmp_path / ".flaskenv").write_text("FLASK_APP=site_of_mine\nFLASK_SERVE_THREADS=3\n")
    (tmp_path / ".env").write_text("SERVE_WORKERS=4\n")
    settings = config(tmp_path)
    assert settings["threads"] == ("3", "FLASK_SERVE_THREADS")
    assert settings["workers"] == ("4", "SERVE_WORKERS")


def test_a_command_of_ones_own_brings_its_factory(tmp_path, serve):
    write(tmp_path, name="factory.py", code=FACTORY)
    (tmp_path / "cli.py").write_text(
        "from flask.cli import FlaskGroup\nfrom factory import create_app\nFlaskGroup(create_app=create_app)()\n"
    )
    server = serve("--bind", "127.0.0.1:0", command=[sys.executable, "cli.py", "serve"], cwd=tmp_path)
    assert server.get("/").text == "hello"


def test_a_factory_that_no_other_process_can_find_is_refused(tmp_path):
    write(tmp_path, "from flask.cli import FlaskGroup\nFlaskGroup(create_app=create_app)()\n", "cli.py", FACTORY)
    status, text = run([sys.executable, "cli.py", "serve"], tmp_path)
    assert status == 2
    assert text.startswith("Error: the factory __main__:create_app of this command can be found by no other process")
    assert text.count("\n") == 1


# --- settings


def test_the_command_line_wins_over_the_environment_the_file_the_framework_and_the_default(tmp_path):
    write(
        tmp_path,
        'app.config["SERVE_WORKERS"] = 2\n'
        'app.config["SERVE_PROC_NAME"] = "mine"\n'
        'app.config["SERVE"] = {"threads": 2, "timeout": "10s", "keepalive": "10s", "backlog": 10}\n',
    )
    (tmp_path / "pyproject.toml").write_text(
        '[tool.prefork-serve]\nworkers = 3\nthreads = 3\ntimeout = "11s"\nkeepalive = "11s"\n'
    )
    environ = {
        "SERVE_WORKERS": "4",
        "FLASK_SERVE_WORKERS": "5",
        "SERVE_THREADS": "4",
        "FLASK_SERVE_THREADS": "5",
        "SERVE_TIMEOUT": "12s",
    }
    settings = config(tmp_path, "--workers", "6", **environ)
    assert settings["workers"] == ("6", "--workers")
    assert settings["threads"] == ("5", "FLASK_SERVE_THREADS")
    assert settings["timeout"] == ("12s", "SERVE_TIMEOUT")
    assert settings["keepalive"] == ("11s", "keepalive in pyproject.toml")
    assert settings["backlog"] == ("10", 'app.config["SERVE"]["backlog"]')
    assert settings["proc_name"] == ("mine", 'app.config["SERVE_PROC_NAME"]')
    assert settings["head_timeout"] == ("10s", "default")


def test_the_dict_wins_over_a_single_key_of_the_configuration(tmp_path):
    write(tmp_path, 'app.config.update(SERVE_WORKERS=2, SERVE={"workers": 3})')
    assert config(tmp_path)["workers"] == ("3", 'app.config["SERVE"]["workers"]')


def test_variables_that_the_application_reads_into_its_configuration_stay_variables(tmp_path):
    write(tmp_path, "app.config.from_prefixed_env()")
    (tmp_path / "serve.toml").write_text("threads = 4\n")
    settings = config(tmp_path, FLASK_SERVE_WORKERS="3", FLASK_SERVE_CONFIG="serve.toml")
    assert settings["workers"] == ("3", "FLASK_SERVE_WORKERS")
    assert settings["threads"] == ("4", "threads in serve.toml")


def test_a_path_may_be_a_path_object(tmp_path):
    write(tmp_path, 'import pathlib\napp.config["SERVE"] = {"pidfile": pathlib.Path("/run/mine.pid")}')
    assert config(tmp_path)["pidfile"] == ("/run/mine.pid", 'app.config["SERVE"]["pidfile"]')


def test_debug_switches_reload_on_and_says_so(tmp_path):
    settings = config(write(tmp_path), FLASK_DEBUG="1")
    assert settings["profile"] == ("development", "Flask's debug mode")
    assert settings["reload"] == ("true", "profile development (Flask's debug mode)")
    assert config(tmp_path, "--no-reload", FLASK_DEBUG="1")["reload"] == ("false", "--no-reload")
    assert config(tmp_path)["reload"] == ("false", "default")


def test_debug_mode_can_be_set_as_for_flask_run(tmp_path):
    write(tmp_path)
    assert config(tmp_path, "--debug")["profile"] == ("development", "Flask's debug mode")
    assert config(tmp_path, "--no-debug", FLASK_DEBUG="1")["profile"][0] == "production"
    assert config(tmp_path, FLASK_SERVE_DEBUG="1")["profile"][0] == "development"
    status, text = flask(tmp_path, "--debug", "serve", "--no-debug", "--show-config")
    assert status == 0
    assert re.search(r"^profile +production", text, re.MULTILINE)


def test_debug_mode_reaches_a_factory_and_the_workers(tmp_path, serve):
    code = """
from flask import Flask
from flask.helpers import get_debug_flag

def create_app():
    app = Flask(__name__)
    seen = get_debug_flag()
    app.add_url_rule("/", view_func=lambda: f"{seen} {app.debug}")
    return app
"""
    write(tmp_path, code=code)
    server = serve(command=[*FLASK, "serve", "--debug", "--bind", "127.0.0.1:0"], cwd=tmp_path)
    assert server.get("/").text == "True True"


def test_the_help_lists_every_chapter(tmp_path):
    status, text = flask(tmp_path, "serve", "--help")
    assert status == 0
    for chapter in ("Application", "Sockets", "Workers", "Timeouts", "Limits", "Proxy", "Process", "Logs"):
        assert f"\n{chapter}:\n" in text


@pytest.mark.parametrize("code", ["", "1 / 0\n"])
def test_the_address_of_flask_run_counts_where_nobody_says_more(tmp_path, serve, code):
    server = serve(command=[*FLASK, "--debug", "serve"], cwd=write(tmp_path, code), env={"FLASK_RUN_PORT": "0"})
    assert server.address[1] != 8000, "the default"


@pytest.mark.parametrize(
    ("variables", "bind", "origin"),
    [
        ({"FLASK_RUN_PORT": "5001"}, "127.0.0.1:5001", "FLASK_RUN_HOST and FLASK_RUN_PORT"),
        ({"FLASK_RUN_HOST": "::1"}, "[::1]:8000", "FLASK_RUN_HOST and FLASK_RUN_PORT"),
        ({"FLASK_RUN_PORT": "5001", "SERVE_BIND": "127.0.0.1:5002"}, "127.0.0.1:5002", "SERVE_BIND"),
    ],
)
def test_the_variables_of_flask_run_are_told_as_the_origin(tmp_path, variables, bind, origin):
    assert config(write(tmp_path), **variables)["bind"] == (bind, origin)


# --- refusals


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('app.config["SERVE_WOKERS"] = 2', 'app.config["SERVE_WOKERS"] is no setting; did you mean "workers"?'),
        ('app.config["SERVE"] = {"thread": 2}', 'app.config["SERVE"]["thread"] is no setting; did you mean "threads"?'),
        ('app.config["SERVE_WORKERS"] = "many"', 'workers: "many" (app.config["SERVE_WORKERS"]) is not a whole number'),
        ('app.config["SERVE"] = "fast"', 'app.config["SERVE"] is a str: write a dict such as {"workers": 4}'),
        (
            'app.config["SERVE"] = {"threads": object}',
            'threads: <class \'object\'> (app.config["SERVE"]["threads"]) is',
        ),
    ],
)
def test_what_is_wrong_in_the_configuration_is_refused_in_one_sentence(tmp_path, line, sentence):
    status, text = flask(write(tmp_path, line), "serve")
    assert status == 2
    assert sentence in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("variable", ["SERVE_WOKERS", "FLASK_SERVE_WOKERS"])
def test_an_unknown_variable_is_refused_with_a_suggestion(tmp_path, variable):
    status, text = flask(write(tmp_path), "serve", **{variable: "3"})
    assert status == 2
    assert f'{variable} is no setting; did you mean "{variable.replace("WOK", "WORK")}"?' in text
    assert text.count("\n") == 1


def test_an_unknown_option_is_refused_with_a_suggestion(tmp_path):
    status, text = flask(write(tmp_path), "serve", "--wokers", "3")
    assert status == 2
    assert text.endswith("Error: No such option --wokers. Did you mean --workers?\n")


def test_an_option_of_flask_run_is_refused_with_ours(tmp_path):
    status, text = flask(write(tmp_path), "serve", "-h", "0.0.0.0")
    assert status == 2
    assert text.endswith("Error: No such option -h. Write --bind HOST:8000 (the help is --help).\n")


def test_the_port_of_flask_run_is_refused_as_a_pid_file(tmp_path):
    status, text = flask(write(tmp_path), "serve", "-p", "8504")
    assert status == 2
    assert "-p is the pid file here; the port is part of --bind 127.0.0.1:8504" in text


def test_an_application_that_is_not_there_is_refused_in_flasks_words(tmp_path):
    assert flask(tmp_path, "--app", "nowhere", "serve") == (4, "Error: Could not import 'nowhere'\n")
    status, text = flask(tmp_path, "serve")
    assert status == 4
    assert text.startswith("Error: Could not locate a Flask application. Use the 'flask --app' option")
    assert text.count("\n") == 1


def test_an_import_that_fails_inside_the_application_names_what_failed(tmp_path):
    status, text = flask(write(tmp_path, "import nowhere_at_all\n"), "serve")
    assert status == 4
    assert text.splitlines()[0] == (
        "Error: While importing 'app', an ImportError was raised: ModuleNotFoundError: No module named 'nowhere_at_all'"
    )


@pytest.mark.parametrize("line", ["import nowhere_at_all", "1 / 0", "raise SystemExit(7)"])
def test_an_application_that_cannot_be_imported_ends_the_command_with_its_traceback(tmp_path, line):
    status, text = flask(write(tmp_path, line), "serve", "--bind", "127.0.0.1:0")
    assert status == 4
    assert text.startswith("Error: ")
    assert 'app.py", line' in text
    assert "flask_serve" not in text, "our own frames help nobody"


def test_an_import_that_kills_its_process_is_told(tmp_path):
    status, text = flask(write(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), "serve")
    assert (status, text) == (4, "Error: the process that loaded the Flask application was killed by signal 9\n")


def test_a_process_that_outlives_the_import_does_not_hold_the_command_up(tmp_path):
    os.mkfifo(tmp_path / "leave")
    write(
        tmp_path, "import os\nif os.fork() == 0:\n    os.closerange(0, 3)\n    open('leave').read()\n    os._exit(0)\n"
    )
    status, _ = flask(tmp_path, "serve", "--show-config")
    (tmp_path / "leave").write_text("now")
    assert status == 0


# --- serving


def test_broken_code_in_debug_waits_to_be_mended(tmp_path, serve):
    project = write(tmp_path, "1 / 0\n")
    server = serve(command=DEBUG_SERVE, cwd=project, wait=False)
    server.read_until("The application cannot be loaded, so the settings in its app.config are not known")
    server.read_until("ZeroDivisionError: division by zero on import. Waiting for a change")
    server.wait_until_serving()
    server.read_until("The browser shows why")
    answer = server.get("/")
    assert answer.status == 500
    assert "ZeroDivisionError" in answer.text
    write(tmp_path)
    server.read_until("Generation 3 has taken over")
    eventually(lambda: server.get("/").text == "hello")


@pytest.mark.parametrize(
    ("code", "how"),
    [("import os; os._exit(3)", "exited with status 3"), ("import os; os.abort()", "was killed by SIGABRT")],
)
def test_code_that_ends_its_process_waits_to_be_mended_too(tmp_path, serve, code, how):
    server = serve(command=DEBUG_SERVE, cwd=write(tmp_path, f"{code}\n"))
    eventually(lambda: how in server.get("/", accept="text/plain").text)
    write(tmp_path)
    eventually(lambda: server.get("/").text == "hello")


def test_a_reload_brings_new_code(tmp_path, serve):
    project = copy_of("flask_notes", tmp_path)
    server = serve("--app", "notes", "serve", "--bind", "127.0.0.1:0", command=FLASK, cwd=project)
    assert json.loads(server.get("/whoami").body)["version"] == "1"
    edit(project / "notes" / "views.py", 'VERSION = "1"', 'VERSION = "two"')
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    eventually(lambda: json.loads(server.get("/whoami").body)["version"] == "two")


def test_in_debug_a_save_brings_new_code(tmp_path, serve):
    (tmp_path / "code").mkdir()
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "code", name="mine.py")
    command = [*FLASK, "--app", "../code/mine.py", "--debug", "serve", "--bind", "127.0.0.1:0"]
    server = serve(command=command, cwd=tmp_path / "elsewhere")
    edit(tmp_path / "code" / "mine.py", '"hello"', '"good morning"')
    server.read_until(r"code/mine\.py changed")
    eventually(lambda: server.get("/").text == "good morning")


def test_the_arbiter_never_imports_the_application(tmp_path, serve):
    write(tmp_path, "import os\nopen(f'imported-by-{os.getpid()}', 'w').close()\n")
    server = serve("--workers", "1", command=SERVE, cwd=tmp_path)
    importers = {int(path.name.rpartition("-")[2]) for path in tmp_path.glob("imported-by-*")}
    assert server.processes("arbiter") == [server.pid]
    assert server.pid not in importers
    assert server.processes("forkserver")[0] in importers


def test_a_changed_env_file_brings_its_new_values(tmp_path, serve):
    code = "import os\n@app.get('/greeting')\ndef greeting():\n    return os.environ.get('GREETING', 'none')\n"
    write(tmp_path, code)
    (tmp_path / ".env").write_text("GREETING=hello\n")
    server = serve(command=DEBUG_SERVE, cwd=tmp_path)
    assert server.get("/greeting").text == "hello"
    (tmp_path / ".env").write_text("GREETING='good morning'\n")
    server.read_until(r"\.env changed")
    eventually(lambda: server.get("/greeting").text == "good morning")
    (tmp_path / ".env").unlink()
    eventually(lambda: server.get("/greeting").text == "none")


@needs_dotenv
def test_an_environment_that_no_process_can_be_given_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ".env").write_text(f"BIG={'x' * 3_000_000}\n")
    status, text = flask(tmp_path, "serve", "--bind", "127.0.0.1:0")
    assert status == 1
    assert text.startswith("Error: cannot start a clean interpreter (")
    assert text.endswith(
        "Argument list too long; a variable of the environment (.env) is too large, or all of them are.\n"
    )
    assert text.count("\n") == 1
