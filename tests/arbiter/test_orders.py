"""Knows what a signal makes of what should be, and that one that comes twice in a moment was meant once."""

from __future__ import annotations

import logging
import signal

import pytest

from server_core.arbiter.orders import ONCE_SECONDS, Orders
from server_core.arbiter.plan import Desired, Mode

SERVING = Desired(workers=2, reloads=0, mode=Mode.SERVE)


@pytest.fixture
def orders() -> Orders:
    return Orders(3, 30.0, logging.Logger("silent"))


def heeded(orders: Orders, *signals: tuple[signal.Signals, float]) -> Desired:
    desired = SERVING
    for number, now in signals:
        desired = orders.heed(number, desired, now)
    return desired


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_to_be_told_to_end_once_more_ends_at_once_but_not_in_the_same_moment(orders, first, second):
    assert heeded(orders, (first, 100.0), (second, 100.0 + ONCE_SECONDS / 2)).mode == Mode.DRAIN
    assert heeded(orders, (first, 200.0), (second, 200.0 + ONCE_SECONDS * 2)).mode == Mode.STOP


def test_quit_ends_at_once_also_right_after_term(orders):
    assert heeded(orders, (signal.SIGTERM, 100.0), (signal.SIGQUIT, 100.0)).mode == Mode.STOP


def test_more_workers_than_there_is_room_for_are_not_wanted(orders):
    assert heeded(orders, *[(signal.SIGTTIN, 100.0)] * 5).workers == 3


def test_a_signal_that_means_nothing_changes_nothing(orders):
    assert heeded(orders, (signal.SIGWINCH, 100.0), (signal.SIGUSR2, 100.0)) == SERVING
