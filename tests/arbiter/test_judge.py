"""Who has been silent for too long, and who only seems so."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest

from server_core.arbiter.children import Worker
from server_core.arbiter.judge import judge_imports, why_kill
from server_core.arbiter.plan import Mode, Phase
from server_core.arbiter.reports import Reports
from server_core.settings import Timeouts

TIMEOUTS = Timeouts(timeout=3.0)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """Ready since second 0."""
    reading, writing = os.pipe()
    worker = Worker(1, 1, Reports(reading), 0.0, Phase.READY)
    yield worker
    worker.close()
    os.close(writing)


def verdict(worker: Worker, beat: float, now: float, asleep: float = 0.0, before: float | None = None) -> str:
    silence = worker.silence(beat, now, asleep if before is None else before, asleep)
    return why_kill(worker, now, TIMEOUTS, silence, Mode.SERVE)


def test_silence_counts_from_the_last_sign_of_life(worker: Worker):
    assert worker.silence(10.0, 12.5, 0.0, 0.0) == 2.5
    assert not verdict(worker, 10.0, 13.0)
    assert "no sign of life for 3s (timeout)" in verdict(worker, 10.0, 13.1)


def test_a_time_in_which_the_arbiter_did_not_run_either_is_nobodys_silence(worker: Worker):
    assert not verdict(worker, 10.0, 11.0, asleep=100.0)  # what was slept before does not count
    assert not verdict(worker, 10.0, 13.9, asleep=101.0)
    assert worker.silence(10.0, 13.9, 101.0, 101.0) == pytest.approx(2.9)
    assert verdict(worker, 10.0, 14.1, asleep=101.0)


def test_a_new_sign_of_life_begins_anew(worker: Worker):
    verdict(worker, 10.0, 11.0)
    assert worker.silence(20.0, 21.0, 9.0, 9.0) == 1.0
    assert worker.silence(20.0, 24.0, 9.0, 9.0) == 4.0


def test_a_sign_of_life_that_is_first_seen_after_a_sleep_may_be_from_before_it(worker: Worker):
    verdict(worker, 10.0, 10.5)
    assert not verdict(worker, 11.0, 25.0, asleep=13.0, before=0.0)
    assert not verdict(worker, 11.0, 26.9, asleep=13.0)
    assert verdict(worker, 11.0, 27.1, asleep=13.0)


class Importing:
    """A generation as far as the judge looks at one; it has begun at second 0."""

    number, pid, started = 2, 1, 0.0

    def __init__(self) -> None:
        self.imported = self.told_long = False
        self.killed = 0.0
        self.why_killed = ""
        self.heard: list[signal.Signals] = []

    def send(self, number: signal.Signals) -> None:
        self.heard.append(number)


def test_an_import_that_takes_long_is_told_once_and_given_up_when_it_takes_too_long(caplog):
    generation = Importing()

    def look(now: float) -> list[str]:
        judge_imports([generation], now, Timeouts(), logging.getLogger("test"))  # type: ignore[list-item]
        return caplog.messages

    assert look(10.0) == []
    sentence = "Generation 2 is still importing or inspecting the application after 10s; boot_timeout (60s) ends that."
    assert look(10.1) == [sentence]
    assert look(60.0) == [sentence]
    assert generation.heard == []
    look(60.1)
    assert generation.heard[0] == signal.SIGABRT
    assert "still importing or inspecting the application after 60s (boot_timeout)" in generation.why_killed


def test_an_import_that_is_done_is_not_told(caplog):
    generation = Importing()
    generation.imported = True
    judge_imports([generation], 100.0, Timeouts(), logging.getLogger("test"))  # type: ignore[list-item]
    assert caplog.messages == []
