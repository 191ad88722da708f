"""Knows who leads after whom; the threads are real ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from live import eventually

from server_core.engine.crew import Crew, Seat


class Followers:
    """Threads that park one after the other, and say their names when they lead."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.leads: SimpleQueue[str] = SimpleQueue()
        self.threads: list[threading.Thread] = []

    def park(self, name: str) -> None:
        before = len(self.crew.parked)
        thread = threading.Thread(target=self._follow, args=(name,))
        self.threads.append(thread)
        thread.start()
        eventually(lambda: len(self.crew.parked) > before)

    def _follow(self, name: str) -> None:
        if self.crew.wait_to_lead(Seat(), lambda: None):
            self.leads.put(name)


@pytest.fixture
def crew() -> Crew:
    return Crew()


@pytest.fixture
def followers(crew: Crew) -> Iterator[Followers]:
    """Two that are parked, behind a leader."""
    followers = Followers(crew)
    assert crew.wait_to_lead(Seat(), lambda: None)
    followers.park("first")
    followers.park("second")
    yield followers
    crew.disband()
    for thread in followers.threads:
        thread.join()


def test_a_stuck_leader_is_followed_by_who_has_parked_last(crew: Crew, followers: Followers) -> None:
    crew.replace(crew.leader)
    assert followers.leads.get() == "second"


def test_who_steps_down_is_followed_by_who_has_parked_first_so_that_all_have_a_turn(
    crew: Crew, followers: Followers
) -> None:
    assert crew.leader is not None
    crew.step_down(crew.leader)
    crew.replace(None)
    assert followers.leads.get() == "first"
