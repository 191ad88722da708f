"""Knows what is promised to those who put nginx in front: what arrives at the application, and at its clients."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from behind_nginx import CLIENT, Site, blocks, replaced
from certificates import Authority
from live import eventually
from tls_client import trusting
from wire import Gate, Wire

from server_core.settings import Timeouts

BODY = os.urandom(1 << 16) * 80  # 5 MB
CHUNKED = "Transfer-Encoding: chunked"
FORGED = (
    "X-Forwarded-For: 192.0.2.66",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Prefix: /evil",
    "X-Forwarded-User: root",
    "X-Forwarded-Ssl: on",
    "X-Real-IP: 192.0.2.66",
    "Forwarded: for=192.0.2.66;proto=https",
)


@pytest.fixture
def wire(site: Site) -> Iterator[Wire]:
    """A client's connection to nginx."""
    with Wire(site.nginx) as wire:  # type: ignore[arg-type]
        yield wire


def chunks(data: bytes, size: int) -> bytes:
    """``data`` as a chunked body."""
    pieces = [data[begin : begin + size] for begin in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def told(wire: Wire, *fields: str) -> dict[str, str]:
    """The environ of a request."""
    environ: dict[str, str] = json.loads(wire.get("/told", *fields).reply().body)
    return environ


def without_address(page: str) -> str:
    """The configuration, but that nginx does not tell the client's address: so the application sees nginx's port."""
    return replaced(page, "X-Forwarded-For $remote_addr", 'X-Forwarded-For ""')


def inside(pid: int) -> set[str]:
    """The connections that a worker has: all of its sockets, by the kernel's numbers."""
    links = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{entry}"))
        except FileNotFoundError:
            pass
    return {link for link in links if link.startswith("socket:")}


class TestKeptConnections:
    def test_many_requests_of_a_client_come_on_one_connection(self, site: Site, wire: Wire):
        (worker,) = site.server.processes()
        assert wire.get("/first").reply().status == 200
        before = inside(worker)
        for number in range(200):
            assert wire.get(f"/{number}").reply().text == f"hello GET /{number}"
        assert inside(worker) == before

    def test_so_do_requests_of_clients_that_come_and_go(self, site: Site):
        (worker,) = site.server.processes()
        before = inside(worker)
        for number in range(50):
            with Wire(site.nginx) as wire:  # type: ignore[arg-type]
                assert wire.get(f"/{number}", "Connection: close").reply().status == 200
        assert len(inside(worker) - before) <= 1

    def test_twenty_clients_at_once_take_no_more_connections_than_they_are(self, site: Site):
        def ask(_: int) -> None:
            with Wire(site.nginx) as wire:  # type: ignore[arg-type]
                for number in range(25):
                    assert wire.get(f"/{number}").reply().status == 200

        (worker,) = site.server.processes()
        before = inside(worker)
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(ask, range(20)))
        assert len(inside(worker) - before) <= 20


def test_500_requests_make_one_connection(build: Callable[..., Site], worker_class: list[str]):
    site = build("tcp", ["--workers", "1", *worker_class], change=without_address)
    with Wire(site.nginx) as wire:  # type: ignore[arg-type]
        ports = [told(wire)["REMOTE_PORT"] for _ in range(500)]
    assert all(ports)
    assert len(set(ports)) == 1


class TestUploads:
    @pytest.mark.parametrize("page", ["digest", "upload"])  # the second is where nginx does not buffer
    @pytest.mark.parametrize("framing", ["length", "chunked"])
    @pytest.mark.parametrize("size", [0, 1, 100_000, len(BODY)])
    def test_they_arrive_whole(self, wire: Wire, page: str, framing: str, size: int):
        body = BODY[:size]
        if framing == "length":
            wire.get(f"/{page}/", f"Content-Length: {size}", method="POST").send(body)
        else:
            wire.get(f"/{page}/", CHUNKED, method="POST").send(chunks(body, 10_007))
        assert wire.reply().text.split()[:2] == [str(size), hashlib.sha256(body).hexdigest()]
        assert wire.get("/next").reply().text == "hello GET /next"

    @pytest.mark.parametrize("page", ["digest", "upload"])
    def test_a_client_that_awaits_100_continue_gets_it(self, wire: Wire, page: str):
        wire.get(f"/{page}/", "Content-Length: 5", "Expect: 100-continue", method="POST")
        assert wire.head().status == 100
        assert wire.send(b"hello").reply().text.startswith("5 ")

    @pytest.mark.parametrize("page", ["digest", "upload"])
    def test_too_large_ones_are_413_and_not_502(self, build: Callable[..., Site], kind: str, page: str):
        """The server answers before it has read them, and is still listened to."""
        site = build(kind, ["--workers", "1", "--limit-request-body", "1MB"])
        with Wire(site.nginx) as wire:  # type: ignore[arg-type]
            wire.get(f"/{page}/", f"Content-Length: {len(BODY)}", method="POST")
            try:
                wire.send(BODY)
            except (BrokenPipeError, ConnectionResetError):
                pass  # nginx has answered, and does not listen any more
            assert wire.reply().status == 413

    def test_unbuffered_ones_are_refused_before_they_end(self, build: Callable[..., Site], kind: str):
        """So they reach the server while the client sends."""
        site = build(kind, ["--workers", "1", "--limit-request-body", "1MB"])
        with Wire(site.nginx) as wire:  # type: ignore[arg-type]
            wire.get("/upload/", CHUNKED, method="POST")
            try:
                wire.send(b"%x\r\n" % len(BODY) + BODY[: 3 << 19])
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert wire.reply().status == 413


class TestStreams:
    @pytest.mark.parametrize("target", ["/events/?", "/blocks?unbuffered=1&"])
    @pytest.mark.parametrize("framing", ["chunked", "length"])
    def test_a_block_arrives_before_the_next_one_is_made(self, wire: Wire, tmp_path: Path, target: str, framing: str):
        """nginx keeps those of an answer that has a length, unless it is told otherwise."""
        one, other = Gate(tmp_path / "one"), Gate(tmp_path / "other")
        length = "&length=16" if framing == "length" else ""
        wire.get(f"{target}path={one.path}&again={other.path}{length}")
        assert wire.head().status == 200
        for block, gate in ((b"first", one), (b"second", other), (b"third", None)):
            assert (wire.file.read(len(block)) if length else wire.chunk()) == block
            if gate is not None:
                gate.open()
        assert wire.get("/next").reply().text == "hello GET /next" if length else wire.chunk() == b""
        one.close()
        other.close()

    def test_a_long_one_arrives_whole(self, wire: Wire):
        assert len(wire.get("/chunked/20000000").reply().body) == 20_000_000

    def test_one_that_fails_does_not_look_whole(self, wire: Wire):
        wire.get("/late")
        assert wire.head().status == 200
        assert not wire.rest().endswith(b"0\r\n\r\n")


class TestTheClient:
    def test_its_address_is_told(self, wire: Wire):
        environ = told(wire)
        assert environ["REMOTE_ADDR"] == CLIENT
        assert environ["wsgi.url_scheme"] == "http"
        assert environ["HTTP_HOST"] == "shop.example"

    def test_nothing_that_it_forges_reaches_the_application(self, wire: Wire):
        assert told(wire, *FORGED) == told(wire)

    def test_it_came_by_https_when_nginx_spoke_it(
        self, build: Callable[..., Site], kind: str, tmp_path_factory: pytest.TempPathFactory
    ):
        authority = Authority(tmp_path_factory.mktemp("certificates"))
        site = build(kind, ["--workers", "1"], certificate=authority.make("shop"), secure=trusting(str(authority.path)))
        with Wire(site.nginx) as wire:  # type: ignore[arg-type]
            environ = told(wire, "X-Forwarded-Proto: http")
            assert environ["wsgi.url_scheme"] == "https"
            assert environ["REMOTE_ADDR"] == CLIENT
            assert len(wire.get("/whole/1000000").reply().body) == 1_000_000


class TestHeads:
    def test_large_ones_arrive(self, wire: Wire):
        cookies = "; ".join(f"c{number}={'x' * 500}" for number in range(15))
        environ = told(wire, f"Cookie: {cookies}", *(f"X-Field-{number}: {'y' * 2000}" for number in range(8)))
        assert environ["HTTP_COOKIE"] == cookies
        assert environ["HTTP_X_FIELD_7"] == "y" * 2000

    def test_large_ones_of_answers_arrive(self, wire: Wire):
        reply = wire.get("/head/14").reply()
        assert reply.status == 200
        assert reply.body == b"a large head"

    def test_a_path_arrives_as_it_was_sent(self, wire: Wire):
        reply = json.loads(wire.get("/told/a%2Fb//c%20%C3%A9?x=%26").reply().body)
        assert reply["RAW_URI"] == "/told/a%2Fb//c%20%C3%A9?x=%26"

    def test_early_hints_break_nothing(self, wire: Wire):
        """By TCP nginx is a proxy because it is believed, by a unix socket because nobody else comes there."""
        assert len(wire.get("/hints/100000").reply().body) == 100_000


def test_an_offer_of_another_protocol_to_a_wsgi_application_is_answered_as_any_request(
    build: Callable[..., Site], kind: str, worker_class: list[str]
):
    """With the lines for websockets; and connections are still shared."""
    site = build(kind, ["--workers", "1", *worker_class], websockets=True)
    (worker,) = site.server.processes()
    offer = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    with Wire(site.nginx) as wire:  # type: ignore[arg-type]
        environ = told(wire, *offer)
        assert environ["HTTP_UPGRADE"] == "websocket"
        assert environ["HTTP_CONNECTION"] == "upgrade"
        assert "HTTP_CONNECTION" not in told(wire)
        before = inside(worker)
        for number in range(20):
            assert wire.get(f"/{number}").reply().status == 200
        assert inside(worker) == before
        assert wire.get("/status/101", *offer).reply().status == 500
        assert wire.get("/next").reply().status == 200


@pytest.mark.parametrize(("of_nginx", "of_the_server", "first"), [("1s", "20s", "nginx"), ("60s", "1s", "the server")])
def test_an_idle_connection_is_ended_by_whose_time_is_shorter(
    build: Callable[..., Site], worker_class: list[str], of_nginx: str, of_the_server: str, first: str
):
    """Who ends a TCP connection is left with its port in TIME_WAIT."""

    def change(page: str) -> str:
        return without_address(replaced(page, "keepalive_timeout 60s;", f"keepalive_timeout {of_nginx};"))

    site = build("tcp", ["--workers", "1", *worker_class, "--keep-alive", of_the_server], change=change)
    with Wire(site.nginx) as wire:  # type: ignore[arg-type]
        ends = [f":{int(port):04X}" for port in (told(wire)["REMOTE_PORT"], site.server.address[1])]

    def who() -> str:
        for line in Path("/proc/net/tcp").read_text().splitlines():
            _, ours, theirs, state, *_ = line.split()
            pair = [ours[-5:], theirs[-5:]]
            if state == "06" and pair in (ends, ends[::-1]):
                return "nginx" if pair == ends else "the server"
        return ""

    assert eventually(who) == first


def test_the_page_has_nginx_end_idle_connections():
    seconds = re.search(r"keepalive_timeout (\d+)s;", blocks("nginx")[0])
    assert seconds is not None
    assert int(seconds[1]) + 10 <= Timeouts().keepalive
