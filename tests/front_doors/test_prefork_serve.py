"""``prefork-serve``: its ways to be told what to do, and its refusals, each one sentence with origin and status 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from live import COMMAND
from projects import copy_of, run

SERVE = [sys.executable, "-m", "server_core"]
PREFORK_SERVE = [str(Path(sys.executable).with_name("prefork-serve"))]
CHAPTERS = ("Application", "Sockets", "Workers", "Timeouts", "Limits", "Proxy", "Process", "Logs", "Development")


@pytest.fixture(scope="module")
def hello(tmp_path_factory):
    """A copy of the plain example for tests that change nothing in it."""
    return copy_of("plain_wsgi", tmp_path_factory.mktemp("hello"))


def shown(folder: Path, *arguments: str, **env: str) -> dict[str, tuple[str, str]]:
    """What --show-config prints: value and origin by name."""
    status, text = run([*SERVE, "--show-config", *arguments], folder, **env)
    assert status == 0, text
    return {name: (value, origin) for name, value, origin in (line.split(maxsplit=2) for line in text.splitlines())}


# --- serving


def test_the_example_is_served_with_its_sample_configuration(hello, serve):
    server = serve("-c", "serve.toml", "hello:app", cwd=hello)
    assert "2 workers × 4 threads, worker class gthread (because threads > 1)" in server.text
    assert server.get("/").text == "Hello, world!\n"
    server.read_until(r'127\.0\.0\.1 - - \[.*\] "GET / HTTP/1\.1" 200 14 ')


def test_a_factory_gets_its_argument(hello, serve):
    assert serve('hello:create_app("Good morning")', cwd=hello).get("/").text == "Good morning, world!\n"


def test_the_settings_may_be_python_and_name_the_application(hello, serve, tmp_path):
    file = tmp_path / "settings.py"
    file.write_text('import os\n_count = 1 + 2\nworkers = _count\nwsgi_app = "hello:app"\n')
    server = serve("-c", str(file), cwd=hello)
    assert "3 workers × 1 thread" in server.text
    assert server.get("/").text == "Hello, world!\n"


def test_the_port_of_a_platform_is_opened_to_the_world(hello, serve):
    server = serve("hello:app", command=SERVE, cwd=hello, env={"PORT": "0", "WEB_CONCURRENCY": "1"})
    assert server.url.startswith("http://0.0.0.0:")
    assert "1 worker × 1 thread" in server.text
    assert server.get("/").text == "Hello, world!\n"


def test_the_console_script_is_the_same_command(hello, serve):
    server = serve("-b", "127.0.0.1:0", "hello:app", command=PREFORK_SERVE, cwd=hello)
    assert server.get("/").text == "Hello, world!\n"


# --- being told


def test_every_layer_wins_over_the_one_below(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.prefork-serve]\nworkers = 2\nthreads = 2\ntimeout = "20s"\n[tool.other]\nworkers = 9\n'
    )
    environ = {"WEB_CONCURRENCY": "3", "SERVE_THREADS": "3"}
    settings = shown(tmp_path, "--workers", "4", **environ)
    assert settings["workers"] == ("4", "--workers")
    assert settings["threads"] == ("3", "SERVE_THREADS")
    assert settings["timeout"] == ("20s", "timeout in pyproject.toml")
    assert settings["keepalive"] == ("75s", "default")
    assert settings["worker_class"] == ("gthread", "threads > 1")


def test_the_variable_of_the_server_wins_over_that_of_the_platform(tmp_path):
    environ = {"WEB_CONCURRENCY": "3", "SERVE_WORKERS": "4", "PORT": "9000"}
    settings = shown(tmp_path, **environ)
    assert settings["workers"] == ("4", "SERVE_WORKERS")
    assert settings["bind"] == ("0.0.0.0:9000", "PORT")


def test_a_file_that_is_named_is_read_instead_of_pyproject(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.prefork-serve]\nworkers = 2\n")
    (tmp_path / "mine.toml").write_text("threads = 5\n")
    settings = shown(tmp_path, "-c", "mine.toml", WEB_CONCURRENCY="1")
    assert settings["workers"] == ("1", "WEB_CONCURRENCY")
    assert settings["threads"] == ("5", "threads in mine.toml")


def test_the_settings_are_checked_without_serving(hello):
    assert run([*SERVE, "--check-config", "hello:app"], hello) == (
        0,
        "The settings are right and the application can be imported.\n",
    )
    status, text = run([*SERVE, "--check-config", "hello:nothing"], hello)
    assert (status, text) == (4, "Error: module 'hello' has no nothing: write the application as module:callable\n")


def test_showing_and_checking_do_both(hello):
    status, text = run([*SERVE, "--check-config", "--show-config", "hello:app"], hello)
    assert status == 0
    assert "\nwsgi_app " in "\n" + text
    assert "The settings are right" in text


@pytest.mark.parametrize("command", [SERVE, PREFORK_SERVE], ids=["module", "script"])
def test_it_tells_its_version(tmp_path, command):
    import server_core

    assert run([*command, "--version"], tmp_path) == (0, f"prefork-serve, version {server_core.__version__}\n")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_help_lists_every_chapter(tmp_path, flag):
    status, text = run([*SERVE, flag], tmp_path)
    assert status == 0
    assert text.startswith("Usage: prefork-serve [OPTIONS] [APP]\n")
    assert [line[:-1] for line in text.splitlines() if line.endswith(":") and line[:-1] in CHAPTERS] == list(CHAPTERS)


# --- refusals


def refused(folder: Path, *arguments: str, **env: str) -> str:
    """The one sentence of a refusal."""
    status, text = run([*SERVE, *arguments, "hello:app"], folder, **env)
    assert status == 2, text
    assert text.startswith("Error: ")
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.toml", "wokers = 3", 'wokers in a.toml is no setting; did you mean "workers"?'),
        ("a.toml", 'workers = "many"', 'workers: "many" (workers in a.toml) is not a whole number'),
        ("a.toml", "workers = 2.5", "workers: 2.5 (workers in a.toml) is not a whole number"),
        ("a.toml", "workers =", "a.toml is not valid TOML: "),
        ("a.py", "wokers = 3", 'wokers in a.py is no setting; did you mean "workers"?'),
        ("a.py", "timeout = 'soon'", 'timeout: "soon" (timeout in a.py) is not a duration'),
        ("a.py", "workers = 1 / 0", "a.py:1 raises ZeroDivisionError: division by zero"),
        ("a.py", "workers = = 1", "a.py:1 is not valid Python"),
        ("a.ini", "workers = 1", "a.ini is no settings file"),
    ],
)
def test_what_is_wrong_in_a_file_is_refused(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content + "\n")
    assert sentence in refused(tmp_path, "-c", name)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert refused(tmp_path, "-c", "nowhere.toml") == "Error: nowhere.toml cannot be read: No such file or directory.\n"


def test_what_is_wrong_in_pyproject_is_refused(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.prefork-serve]\nwokers = 3\n")
    assert "wokers in pyproject.toml is no setting" in refused(tmp_path).replace("./", "")


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("SERVE_WOKERS", "3", 'SERVE_WOKERS is no setting; did you mean "SERVE_WORKERS"?'),
        ("SERVE_WORKERS", "many", 'workers: "many" (SERVE_WORKERS) is not a whole number'),
        ("WEB_CONCURRENCY", "many", 'workers: "many" (WEB_CONCURRENCY) is not a whole number'),
        ("PORT", "http", 'bind: "0.0.0.0:http" (PORT) has no port number after the colon'),
    ],
)
def test_what_is_wrong_in_the_environment_is_refused(tmp_path, variable, value, sentence):
    assert sentence in refused(tmp_path, **{variable: value})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--workers", "many"), 'workers: "many" (--workers) is not a whole number'),
        (("-b", "localhost:http"), "has no port number after the colon"),
        (("--timeout", "-3"), "(--timeout)"),
        (("-k", "sync", "--threads", "2"), "choose worker_class gthread or threads 1"),
        (("-p", "8504"), "-p is the pid file here; the port is part of --bind 127.0.0.1:8504"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_refused(tmp_path, arguments, sentence):
    assert sentence in refused(tmp_path, *arguments)


def test_a_wrong_value_is_refused_even_where_another_layer_overrides_it(tmp_path):
    assert "(SERVE_WORKERS) is not a whole number" in refused(tmp_path, "--workers", "2", SERVE_WORKERS="many")


def test_an_unknown_option_is_refused_with_a_suggestion(tmp_path):
    status, text = run([*SERVE, "--wokers", "3", "hello:app"], tmp_path)
    assert status == 2
    assert text.splitlines()[-1] == "Error: No such option --wokers. Did you mean --workers?"
    assert "Traceback" not in text


def test_no_application_is_refused_with_all_ways_to_name_one(tmp_path):
    status, text = run(SERVE, tmp_path)
    assert status == 2
    assert text.startswith("Error: no application was named: prefork-serve module:callable, or wsgi_app in the file")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("application", "sentence"),
    [
        ("nowhere:app", "no module named 'nowhere'"),
        ("hello:nothing", "module 'hello' has no nothing"),
        ("hello:LONGEST_SLEEP", "is not callable: it is a float"),
        ("hello:create_app(name)", "only literals can be arguments"),
    ],
)
def test_an_application_that_is_not_there_is_refused_in_one_sentence(hello, application, sentence):
    status, text = run([*COMMAND, application], hello)
    assert status == 4
    assert sentence in text
    assert text.count("\n") == 1
