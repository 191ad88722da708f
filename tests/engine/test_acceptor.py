"""Listeners that are not looked at for a while, because there is no room or because others should have the clients:
each is taken out once, and put back once, whatever comes together."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from server_core.engine.acceptor import LEAVE_SECONDS, Acceptor
from server_core.engine.clients import Clients
from server_core.engine.poller import Poller
from server_core.engine.site import Site
from server_core.scoreboard import Scoreboard


class Scene:
    """One worker's acceptor on a real listener and a real poller; another worker has no connections."""

    def __init__(self, listener: socket.socket, exclusive: bool = False) -> None:
        board = Scoreboard(4)
        board.share(1).tell(0)
        self.clients = Clients(1000, board.share(2))
        self.clients.update(dict.fromkeys(range(1000, 1100)))  # type: ignore[arg-type]
        self.full = False
        self.taken: list[socket.socket] = []
        self.poller = Poller()
        self.descriptor = listener.fileno()
        log = logging.Logger("silent")
        self.acceptor = Acceptor(
            [Site(listener, {})], self.poller, self._admit, lambda: self.full, self.clients, exclusive, log
        )

    def _admit(self, sock: socket.socket, peer: object, site: Any) -> None:
        self.taken.append(sock)

    def told(self) -> bool:
        return bool(self.poller.poll(0, -1))

    def turns(self, count: int = 1) -> None:
        for _ in range(count):
            self.acceptor.next_turn(monotonic() + 2 * LEAVE_SECONDS)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with socket.create_connection(listener.getsockname()):
            scene = Scene(listener)
            yield scene
            for sock in scene.taken:
                sock.close()


def test_a_client_is_left_to_others_and_then_taken(scene: Scene):
    scene.acceptor.take(scene.descriptor, busy=False)
    assert not scene.taken
    assert not scene.told()
    scene.turns()
    assert scene.told()
    scene.acceptor.take(scene.descriptor, busy=False)
    assert len(scene.taken) == 1


def test_a_listener_may_be_left_twice(scene: Scene):
    """An event that was put off, and the same one told again."""
    scene.acceptor.take(scene.descriptor, busy=False)
    scene.acceptor.take(scene.descriptor, busy=False)
    scene.turns()
    assert scene.told()


def test_a_listener_may_be_left_that_is_paused_already(scene: Scene):
    scene.full = True
    scene.acceptor.accept(scene.descriptor)
    scene.acceptor.take(scene.descriptor, busy=False)
    scene.turns()
    assert not scene.told()
    scene.full = False
    scene.acceptor.resume()
    assert scene.told()


def test_a_listener_may_be_paused_that_is_left_already(scene: Scene):
    scene.acceptor.take(scene.descriptor, busy=False)
    scene.full = True
    scene.acceptor.accept(scene.descriptor)
    scene.turns()
    scene.acceptor.resume()
    assert scene.told()


def test_who_insists_does_so_for_two_turns_only(scene: Scene):
    scene.acceptor.take(scene.descriptor, busy=True)
    scene.turns(3)
    scene.acceptor.take(scene.descriptor, busy=True)
    assert not scene.taken
    scene.turns(2)
    scene.acceptor.take(scene.descriptor, busy=True)
    assert len(scene.taken) == 1


def test_a_listener_that_is_left_can_be_closed(scene: Scene):
    scene.acceptor.take(scene.descriptor, busy=False)
    scene.acceptor.close()
    assert len(scene.taken) == 1
    scene.turns()
    scene.acceptor.resume()
    assert not scene.told()


def test_nothing_is_taken_out_that_is_closed(scene: Scene):
    """By a thread that was about to, when another one closed it."""
    scene.acceptor.close()
    scene.acceptor.take(scene.descriptor, busy=False)
    scene.turns()
    assert not scene.told()


def test_who_lines_up_behind_the_others_is_still_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        scene = Scene(listener, exclusive=True)
        for number in (1, 2):
            with socket.create_connection(listener.getsockname()):
                assert scene.told()
                scene.acceptor.take(scene.descriptor, busy=False)
                assert len(scene.taken) == number
                scene.taken[-1].close()
        assert not scene.told()


def test_a_listener_that_is_paused_does_not_line_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        scene = Scene(listener, exclusive=True)
        scene.full = True
        with socket.create_connection(listener.getsockname()):
            scene.acceptor.take(scene.descriptor, busy=False)
            assert not scene.told()
            scene.acceptor.resume()
            assert scene.told()
