"""What follows from changed files: workers are told, or the application is loaded anew; real pipes, no processes."""

from __future__ import annotations

import json
import logging
import os
import socket

import pytest

from server_core.arbiter.autoreload import Autoreload
from server_core.arbiter.children import Worker
from server_core.arbiter.reports import Reports
from server_core.reload.watch import Changes


class Told:
    """A watcher that tells what the test has put there."""

    descriptor = 99

    def __init__(self) -> None:
        self.next: Changes | None = Changes(())
        self.places: list[tuple[str, str]] = []

    def read(self) -> Changes | None:
        return self.next

    def add(self, places) -> None:
        self.places += places


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def autoreload(told: Told) -> Autoreload:
    return Autoreload(told, logging.getLogger("test"))


@pytest.fixture
def workers():
    """Two workers as the arbiter sees them, and their own ends."""
    pairs = [socket.socketpair() for _ in range(2)]
    mine = [Worker(slot, 1, Reports(ours.detach()), 0.0) for slot, (ours, _) in enumerate(pairs, 1)]
    theirs = [end for _, end in pairs]
    yield mine, theirs
    for worker in mine:
        worker.close()
    for end in theirs:
        end.close()


def heard(end: socket.socket) -> list[dict[str, object]]:
    end.setblocking(False)
    try:
        return [json.loads(line) for line in end.recv(65536).splitlines()]
    except BlockingIOError:
        return []


def test_files_that_are_no_code_are_told_to_all_workers(autoreload, told, workers):
    mine, theirs = workers
    told.next = Changes(("/p/a.html", "/p/b.mo"))
    assert autoreload.heed(mine) == ""
    for end in theirs:
        assert heard(end) == [{"changed": ["/p/a.html", "/p/b.mo"], "number": 1}]


@pytest.mark.parametrize(
    "paths", [("/p/a.py",), ("/p/a.html", "/p/b.py"), ("/p/.env",), ("/p/.flaskenv",), ("/p/a.toml",)]
)
def test_code_and_what_configures_it_means_a_reload_and_no_worker_is_asked(autoreload, told, workers, paths):
    mine, theirs = workers
    told.next = Changes(paths)
    assert autoreload.heed(mine) == told.next.sentence
    assert [heard(end) for end in theirs] == [[], []]


def test_without_a_settled_application_everything_means_a_reload(autoreload, told):
    told.next = Changes(("/p/a.html",))
    assert autoreload.heed(()).endswith("a.html changed")


def test_nothing_yet_is_nothing(autoreload, told, workers):
    assert autoreload.heed(workers[0]) == ""
    assert [heard(end) for end in workers[1]] == [[], []]
    assert autoreload.descriptor == told.descriptor


def test_a_worker_that_cannot_be_told_means_a_reload(autoreload, told, workers):
    mine, theirs = workers
    theirs[1].close()
    told.next = Changes(("/p/a.html",))
    assert autoreload.heed(mine).endswith("a.html changed")


def test_of_all_workers_that_cannot_take_a_change_up_the_first_causes_the_reload(autoreload, told, workers):
    mine, _ = workers
    told.next = Changes(("/p/a.html",))
    autoreload.heed(mine)
    assert autoreload.stale("/p/a.html", 1) == f"{os.path.relpath('/p/a.html')} changed"
    assert autoreload.stale("/p/a.html", 1) == ""
    autoreload.heed(mine)
    assert autoreload.stale("/p/a.html", 2)


def test_a_reload_covers_the_changes_that_were_told_before_it(autoreload, told, workers):
    mine, _ = workers
    told.next = Changes(("/p/a.html",))
    autoreload.heed(mine)
    autoreload.heed(mine)
    assert autoreload.stale("/p/a.html", 1)
    assert autoreload.stale("/p/a.html", 2) == ""


@pytest.mark.parametrize("number", [0, -1, 2, 2**31 - 1])
def test_a_forged_number_causes_no_reload(autoreload, told, workers, number):
    told.next = Changes(("/p/a.html",))
    autoreload.heed(workers[0])
    assert autoreload.stale("/p/a.html", number) == ""


def test_a_change_that_workers_take_up_is_told_once_and_only_then(autoreload, told, workers, caplog):
    caplog.set_level(logging.INFO)
    told.next = Changes(("/p/a.html",))
    autoreload.heed(workers[0])
    assert caplog.messages == []
    assert [autoreload.stale("", 1), autoreload.stale("", 1)] == ["", ""]
    assert caplog.messages == [f"{told.next.sentence}: the running application takes it up."]


def test_a_change_that_no_worker_takes_up_is_told_by_the_reload_alone(autoreload, told, workers, caplog):
    caplog.set_level(logging.INFO)
    told.next = Changes(("/p/a.html",))
    autoreload.heed(workers[0])
    assert autoreload.stale("/p/a.html", 1)
    assert autoreload.stale("", 1) == ""
    assert caplog.messages == []


def test_places_are_passed_on(autoreload, told):
    autoreload.watch("/p/templates", "**/*")
    assert told.places == [("/p/templates", "**/*")]


def test_a_file_is_named_on_one_line_and_without_what_a_terminal_obeys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change = Changes((f"{tmp_path}/a\nb\x1b[31m\udcff é.html",))
    assert change.sentence == r"a\nb\x1b[31m\udcff é.html changed"


def test_a_file_is_named_in_full_when_the_working_directory_is_gone(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    project.rmdir()
    assert Changes((f"{project}/a.py",)).sentence == f"{project}/a.py changed"
