"""Knows how settings files are read and refused; every file is a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server_core.config.files import file_layer
from server_core.config.layers import FILE, Given, Layer, resolve
from server_core.errors import ConfigError


def write(directory: Path, name: str, content: str | bytes) -> str:
    file = directory / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(file)


def refusal(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        file_layer(path)
    return str(caught.value)


# --- TOML


def test_a_toml_file_has_settings_at_its_top_level(tmp_path: Path) -> None:
    path = write(tmp_path, "serve.toml", 'workers = 3\nbind = ["a:1"]\nsocket_mode = 0o600\ntimeout = "1m"\n')
    layer = file_layer(path)
    assert layer.name == FILE
    assert layer.values["workers"] == Given(3, f"workers in {path}")
    settings = resolve([layer]).settings
    assert settings.workers.workers == 3
    assert settings.sockets.socket_mode == 0o600
    assert settings.timeouts.timeout == 60


def test_a_table_in_a_toml_file_is_no_value(tmp_path: Path) -> None:
    path = write(tmp_path, "serve.toml", "[workers]\nthreads = 2\n")
    with pytest.raises(ConfigError, match=r"workers: .* is not a whole number"):
        resolve([file_layer(path)])


def test_an_unknown_name_in_a_toml_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "serve.toml", "workres = 3\n")
    with pytest.raises(ConfigError, match=r'workres in .*serve.toml is no setting; did you mean "workers"'):
        resolve([file_layer(path)])


def test_toml_that_cannot_be_parsed_is_refused_with_its_line(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "serve.toml", "workers = 3\n\nbind == 4\n"))
    assert "serve.toml is not valid TOML" in message
    assert "line 3" in message
    message = refusal(write(tmp_path, "serve.toml", b"workers = 3\nproc_name = '\xff'\n"))
    assert "serve.toml is not valid TOML: line 2 is not UTF-8." in message


# --- pyproject.toml

TABLE = "[tool.prefork-serve]\nworkers = 3\n"


def test_a_pyproject_file_has_settings_in_the_table_of_this_server_only(tmp_path: Path) -> None:
    path = write(tmp_path, "pyproject.toml", "[project]\nname = 'x'\n" + TABLE)
    expected = {"workers": Given(3, f"workers in {path}")}
    assert file_layer(path).values == expected
    assert file_layer(None, str(tmp_path)).values == expected


def test_the_pyproject_file_of_the_current_directory_needs_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "pyproject.toml", TABLE)
    monkeypatch.chdir(tmp_path)
    assert file_layer(None).values == {"workers": Given(3, "workers in pyproject.toml")}


def test_the_table_is_found_however_toml_lets_it_be_written(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "[tool]\nprefork-serve = {workers = 3}\n")
    assert file_layer(None, str(tmp_path)).values["workers"].value == 3


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[tool.black]\nline-length = 100\n",
        "[project]\ndependencies = ['prefork-serve']\n",
        "broken = = 1\n",
        "# prefork-serve\nbroken = = 1\n",
        "tool = 5 # prefork-serve",
    ],
)
def test_a_pyproject_file_that_nobody_named_and_that_has_no_table_gives_nothing(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        write(tmp_path, "pyproject.toml", content)
    assert file_layer(None, str(tmp_path)) == Layer(FILE, {})


def test_a_broken_pyproject_file_with_the_table_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", TABLE + "broken = = 1\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        file_layer(None, str(tmp_path))


def test_a_pyproject_file_that_was_named_must_have_the_table(tmp_path: Path) -> None:
    assert "has no table [tool.prefork-serve]" in refusal(write(tmp_path, "pyproject.toml", "[project]\n"))
    assert "is not a table" in refusal(write(tmp_path, "pyproject.toml", "[tool]\nprefork-serve = 5\n"))


WITHOUT_A_PARSER = """
import sys
sys.modules["tomllib"] = sys.modules["tomli"] = None
from server_core.config.files import file_layer
from server_core.errors import ConfigError
try:
    sys.stdout.write(repr(dict(file_layer(sys.argv[1] or None).values)))
except ConfigError as error:
    sys.stdout.write(str(error))
"""


@pytest.mark.parametrize(
    ("content", "option", "answer"),
    [
        (TABLE, "", "pyproject.toml is TOML, which needs tomli"),
        (TABLE, "pyproject.toml", 'pip install "prefork-serve[toml]"'),
        ("[project]\ndependencies = ['prefork-serve']\n", "", "{}"),
    ],
)
def test_where_python_has_no_toml_the_missing_package_is_named_when_it_matters(
    tmp_path: Path, content: str, option: str, answer: str
) -> None:
    write(tmp_path, "pyproject.toml", content)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_PARSER, option], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert answer in done.stdout


# --- Python

GUNICORN_FILE = """
from __future__ import annotations
import multiprocessing
from os import path
from pathlib import Path
_half = 0.5

def half(number):
    return number // 2

class Helper:
    pass

workers = 2 * 2
bind = ["0.0.0.0:80"]
pidfile = Path("run") / "app.pid"
accesslog = None
umask = 0o027
worker_class = path.basename("x/gthread")
"""


def test_a_python_file_is_run_and_its_names_are_settings(tmp_path: Path) -> None:
    path = write(tmp_path, "gunicorn.conf.py", GUNICORN_FILE)
    layer = file_layer(path)
    assert set(layer.values) == {"workers", "bind", "pidfile", "accesslog", "umask", "worker_class"}
    assert layer.values["workers"] == Given(4, f"workers in {path}")
    settings = resolve([layer]).settings
    assert settings.process.pidfile == "run/app.pid"
    assert settings.process.umask == 0o027
    assert settings.workers.worker_class == "gthread"
    assert settings.logs.accesslog is None


def test_a_python_file_knows_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, "serve.py", "chdir = __file__\nproc_name = __name__\n")
    assert file_layer(path).values["chdir"].value == path
    assert file_layer(path).values["proc_name"].value != "__main__"


def test_any_other_name_in_a_python_file_is_refused(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "serve.py", "workres = 3\n"))
    assert 'serve.py is no setting; did you mean "workers"?' in message
    assert "underscore" in message


def test_a_function_in_the_place_of_a_value_is_wrong_and_not_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path, "serve.py", "def workers():\n    return 4\n")
    with pytest.raises(ConfigError, match=r"workers: .* is not a whole number"):
        resolve([file_layer(path)])


def test_a_python_file_that_fails_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "serve.py", "import json\n\ndef load():\n    return json.loads('x')\n\nbind = load()\n")
    assert refusal(path).startswith(f"{path}:4 raises JSONDecodeError: Expecting value")
    path = write(tmp_path, "serve.py", "workers = 3\nbind = = 4\n")
    assert refusal(path).startswith(f"{path}:2 is not valid Python: ")
    path = write(tmp_path, "serve.py", b"workers = 3\0\n")
    assert "is not valid Python: source code " in refusal(path)


# --- any file


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "serve.toml")
    assert refusal(missing) == f"{missing} cannot be read: No such file or directory."
    (tmp_path / "directory.py").mkdir()
    assert "cannot be read: Is a directory" in refusal(str(tmp_path / "directory.py"))


def test_a_file_that_is_neither_toml_nor_python_is_refused(tmp_path: Path) -> None:
    assert "must end in .toml or .py" in refusal(write(tmp_path, "serve.ini", "workers = 3\n"))


def test_a_hook_of_gunicorn_is_refused_because_nobody_would_call_it(tmp_path):
    path = tmp_path / "conf.py"
    path.write_text("workers = 2\ndef post_fork(server, worker):\n    pass\n")
    with pytest.raises(ConfigError, match=r"post_fork in .*conf\.py is one of Gunicorn's hooks"):
        file_layer(str(path))
