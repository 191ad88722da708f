"""Knows what no client can have: more than its share of size, time, connections, memory and disk."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from live import LiveServer, eventually
from wire import Wire, request

MB = 1 << 20
SMALL = 8192  # a receive buffer that is full at once
CHUNKED = "Transfer-Encoding: chunked"
Start = Callable[..., LiveServer]


def post(wire: Wire, target: str, length: int, *fields: str) -> Wire:
    """The head of a request whose body follows, or does not."""
    return wire.get(target, f"Content-Length: {length}", *fields, method="POST")


class TestBodySize:
    @pytest.fixture
    def small(self, start: Start) -> LiveServer:
        return start("--limit-request-body", "1000")

    def test_a_body_of_the_largest_size_is_taken(self, small: LiveServer):
        with Wire(small) as wire:
            assert post(wire, "/echo", 1000).send(b"x" * 1000).reply().body == b"x" * 1000
            wire.get("/echo", CHUNKED, method="POST").send(b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n")
            assert wire.reply().body == b"x" * 1000

    def test_a_stated_length_beyond_it_is_refused_before_the_body_comes(self, small: LiveServer):
        with Wire(small) as wire:
            reply = post(wire, "/echo", 1001).reply()
            assert (reply.status, reply.headers["connection"]) == (413, "close")
            assert wire.rest() == b""

    def test_a_client_that_waits_for_the_word_to_go_on_is_not_told_to(self, small: LiveServer):
        with Wire(small) as wire:
            assert post(wire, "/echo", 1001, "Expect: 100-continue").reply().status == 413

    def test_chunks_are_refused_as_soon_as_they_are_too_much(self, small: LiveServer):
        with Wire(small) as wire:
            wire.get("/echo", CHUNKED, method="POST").send(b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n")
            assert wire.reply().status == 413

    def test_a_client_that_sends_all_of_a_large_upload_first_reads_the_refusal(self, small: LiveServer):
        """As most client libraries do: a reset would take the answer from them."""
        size = 20 * MB
        with Wire(small) as wire:
            post(wire, "/echo", size)
            for _ in range(20):
                wire.send(b"x" * MB)
            assert wire.half_close().reply().status == 413
            assert wire.rest() == b""

    def test_so_does_one_whose_body_turns_out_to_be_malformed(self, small: LiveServer):
        with Wire(small) as wire:
            wire.get("/echo", CHUNKED, method="POST").send(b"no size\r\n")
            for _ in range(20):
                wire.send(b"x" * MB)
            assert wire.half_close().reply().status == 400


class TestAccount:
    def test_the_access_log_says_which_request_was_refused_when_its_head_could_be_read(self, start: Start):
        server = start("--limit-request-body", "10", "--access-logfile", "-")
        with Wire(server) as wire:
            post(wire, "/upload?a=b", 11, 'User-Agent: a "probe"').reply()
        server.read_until(r'"POST /upload\?a=b HTTP/1\.1" 413 - "-" "a \\"probe\\""')
        with Wire(server) as wire:
            wire.get("/chunks", CHUNKED, method="POST").send(b"b\r\n").reply()
        server.read_until(r'"POST /chunks HTTP/1\.1" 413')
        with Wire(server) as wire:
            wire.get("/tea", "Expect: tea").reply()
        server.read_until(r'"GET /tea HTTP/1\.1" 417')
        with Wire(server) as wire:
            wire.send(b"GET /<script>\r\n\r\n").reply()
        server.read_until(r'"- - -" 400')


class TestPages:
    @pytest.mark.parametrize(
        ("accept", "kind", "body"),
        [
            ("text/html,*/*;q=0.8", "text/html; charset=utf-8", "<h1>417 Expectation Failed</h1>"),
            ("application/json", "application/json", '{"status": 417, "title": "Expectation Failed"}'),
            ("*/*", "text/plain; charset=utf-8", "417 Expectation Failed\n"),
        ],
    )
    def test_a_refusal_has_the_form_that_the_client_likes(self, wire: Wire, accept: str, kind: str, body: str):
        reply = wire.get("/", "Expect: a miracle", f"Accept: {accept}").reply()
        assert (reply.status, reply.headers["content-type"]) == (417, kind)
        assert body in reply.text

    def test_so_has_the_failure_of_the_application(self, wire: Wire):
        reply = wire.get("/fail", "Accept: application/json").reply()
        assert (reply.status, json.loads(reply.body)["title"]) == (500, "Internal Server Error")

    def test_the_refusal_of_a_head_request_has_no_body(self, wire: Wire):
        reply = wire.get("/", "Expect: a miracle", method="HEAD").reply("HEAD")
        assert (reply.status, reply.headers["content-length"]) == (417, "23")
        assert wire.rest() == b""

    def test_nothing_of_the_request_is_in_a_refusal(self, wire: Wire):
        wire.send(b"GET /<script> HTTP/1.1\r\nHost: <script>\r\nX: <script>\r\nAccept: text/html\r\n\r\n")
        assert b"script" not in wire.rest()

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [((), "prefork-serve"), (("--server-header", "Shop 1.0"), "Shop 1.0"), (("--server-header", ""), None)],
    )
    def test_the_server_field_is_what_the_setting_says(self, start: Start, arguments: tuple[str, ...], expected: str):
        with Wire(start(*arguments)) as wire:
            assert wire.get().reply().headers.get("server") == expected
            assert wire.send(b"\0").reply().headers.get("server") == expected


class TestSmallerLimits:
    def test_trailers(self, start: Start):
        server = start("--limit-request-trailers", "64")
        for size, status in ((50, 200), (80, 431)):
            with Wire(server) as wire:
                wire.get("/echo", CHUNKED, method="POST").send(b"0\r\nX: " + b"x" * size + b"\r\n\r\n")
                assert wire.reply().status == status

    def test_chunk_extensions(self, start: Start):
        server = start("--limit-chunk-extensions", "64")
        for size, status in ((50, 200), (80, 400)):
            with Wire(server) as wire:
                wire.get("/echo", CHUNKED, method="POST").send(b"0;" + b"x" * size + b"\r\n\r\n")
                assert wire.reply().status == status

    def test_requests_on_a_connection(self, start: Start):
        with Wire(start("--keepalive-requests", "3")) as wire:
            wire.send(request("/1") + request("/2") + request("/3") + request("/4"))
            replies = [wire.reply() for _ in range(3)]
            assert [reply.headers.get("connection") for reply in replies] == [None, None, "close"]
            assert wire.rest() == b""

    def test_bodies_go_to_files_when_there_is_no_memory_for_all_of_them(self, start: Start):
        server = start("--limit-buffer-memory", "100000")
        body = b"x" * 60_000
        with Wire(server) as first, Wire(server) as second:
            # The first body is not whole yet, so its memory is taken.
            post(first, "/digest", len(body)).send(body[:-1])
            eventually(lambda: self.kept(server, body[:-1]) == "file")
            assert first.send(body[-1:]).reply().text.split()[2] == "memory"
            assert post(second, "/digest", len(body)).send(body).reply().text.split()[2] == "memory"

    def kept(self, server: LiveServer, body: bytes) -> str:
        with Wire(server) as wire:
            return post(wire, "/digest", len(body)).send(body).reply().text.split()[2]

    def test_a_body_for_which_there_is_no_room_on_the_disk_is_answered_503(self, start: Start):
        server = start("--limit-temp-space", "100000", "--body-buffer-size", "1000")
        with Wire(server) as wire:
            reply = post(wire, "/digest", 100_001).send(b"x" * 100_001).reply()
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        server.read_until(r"A request body cannot be kept in a temporary file: .*\(limit_temp_space\)")
        for _ in range(3):  # the room is given back each time
            assert self.kept(server, b"x" * 90_000) == "file"

    def test_a_stream_for_which_there_is_no_room_waits_for_its_client_and_arrives_whole(self, start: Start):
        server = start("--limit-temp-space", "0", "--limit-buffer-memory", "100000")
        size = 20 * MB
        block = bytes(range(256)) * 256
        with Wire(server, SMALL) as slow:
            slow.get(f"/big/{size}").head()
            assert slow.digest(size) == hashlib.sha256(block * (size // len(block))).hexdigest()
            assert slow.get("/next").reply().text == "hello GET /next"


class TestConnections:
    def test_the_one_that_has_waited_longest_makes_room_for_a_new_one(self, start: Start):
        server = start("--worker-connections", "3")
        with ExitStack() as stack:
            idle = [stack.enter_context(Wire(server)) for _ in range(3)]
            for wire in idle:
                assert wire.get().reply().status == 200
            with Wire(server) as fourth:
                assert fourth.get().reply().status == 200
                assert idle[0].rest() == b""
                for wire in (*idle[1:], fourth):
                    assert wire.get().reply().status == 200

    def test_a_half_sent_head_does_not_keep_others_out(self, start: Start):
        server = start("--worker-connections", "3")
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(Wire(server)).send(b"GET / HTTP/1.1\r\n")
            with Wire(server) as fourth:
                assert fourth.get().reply().status == 200

    def test_those_that_were_refused_and_go_on_sending_do_not_keep_others_out(self, start: Start):
        server = start("--worker-connections", "3", "--limit-request-body", "1")
        with ExitStack() as stack:
            for _ in range(3):
                assert post(stack.enter_context(Wire(server)), "/", 1000).send(b"x").reply().status == 413
            with Wire(server) as fourth:
                began = time.monotonic()
                assert fourth.get().reply().status == 200
                assert time.monotonic() - began < 4

    def test_silent_proxies_do_not_keep_others_out(self, start: Start):
        server = start("--worker-connections", "3", "--proxy-protocol", "any", "--proxy-allow-ips", "127.0.0.1")
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(Wire(server))
            with Wire(server) as fourth:
                fourth.send(TestProxyProtocol.LINE)
                began = time.monotonic()
                assert fourth.get().reply().status == 200
                assert time.monotonic() - began < 4

    def busy(self, server: LiveServer, stack: ExitStack, count: int = 3) -> list[Wire]:
        """Connections in the middle of a body, all of which the server has."""
        wires = []
        for _ in range(count):
            wires.append(stack.enter_context(Wire(server)))
            post(wires[-1], "/echo", 2, "Expect: 100-continue")
            assert wires[-1].head().status == 100
        return wires

    def test_when_all_are_busy_a_new_client_waits_in_the_queue(self, start: Start):
        server = start("--worker-connections", "3")
        with ExitStack() as stack:
            busy = self.busy(server, stack)
            fourth = stack.enter_context(Wire(server))
            fourth.get()
            server.read_until(
                r"Cannot accept a connection: all connections of this worker are busy "
                r"\(worker_connections, full_policy\)"
            )
            assert busy[0].send(b"hi").reply().body == b"hi"
            assert fourth.reply().status == 200
            for wire in busy[1:]:
                assert wire.send(b"hi").reply().body == b"hi"

    def test_when_all_are_busy_a_new_client_is_refused_if_that_is_the_policy(self, start: Start):
        server = start("--worker-connections", "3", "--full-policy", "refuse")
        with ExitStack() as stack:
            busy = self.busy(server, stack)
            for _ in range(3):
                with Wire(server) as fourth:
                    reply = fourth.get().reply()
                    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
                    assert fourth.rest() == b""
            assert busy[0].send(b"hi").reply().body == b"hi"
            eventually(lambda: self.status_of_a_new_client(server) == 200)

    def status_of_a_new_client(self, server: LiveServer) -> int:
        with Wire(server) as wire:
            return wire.get().reply().status

    @pytest.mark.parametrize("policy", ["wait", "refuse"])
    def test_nobody_is_cut_off_in_a_rush(self, start: Start, policy: str):
        """A client that has just come has sent its request, which nobody has read yet: it is not waited for."""
        server = start("--worker-connections", "5", "--full-policy", policy)
        statuses = []
        with ExitStack() as stack:
            rush = [stack.enter_context(Wire(server)).get("/", "Connection: close") for _ in range(60)]
            for wire in rush:
                statuses.append(wire.reply().status)
                assert wire.rest() == b""
        assert set(statuses) <= ({200} if policy == "wait" else {200, 503})
        assert 200 in statuses

    def test_who_is_turned_away_reads_it_also_in_the_middle_of_an_upload(self, start: Start):
        server = start("--worker-connections", "3", "--full-policy", "refuse", "--access-logfile", "-")
        with ExitStack() as stack:
            self.busy(server, stack)
            for _ in range(3):
                wire = post(stack.enter_context(Wire(server)), "/echo", 5 * MB)
                for _ in range(5):
                    wire.send(b"x" * MB)
                assert wire.half_close().reply().status == 503
        server.read_until(r'"- - -" 503')

    def test_a_worker_takes_as_many_open_files_as_its_connections_need(self, server: LiveServer, worker: int):
        limits = Path(f"/proc/{worker}/limits").read_text()
        found = re.search(r"Max open files +(\d+) +(\d+)", limits)
        assert found
        assert int(found[1]) >= min(int(found[2]), 16384 + 1024)


class TestDataRate:
    def drip(self, wire: Wire, data: bytes, seconds: float) -> None:
        """A byte now and then until the server answers; fails when it never does."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                wire.sock.sendall(data)
            except OSError:
                return
            wire.sock.settimeout(0.1)
            try:
                if wire.sock.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                pass
            finally:
                wire.sock.settimeout(15)
        pytest.fail("nothing was said")

    @pytest.mark.parametrize("coding", ["Content-Length: 100000", CHUNKED])
    def test_a_body_that_drips_is_refused(self, start: Start, coding: str):
        with Wire(start("--body-timeout", "1s", "--min-data-rate", "1000")) as wire:
            wire.get("/echo", coding, method="POST")
            self.drip(wire, b"1\r\nx\r\n" if coding == CHUNKED else b"x", 8)
            assert wire.reply().status == 408

    @pytest.mark.parametrize("setting", ["--head-timeout", "--keep-alive", "--body-timeout"])
    def test_short_times_are_kept_too(self, start: Start, setting: str):
        with Wire(start(setting, "300ms")) as wire:
            began = time.monotonic()
            if setting == "--body-timeout":
                post(wire, "/echo", 10)
            elif setting == "--keep-alive":
                wire.get().reply()
            wire.rest()
            assert 0.3 <= time.monotonic() - began < 1.3

    def test_a_body_that_is_fast_on_average_may_pause(self, start: Start):
        with Wire(start("--body-timeout", "2s", "--min-data-rate", "1000")) as wire:
            post(wire, "/echo", 60_000).send(b"x" * 50_000)
            for _ in range(10):
                self.pause(wire, 0.4)
                wire.send(b"x" * 1000)
            assert len(wire.reply().body) == 60_000

    def test_without_a_rate_a_drip_is_waited_for(self, start: Start):
        with Wire(start("--body-timeout", "1s", "--min-data-rate", "0")) as wire:
            post(wire, "/echo", 16)
            for _ in range(16):
                self.pause(wire, 0.25)
                wire.send(b"x")
            assert wire.reply().body == b"x" * 16

    def pause(self, wire: Wire, seconds: float) -> None:
        """Wait, and see that the server says nothing meanwhile."""
        wire.sock.settimeout(seconds)
        with pytest.raises(TimeoutError):
            wire.sock.recv(1, socket.MSG_PEEK)
        wire.sock.settimeout(15)

    def test_a_reader_that_drips_is_cut_off(self, start: Start):
        server = start("--write-timeout", "1s", "--min-data-rate", "1MB")
        with Wire(server, SMALL) as slow:
            slow.get(f"/whole/{20 * MB}").head()
            began = time.monotonic()
            with pytest.raises((AssertionError, ConnectionError)):
                self.drip_out(slow)
            assert time.monotonic() - began < 10

    def drip_out(self, wire: Wire) -> None:
        """A little of an answer now and then, until there is no more."""
        while wire.digest(2000):
            time.sleep(0.02)  # the pace of the client is what the test is about

    def test_a_slow_reader_is_not_taken_for_a_silent_one(self, start: Start):
        """The kernel asks for more only when a good part of its buffer is free, which takes this client longer."""
        server = start("--write-timeout", "1s", "--min-data-rate", "0")
        size = 6 * MB
        with Wire(server, SMALL) as slow:
            slow.get(f"/whole/{size}").head()
            left = size
            while left > 4 * MB:
                self.read_within(slow, 0.05)
                slow.digest(40_000)
                left -= 40_000
            slow.digest(left)
            assert slow.get("/next").reply().text == "hello GET /next"

    def read_within(self, wire: Wire, seconds: float) -> None:
        time.sleep(seconds)  # the pace of the client is what the test is about


class TestProxyProtocol:
    LINE = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"
    HEADER = bytes.fromhex("0d0a0d0a000d0a515549540a2111") + struct.pack(
        "!H4s4sHH", 12, b"\xc0\0\2\x08", bytes(4), 1, 2
    )

    @pytest.fixture
    def proxied(self, start: Start) -> LiveServer:
        return start("--proxy-protocol", "any", "--proxy-allow-ips", "127.0.0.1")

    def told(self, wire: Wire, *fields: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(wire.get("/told", *fields).reply().body)
        return found

    @pytest.mark.parametrize(
        ("introduction", "client"), [(LINE, ("192.0.2.7", "4711")), (HEADER, ("192.0.2.8", "1"))], ids=["v1", "v2"]
    )
    def test_the_client_is_the_one_that_the_proxy_names(
        self, proxied: LiveServer, introduction: bytes, client: tuple[str, str]
    ):
        with Wire(proxied) as wire:
            wire.send(introduction)
            for _ in range(2):
                told = self.told(wire)
                assert (told["REMOTE_ADDR"], told["REMOTE_PORT"]) == client
        with Wire(proxied) as wire:
            for byte in introduction + request("/"):
                wire.send(bytes([byte]))
            assert wire.reply().status == 200
        with Wire(proxied) as wire:
            assert wire.send(introduction + request("/1") + request("/2")).reply().text == "hello GET /1"
            assert wire.reply().text == "hello GET /2"

    def test_a_proxy_that_does_not_introduce_its_client_is_refused(self, proxied: LiveServer):
        with Wire(proxied) as wire:
            assert wire.get().reply().status == 400

    def test_a_second_introduction_is_no_request(self, proxied: LiveServer):
        with Wire(proxied) as wire:
            wire.send(self.LINE + request("/1")).reply()
            assert wire.send(self.LINE + request("/2")).reply().status == 400

    def test_others_introduce_nobody(self, start: Start):
        server = start("--proxy-protocol", "any", "--proxy-allow-ips", "192.0.2.1")
        with Wire(server) as wire:
            assert self.told(wire)["REMOTE_ADDR"] == "127.0.0.1"
            assert wire.send(self.LINE + request()).reply().status == 400

    def test_a_silent_proxy_is_not_waited_for_longer_than_for_a_head(self, start: Start):
        server = start("--proxy-protocol", "v1", "--proxy-allow-ips", "127.0.0.1", "--head-timeout", "1s")
        with Wire(server) as wire:
            assert wire.send(b"PROXY TC").rest() == b""

    def test_a_silent_proxy_does_not_hold_up_the_end(self, proxied: LiveServer):
        with Wire(proxied) as silent, Wire(proxied) as other:
            assert other.send(self.LINE).get().reply().status == 200  # so the silent one has been accepted
            began = time.monotonic()
            proxied.signal(15)
            assert silent.rest() == b""
            assert proxied.wait() == 0
            assert time.monotonic() - began < 5

    def test_the_word_of_a_client_about_itself_counts_only_if_it_is_trusted_itself(self, start: Start):
        server = start(
            *("--proxy-protocol", "v1", "--proxy-allow-ips", "127.0.0.1", "--forwarded-allow-ips", "192.0.2.7")
        )
        with Wire(server) as wire:
            assert self.told(wire.send(self.LINE), "X-Forwarded-For: 203.0.113.5")["REMOTE_ADDR"] == "203.0.113.5"
        with Wire(server) as wire:
            wire.send(self.LINE.replace(b"2.7", b"2.6"))
            assert self.told(wire, "X-Forwarded-For: 203.0.113.5")["REMOTE_ADDR"] == "192.0.2.6"


class TestHearsay:
    FIELDS = (
        *("X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example"),
        *("X-Real-IP: 203.0.113.5", "Forwarded: for=203.0.113.5;proto=https"),
    )

    def test_what_a_stranger_says_of_itself_does_not_reach_the_application(self, start: Start):
        server = start()
        with Wire(server) as wire:
            for fields in (self.FIELDS, (), self.FIELDS):
                told = json.loads(wire.get("/told", *fields).reply().body)
                assert not [key for key in told if "FORWARDED" in key or "REAL" in key]
                assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("127.0.0.1", "http")
        server.read_until(
            r"X-Forwarded-For, .*Forwarded from 127\.0\.0\.1 did not reach the application, "
            r"because forwarded_allow_ips does not name this peer\."
        )
        assert server.text.count("did not reach") == 1

    def test_what_a_trusted_proxy_says_does(self, start: Start):
        with Wire(start("--forwarded-allow-ips", "127.0.0.1")) as wire:
            told = json.loads(wire.get("/told", *self.FIELDS).reply().body)
        assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("203.0.113.5", "https")
        assert told["HTTP_X_FORWARDED_HOST"] == "evil.example"
        assert "HTTP_FORWARDED" not in told

    def test_a_proxy_that_contradicts_itself_is_refused(self, start: Start):
        server = start(
            *("--forwarded-allow-ips", "*", "--secure-scheme-header", "X-Forwarded-Proto: https"),
            *("--secure-scheme-header", "X-Forwarded-Ssl: on"),
        )
        with Wire(server) as wire:
            assert json.loads(wire.get("/told", "X-Forwarded-Ssl: on").reply().body)["wsgi.url_scheme"] == "https"
            assert wire.get("/", "X-Forwarded-Ssl: on", "X-Forwarded-Proto: http").reply().status == 400


def test_a_refused_client_does_not_hold_up_the_end(start: Start):
    """Those that are listened to after a refusal have two seconds when the server stops."""
    server = start("--limit-request-body", "1")
    with Wire(server) as wire:
        assert post(wire, "/", 10).reply().status == 413
        began = time.monotonic()
        server.signal(15)
        wire.rest()
        assert server.wait() == 0
        assert time.monotonic() - began < 8
