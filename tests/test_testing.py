"""What people's own tests get: the pytest fixture ``live_serve``, and Django's live-server tests on this server."""

from __future__ import annotations

import gc
import importlib.util
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, enumerate
from time import monotonic

import pytest
from live import eventually
from projects import copy_of, run

import server_core.testing
from server_core.engine.engine import DRAIN_IDLE_SECONDS
from server_core.testing import LiveServe

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]

FIXTURE = """
import json
import threading
import urllib.request

import pytest
from server_core.errors import ConfigError

seen = []


def application(environ, start_response):
    seen.append(environ["SERVER_SOFTWARE"])
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"path": environ["PATH_INFO"], "mount": environ["SCRIPT_NAME"], "size": len(body)}).encode()]


def ask(url, data=None):
    with urllib.request.urlopen(url, data) as answer:
        return json.load(answer)


def test_it_serves_in_this_process(live_serve):
    server = live_serve(application)
    assert ask(server.url + "/a")["path"] == "/a"
    assert ask(server.url + "/b", b"x" * 100_000)["size"] == 100_000
    assert seen == ["prefork-serve"] * 2


def test_settings_are_those_of_the_server(live_serve):
    server = live_serve(application, script_name="/shop", threads=1)
    assert ask(server.url + "/shop/cart") == {"path": "/cart", "mount": "/shop", "size": 0}
    with pytest.raises(urllib.error.HTTPError, match="413"):
        ask(live_serve(application, limit_request_body=10).url, b"x" * 11)


def test_a_wrong_setting_is_told(live_serve):
    with pytest.raises(ConfigError, match='threads: "many" .threads of live_serve. is not a whole number'):
        live_serve(application, threads="many")


@pytest.fixture
def app():
    return application


def test_the_fixture_app_is_the_application_unless_one_is_given(live_serve):
    assert ask(live_serve().url + "/c")["path"] == "/c"


def test_two_at_once_and_nobody_is_left_behind(live_serve):
    one, two = live_serve(application), live_serve(application)
    assert ask(one.url)["path"] == ask(two.url)["path"]
    assert one.port != two.port


def test_nothing_is_left_of_the_others():
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("live_serve")]
"""

LIVE = """
import urllib.request

from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import LiveServerTestCase
from django_serve.testing import LiveServeMixin
from shop.models import Product


class Live(LiveServeMixin, LiveServerTestCase):
    def test_the_server_sees_what_the_test_has_stored(self):
        Product.objects.create(name="Goose quill", slug="quill", price=3, stock=1)
        with urllib.request.urlopen(self.live_server_url) as answer:
            self.assertEqual(answer.headers["Server"], "prefork-serve")
            self.assertIn("Goose quill", answer.read().decode())


class LiveWithStatic(LiveServeMixin, StaticLiveServerTestCase):
    def test_files_are_found_by_their_finders(self):
        with urllib.request.urlopen(self.live_server_url + "/static/shop/shop.css") as answer:
            self.assertEqual(answer.headers["Content-Type"], "text/css")
"""


def test_the_fixture_serves_an_application_for_a_test(tmp_path: Path):
    (tmp_path / "test_mine.py").write_text(FIXTURE)
    status, text = run([*PYTEST, "test_mine.py"], tmp_path)
    assert status == 0, text
    assert "6 passed" in text


def descriptors() -> set[str]:
    """What this process has open, by what it is."""
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the list itself
            found.add(os.readlink(f"/proc/self/fd/{name}"))
    return found


def request(server: LiveServe, path: str = "/") -> socket.socket:
    """A client that keeps its connection, after its request."""
    client = socket.create_connection((server.host, int(server.port)), 10)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def test_a_view_that_hangs_leaves_nothing_behind_when_it_comes_back_after_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_core.testing, "STOP_SECONDS", 0.2)
    arrived, may_go = Event(), Event()

    def application(environ, start_response):
        arrived.set()
        may_go.wait(10)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"late"]

    before = descriptors()
    server = LiveServe(application)
    with request(server) as client:
        assert arrived.wait(10)
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            request(server)
        may_go.set()
        assert client.makefile("rb").read().endswith(b"late"), "it is left alone"
    name = f"live_serve {server.port}"
    eventually(lambda: not [thread for thread in enumerate() if thread.name == name])
    del server
    eventually(lambda: descriptors() <= before)


def test_a_test_may_stop_its_server_itself():
    """A second time would write to a descriptor that may be somebody else's by then."""
    with LiveServe(lambda *_: []) as server:
        server.stop()
        read, write = os.pipe()
        os.set_blocking(read, False)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def test_clients_that_wait_for_nothing_do_not_hold_up_the_end():
    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    before = descriptors()
    server = LiveServe(application)
    clients = [request(server) for _ in range(3)]
    for client in clients:
        assert client.recv(1000).endswith(b"ok")
    began = monotonic()
    server.stop()
    took = monotonic() - began
    for client in clients:
        assert client.recv(1000) == b""
        client.close()
    del server
    assert descriptors() <= before
    assert took < DRAIN_IDLE_SECONDS, "that is for production"


@pytest.mark.skipif(not importlib.util.find_spec("django"), reason="Django is not installed")
def test_djangos_live_server_tests_run_on_this_server(tmp_path: Path):
    project = copy_of("django_shop", tmp_path)
    (project / "shop" / "tests.py").write_text(LIVE)
    status, text = run([sys.executable, "-W", "error", "manage.py", "test"], project)
    assert status == 0, text
    assert "Ran 2 tests" in text
