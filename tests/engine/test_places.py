"""Knows what becomes of a thread that waits for its client; the clients here are simple ones, the threads real."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from server_core.engine import places as module
from server_core.engine.places import Places


class Client:
    def __init__(self, pace: float) -> None:
        self._pace = pace
        self.is_cut = False

    def pace(self) -> float:
        return self._pace

    def cut(self) -> None:
        self.is_cut = True


@pytest.fixture
def gone() -> Iterator[threading.Event]:
    """Set at the end of the test: then all substitutes come back."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def places(gone: threading.Event) -> Iterator[Places]:
    places = Places(lambda: gone.wait() and None, lambda: None)
    yield places
    gone.set()
    places.close()
    places.join()


def test_when_too_many_wait_the_one_with_the_slowest_client_gives_up(places, monkeypatch):
    monkeypatch.setattr(module, "MOST_AWAY", 3)
    clients = [Client(pace) for pace in (30.0, 10.0, 20.0, 40.0, 50.0)]
    for client in clients:
        assert places.leave(client)
    assert [client.is_cut for client in clients] == [False, True, True, False, False]


def test_who_has_been_cut_comes_back_like_everybody_else(places, monkeypatch):
    monkeypatch.setattr(module, "MOST_AWAY", 1)
    first, second = Client(1.0), Client(2.0)
    places.leave(first)
    places.leave(second)
    assert first.is_cut
    for client in (first, second):
        thread = threading.Thread(target=places.come_back, args=(client,))
        thread.start()
        while not places.wanted:
            pass
        assert places.hand_over(substitute=True), "the substitute's place is wanted, so it ends"
        thread.join()
    third = Client(3.0)
    places.leave(third)
    assert not third.is_cut


def test_a_place_goes_to_one_that_would_serve_before_another_thread_is_started(places):
    waiting = threading.Thread(target=places.come_back, args=(Client(1.0),))
    waiting.start()
    while not places.wanted:
        pass
    spare = threading.Thread(target=places.hand_over, args=(False,))
    spare.start()  # gives its place to the one that wants to go on, and waits for another
    waiting.join()
    while not places.spare:
        pass
    before = threading.active_count()
    places.leave(Client(1.0))
    spare.join()
    assert threading.active_count() == before - 1


def test_when_all_is_over_nobody_waits_and_nobody_leaves(places, gone):
    waiting = threading.Thread(target=places.come_back, args=(Client(1.0),))
    waiting.start()
    places.close()
    waiting.join()
    assert not places.leave(Client(1.0))
    places.come_back(Client(1.0))


def test_join_waits_for_the_last_substitute(places, gone):
    places.leave(Client(1.0))
    joined = threading.Event()
    threading.Thread(target=lambda: (places.join(), joined.set())).start()
    assert not joined.wait(0.1)
    gone.set()
    assert joined.wait(10)
