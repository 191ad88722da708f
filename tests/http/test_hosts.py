"""Which hosts are allowed, beside Django's judgement; live, that a foreign one is refused before its body is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live import LiveServer, receive_all
from projects import MANAGE_SERVE, copy_of

from server_core.config.layers import COMMAND_LINE, layer_from_mapping, resolve
from server_core.errors import ConfigError
from server_core.http.policy import host_is_allowed, valid_host


@pytest.mark.parametrize(
    ("host", "allowed", "is_allowed"),
    [
        ("shop.example", ["shop.example"], True),
        ("Shop.Example", ["shop.example"], True),
        ("shop.example", ["SHOP.example"], True),
        ("shop.example:8000", ["shop.example"], True),
        ("shop.example:", ["shop.example"], True),
        ("shop.example.", ["shop.example"], True),
        ("shop.example.:443", ["shop.example"], True),
        ("shop.example..", ["shop.example"], False),
        ("www.shop.example", ["shop.example"], False),
        ("www.shop.example", [".shop.example"], True),
        ("a.b.shop.example", [".shop.example"], True),
        ("shop.example", [".shop.example"], True),
        ("myshop.example", [".shop.example"], False),
        ("shop.example.evil", [".shop.example", "shop.example"], False),
        ("evil", ["other", "*"], True),
        ("evil", [], False),
        ("evil", [""], False),
        ("*", ["shop.example"], False),
        ("127.0.0.1:80", ["127.0.0.1"], True),
        ("127.0.0.10", ["127.0.0.1"], False),
        ("[::1]", ["[::1]"], True),
        ("[::1]:8000", ["[::1]"], True),
        ("[2001:DB8::1]", ["[2001:db8::1]"], True),
        ("[::1]", ["::1"], False),
        ("[::12]", ["[::1]"], False),
    ],
)
def test_hosts(host: str, allowed: list[str], is_allowed: bool) -> None:
    assert host_is_allowed(host, tuple(allowed)) is is_allowed


LABELS = st.text("abAB01-.", max_size=6)
NAMES = st.one_of(
    LABELS,
    st.sampled_from(["shop.example", "a.shop.example", "SHOP.EXAMPLE", "[::1]", "[fe80::1]", "127.0.0.1", "localhost"]),
)
HOSTS = st.tuples(NAMES, st.sampled_from(["", ".", ":", ":80", ".:80", ":99999", ":x"])).map("".join)
PATTERNS = st.lists(
    st.one_of(st.just("*"), NAMES, st.tuples(st.just("."), NAMES).map("".join), st.just(".shop.example")), max_size=4
)


@settings(max_examples=500)
@given(HOSTS.filter(valid_host), PATTERNS)
def test_django_says_the_same(host: str, allowed: list[str]) -> None:
    request = pytest.importorskip("django.http.request")
    domain, _ = request.split_domain_port(host)
    ours = host_is_allowed(host, tuple(allowed))
    if domain:
        assert ours == request.validate_host(domain, allowed)
    # Otherwise Django refuses whatever is allowed, and does so itself when we let it through (a port without digits).


def test_to_check_hosts_without_a_list_is_a_contradiction() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([layer_from_mapping(COMMAND_LINE, {"check_hosts": True}, "--check-hosts {}".format)])
    assert str(caught.value) == (
        "check_hosts is on (--check-hosts check_hosts) but allowed_hosts names nobody (default): name the hosts there, "
        "or leave check_hosts off."
    )


# --- real servers

APP = """
import json

CALLS = []

def app(environ, start_response):
    CALLS.append(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(CALLS).encode()]
"""

CHECKS = ("--check-hosts", "--allowed-host", "localhost", "--allowed-host", ".shop.example")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(APP)
    return tmp_path


def test_a_foreign_host_is_refused_before_its_body_and_before_the_application(
    project: Path, serve: Callable[..., LiveServer]
) -> None:
    arguments = ("-w", "1", "--access-logfile", "-", "--access-logformat", "%(m)s %(U)s %(s)s %({Host}i)s")
    server = serve(*CHECKS, *arguments, "mine:app", cwd=project)
    head = b"POST /upload HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(head)  # and nothing of the body
        sock.settimeout(5)
        answer = sock.recv(65536)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), "no 100 Continue first"
        sock.close()
    server.read_until(r"^POST /upload 400 evil\.example$")
    for host in ("evil.example", "shop.example.evil", "[::1]:80", "127.0.0.1"):
        asked = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        assert server.raw(asked, half_close=True).startswith(b"HTTP/1.1 400 "), host
    for host in ("localhost", "LOCALHOST:8000", "www.shop.example.", "shop.example:1"):
        asked = f"GET /{host} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        assert server.raw(asked).startswith(b"HTTP/1.1 200 "), host
    without = server.raw(b"GET /old HTTP/1.0\r\n\r\n")
    assert json.loads(without.rpartition(b"\r\n\r\n")[2]) == [
        "/localhost",
        "/LOCALHOST:8000",
        "/www.shop.example.",
        "/shop.example:1",
        "/old",  # it says of no host, and 1.0 may
    ]


def test_the_host_of_an_absolute_target_counts(project: Path, serve: Callable[..., LiveServer]) -> None:
    server = serve(*CHECKS, "mine:app", cwd=project)
    evil = b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert server.raw(evil, half_close=True).startswith(b"HTTP/1.1 400 ")
    good = b"GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert server.raw(good).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_changes_its_host_on_a_kept_connection_is_refused(
    project: Path, serve: Callable[..., LiveServer]
) -> None:
    server = serve(*CHECKS, "mine:app", cwd=project)
    with server.connect() as sock:
        for number in range(3):  # the second is recognized by its bytes
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 "), number
        sock.sendall(b"GET / HTTP/1.1\r\nHost: evilhost1\r\n\r\n")
        sock.shutdown(1)
        assert receive_all(sock).startswith(b"HTTP/1.1 400 ")


def test_nobody_is_refused_unless_hosts_are_checked(project: Path, serve: Callable[..., LiveServer]) -> None:
    server = serve("--allowed-host", "shop.example", "mine:app", cwd=project)
    assert server.get("/", host="evil.example").status == 200


def test_the_hosts_of_a_django_project_are_checked(tmp_path: Path, serve: Any) -> None:
    pytest.importorskip("django")
    shop = copy_of("django_shop", tmp_path)
    server = serve("--bind", "127.0.0.1:0", "--check-hosts", command=MANAGE_SERVE, cwd=shop)
    assert server.get("/healthz/", host="localhost:80").text == "ok\n"
    answer = server.get("/healthz/", host="evil.example")
    assert answer.status == 400
    assert "Invalid HTTP_HOST" not in server.text, "Django has not seen it"
