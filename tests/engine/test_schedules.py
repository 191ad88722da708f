"""Knows that no order of steps loses a wake-up, lets more threads in than there are, or leaves a request waiting.

What each schedule looks like is said by its seed: a failure comes back with it.
"""

from __future__ import annotations

import random

import pytest
from schedules import Play

MILLISECOND = 1e-3
#: a blocked leader is noticed by the second look of the watcher; the steps themselves take time as well
NOTICED = 3 * MILLISECOND
QUICK, SLOW = 0, 50_000


def waits_of(play: Play, microseconds: int) -> list[float]:
    return [seconds for path, seconds in play.waits if path == f"/{microseconds}"]


class TestAnyOrder:
    """Some applications quick, some slow, in all mixtures: the way of waiting changes again and again."""

    KINDS = ([QUICK], [100], [QUICK, 100], [QUICK, QUICK, 2000], [400, 600], [QUICK, SLOW])

    @pytest.mark.parametrize("first", range(0, 2000, 100))
    def test_everybody_is_answered_and_no_more_threads_are_inside_than_allowed(self, first: int):
        for seed in range(first, first + 100):
            chance = random.Random(seed)
            threads = chance.randint(1, 4)
            kind = chance.choice(self.KINDS)
            play = Play(seed, threads)
            clients = chance.randint(1, 5)
            asked = 0
            for _ in range(clients):
                requests = [[chance.choice(kind) for _ in range(chance.choice((1, 1, 3)))] for _ in range(3)]
                asked += sum(map(len, requests))
                pauses = [chance.choice((0.0, 50e-6, 5e-3)) for _ in requests]
                play.client(requests, pauses, room=chance.choice((1 << 20, 100)))
            try:
                play.run()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            assert len(play.waits) == asked
            assert max(seconds for _, seconds in play.waits) < play.seconds_inside + NOTICED * asked, f"seed {seed}"
            assert play.most_inside <= threads
            if clients <= threads:
                # Nobody has to wait for somebody else, but for the moment until a blocked leader is noticed.
                assert play.most_for_others < NOTICED * (clients + 1), f"seed {seed}"


@pytest.mark.parametrize("seed", range(40))
class TestABlockedLeader:
    def test_others_are_served_after_about_a_millisecond(self, seed: int):
        play = Play(seed, threads=2)
        play.client([[SLOW]], [0.0])
        play.client([[QUICK]] * 5, [2 * MILLISECOND] * 5)
        play.run()
        assert max(waits_of(play, QUICK)) < NOTICED

    def test_an_answer_of_the_same_turn_does_not_wait_for_it(self, seed: int):
        """Answers are sent together at the end of a turn, unless the turn gets stuck."""
        play = Play(seed, threads=2)
        play.client([[QUICK]], [0.0])
        play.client([[SLOW]], [0.0])
        play.client([[QUICK]], [0.0])
        play.run()
        assert max(waits_of(play, QUICK)) < NOTICED

    def test_with_one_thread_the_answer_of_the_same_turn_is_sent_nevertheless(self, seed: int):
        play = Play(seed, threads=1)
        play.client([[QUICK, SLOW]], [0.0])
        play.run()
        assert max(waits_of(play, QUICK)) < NOTICED

    def test_one_after_the_other_may_be_blocked(self, seed: int):
        play = Play(seed, threads=4)
        for number in range(3):
            play.client([[SLOW]], [number * 5 * MILLISECOND])
        play.client([[QUICK]] * 8, [4 * MILLISECOND] * 8)
        play.run()
        assert max(waits_of(play, QUICK)) < NOTICED


@pytest.mark.parametrize("seed", range(40))
class TestAllBlocked:
    def test_who_comes_meanwhile_is_served_by_the_first_that_is_free(self, seed: int):
        play = Play(seed, threads=2)
        play.client([[SLOW]], [0.0])
        play.client([[SLOW]], [10 * MILLISECOND])
        play.client([[QUICK]], [20 * MILLISECOND])
        play.run()
        (wait,) = waits_of(play, QUICK)
        assert 29 * MILLISECOND < wait < 30 * MILLISECOND + NOTICED

    def test_when_all_come_back_at_once_nobody_is_left_over(self, seed: int):
        play = Play(seed, threads=3)
        for _ in range(3):
            play.client([[SLOW], [QUICK], [SLOW]], [0.0] * 3)
        for _ in range(3):
            play.client([[QUICK]] * 2, [10 * MILLISECOND] * 2)
        play.run()
        assert max(waits_of(play, QUICK)) < 110 * MILLISECOND


@pytest.mark.parametrize("seed", range(40))
class TestChangingTheWay:
    def test_events_that_came_while_busy_are_not_forgotten_when_it_becomes_slow(self, seed: int):
        play = Play(seed, threads=4)
        for _ in range(4):
            play.client([[QUICK], [1000], [1000], [QUICK]], [0.0] * 4)
        play.run()
        assert max(waits_of(play, QUICK)) < 10 * MILLISECOND

    def test_nor_when_it_becomes_quick_again(self, seed: int):
        play = Play(seed, threads=3)
        play.engine.crew.blocking = True
        for _ in range(3):
            play.client([[QUICK]] * 15, [0.0] * 15)
        play.run()
        assert not play.engine.crew.blocking
        assert max(waits_of(play, QUICK)) < NOTICED


def test_what_a_thread_leaves_behind_is_taken_by_another_that_waits_for_events():
    """As many threads as clients: two have more to do, and two come anew just then, in each of 400 orders."""
    for seed in range(400):
        chance = random.Random(seed)
        play = Play(seed, threads=4)
        play.engine.crew.blocking, play.engine.crew._mean = True, 1.0
        for _ in range(2):
            play.client([[QUICK, SLOW]], [0.0])
        for _ in range(2):
            play.client([[SLOW]], [chance.uniform(0, 150e-6)])
        play.run()
        assert play.most_for_others < NOTICED, f"seed {seed}"
