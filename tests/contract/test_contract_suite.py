"""Knows that every worker class keeps what all promise, and that the suite notices one that does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live import APPS, WORKER_CLASSES, LiveServer

from server_core.contract import trial
from server_core.contract.promises import PROMISES, broken

MANUAL = Path(__file__).parents[2] / "docs" / "how-to" / "worker-class.md"
OWN = "custom_worker:Announcing"
#: for three of ours live_http asks for more than the suite does, in each run of the tests
EACH = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("sync", "gthread", "gevent") else [])
    for name in (*WORKER_CLASSES, OWN)
]


@pytest.fixture(autouse=True)
def custom_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(APPS))


@pytest.mark.parametrize("name", PROMISES)
@pytest.mark.parametrize("worker_class", EACH)
def test_a_promise_is_kept(worker_class: str, name: str):
    assert broken(worker_class, name) == ""


@pytest.mark.parametrize(
    ("worker_class", "name", "how"),
    [
        ("custom_worker:Rude", "drains", "the connection ended in the middle of an answer"),
        ("custom_worker:Rude", "ends_when_the_arbiter_is_gone", "the connection ended in the middle of an answer"),
        ("custom_worker:Silent", "shows_signs_of_life", "an idle worker was replaced"),
    ],
)
def test_a_promise_that_is_broken_is_noticed(worker_class: str, name: str, how: str):
    assert how in broken(worker_class, name)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server_core.contract", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(APPS)},
    )


def test_the_command_tells_what_is_kept():
    done = run(OWN, "-k", "answers")
    assert done.returncode == 0
    assert done.stdout.startswith("kept    answers: GET, HEAD and POST are answered, with sized")


def test_the_command_tells_what_is_broken():
    done = run("custom_worker:Silent", "-k", "shows_signs_of_life")
    assert done.returncode == 1
    assert done.stdout.startswith("BROKEN  shows_signs_of_life: A worker that has nothing to do")
    assert done.stdout.endswith("an idle worker was replaced\n")
    assert done.stderr == "Error: 1 of 1 promises are broken.\n"


def test_the_command_refuses_a_class_that_does_not_exist():
    done = run("gthraed")
    assert done.returncode == 1
    assert "there is no worker class 'gthraed' (the command line)" in done.stderr
    assert "Did you mean gthread?" in done.stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("custom_worker:Nope", "custom_worker has no Nope"),
        ("nowhere:Class", "there is no module 'nowhere': check the name, or set chdir or PYTHONPATH to its folder"),
        ("custom_worker:Brief", "run() has returned although the worker was not told to end"),
    ],
)
def test_the_command_says_once_why_a_class_cannot_start(name: str, sentence: str):
    done = run(name)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"Error: worker_class {name}: {sentence}\n"


def test_a_class_that_does_not_begin_to_serve_is_told_in_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial, "PATIENCE", 1.5)
    with pytest.raises(trial.NotStarted, match=r"^the server has not begun to serve within 1\.5s"):
        trial.Trial("custom_worker:Idle")


def test_a_class_of_ones_own_is_prepared_once_and_serves(serve: Callable[..., LiveServer]):
    server = serve("simple:app", "-w", "2", "-k", OWN)
    assert "worker class custom_worker:Announcing" in server.text
    assert server.get().status == 200
    server.process.terminate()
    assert server.wait() == 0
    assert "Worker 0 begins." in server.text or "Worker 1 begins." in server.text


def test_the_class_of_the_manual_serves_from_the_working_directory(serve: Callable[..., LiveServer], tmp_path: Path):
    (code,) = re.findall(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    (command,) = re.findall(r"^prefork-serve (.*) module:app$", MANUAL.read_text(), re.MULTILINE)
    (tmp_path / "here.py").write_text((APPS / "simple.py").read_text())
    server = serve(*command.split(), "-w", "1", "here:app", cwd=tmp_path)
    assert re.search(r"Worker \d begins\.", server.text)
    assert server.get().status == 200


HAS = "a worker class has prepare() and run(post)"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere:Class", ": there is no module 'nowhere': check the name, or set chdir or PYTHONPATH to its folder"),
        ("custom_worker:Nobody", ": custom_worker has no Nobody"),
        (
            "custom_worker:Announcng",
            ": custom_worker has no Announcng. Did you mean custom_worker:Announcing?",
        ),
        ("custom_worker:Unprepared", f" has no method prepare: {HAS}"),
        ("custom_worker:function", f" is no class (its type is function): {HAS}"),
        ("custom_worker:number", f" is no class (its type is int): {HAS}"),
        (
            "custom_worker:Wanting",
            ": Wanting() raised TypeError: Wanting.__init__() missing 1 required positional argument: 'what'",
        ),
        (
            "custom_worker:Calling",
            ": run() raised TypeError: Calling.run() takes 1 positional argument but 2 were given",
        ),
        ("custom_worker:Brief", ": run() has returned although the worker was not told to end"),
    ],
)
def test_a_class_that_cannot_be_used_is_one_sentence(serve: Callable[..., LiveServer], name: str, sentence: str):
    server = serve("simple:app", "-k", name, wait=False)
    assert server.wait() == 4
    assert server.text == f"Error: worker_class {name}{sentence}\n"


@pytest.mark.parametrize(
    ("name", "sentence", "guilty"),
    [
        ("Failing", "Failing() raised RuntimeError: this class cannot be made", "__init__"),
        ("Unready", "prepare() raised KeyError: 'nothing is prepared'", "prepare"),
        ("Stumbling", "run() raised AttributeError: 'NoneType' object has no attribute 'log'", "run"),
    ],
)
def test_an_error_in_the_code_of_a_class_is_told_as_its_own_with_its_traceback(
    serve: Callable[..., LiveServer], name: str, sentence: str, guilty: str
):
    server = serve("simple:app", "-k", f"custom_worker:{name}", wait=False)
    assert server.wait() == 4
    first, *traceback = server.text.splitlines()
    assert first == f"Error: worker_class custom_worker:{name}: {sentence}"
    assert traceback[0] == "Traceback (most recent call last):"
    assert "custom_worker.py" in traceback[1]
    assert traceback[1].endswith(f", in {guilty}")
    assert "server itself" not in server.text


def test_an_error_at_the_end_of_a_class_is_told_too(serve: Callable[..., LiveServer]):
    server = serve("simple:app", "-w", "1", "-k", "custom_worker:Sulking")
    server.process.terminate()
    assert server.wait() == 0
    words = "which was leaving: worker_class custom_worker:Sulking: run() raised ValueError: it is over."
    assert f"{words}\n    Traceback (most recent call last):\n" in server.text
    assert "server itself" not in server.text
