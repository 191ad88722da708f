"""Clients that never stop asking, through nginx, while the server and nginx reload: not one request fails.

Half of what they send is POST, which nginx never sends again: what the server does not answer is a 502.
"""

from __future__ import annotations

import http.client
import signal
import threading
from collections import Counter
from collections.abc import Callable

import pytest
from behind_nginx import Nginx, Site
from live import PATIENCE, eventually


class Clients:
    """So many clients with kept connections to nginx, in a ``with`` block; ``told`` counts their answers by status.

    One that gets no answer counts as that, and its client comes again.
    """

    def __init__(self, nginx: Nginx, count: int) -> None:
        self.nginx = nginx
        self.told: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=(number,)) for number in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    @property
    def sum(self) -> int:
        return sum(self.told.values())

    def go_on(self, count: int) -> None:
        """Wait for so many answers more."""
        aim = self.sum + count
        eventually(lambda: self.sum >= aim)

    def _go_on(self, number: int) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._enough.is_set():
            if connection is None:
                connection = http.client.HTTPConnection("shop.example")
                connection.sock = self.nginx.connect()
            outcome = self._ask(connection, number)
            with self._lock:
                self.told[outcome] += 1
            number += 1
            if outcome != "200" or connection.sock is None:  # which was announced
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> str:
        body = b"x" * (number % 3000)
        try:
            if number % 2:
                connection.request("POST", "/echo", body)
            else:
                connection.request("GET", f"/whole/{len(body)}")
            reply = connection.getresponse()
            got = reply.read()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        if len(got) != len(body) and reply.status == 200:
            return "another body"
        return str(reply.status)


@pytest.fixture
def pair(build: Callable[..., Site], kind: str, worker_class: list[str]) -> Site:
    """Two workers behind nginx."""
    return build(kind, ["--workers", "2", *worker_class])


def test_five_reloads_of_the_server_under_load(pair: Site):
    with Clients(pair.nginx, 6) as clients:
        clients.go_on(200)
        for generation in range(2, 7):
            pair.server.signal(signal.SIGHUP)
            pair.server.read_until(f"Generation {generation} has taken over")
            clients.go_on(100)
    assert set(clients.told) == {"200"}, pair.nginx.log
    assert not [line for line in pair.nginx.lines if " upstream=200" not in line]
    assert "ERROR" not in pair.server.text


def test_three_reloads_of_nginx_under_load(pair: Site):
    """nginx ends idle connections of its clients, one of whom may just be sending: those come again."""
    with Clients(pair.nginx, 6) as clients:
        clients.go_on(100)
        for _ in range(3):
            pair.nginx.reload()
            clients.go_on(100)
    unheard = {"RemoteDisconnected", "BrokenPipeError", "ConnectionResetError"}
    assert clients.told["200"] >= 400
    assert set(clients.told) <= {"200", *unheard}, pair.nginx.log
    assert not [line for line in pair.nginx.lines if " upstream=200" not in line]
