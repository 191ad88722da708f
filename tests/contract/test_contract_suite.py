"""Knows that every worker class keeps what all promise, and that the suite notices one that does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from live import APPS, WORKER_CLASSES, LiveServer

from server_core.contract.promises import PROMISES, broken

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


def test_a_class_of_ones_own_is_prepared_once_and_serves(serve: Callable[..., LiveServer]):
    server = serve("simple:app", "-w", "2", "-k", OWN)
    assert "worker class custom_worker:Announcing" in server.text
    assert server.get().status == 200
    server.process.terminate()
    assert server.wait() == 0
    assert "Worker 0 begins." in server.text or "Worker 1 begins." in server.text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere:Class", "there is no module 'nowhere': check the name, or set chdir to its folder"),
        ("custom_worker:Nobody", "custom_worker has no Nobody"),
        ("custom_worker:Unprepared", "has no method prepare: a worker class has prepare() and run(post)"),
        ("custom_worker:Failing", "raised RuntimeError: this class cannot be made"),
    ],
)
def test_a_class_that_cannot_be_used_is_one_sentence(serve: Callable[..., LiveServer], name: str, sentence: str):
    server = serve("simple:app", "-k", name, wait=False)
    assert server.wait() != 0
    assert f"worker_class {name}" in server.text
    assert sentence in server.text
    # The traceback is for code that fails, not for a name that is wrong.
    assert ("Traceback" in server.text) == (name == "custom_worker:Failing")
