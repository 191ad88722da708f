"""Knows that what is promised of requests and answers holds by TLS as well, however the client cuts its records."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from certificates import Authority
from live import LiveServer, eventually
from tls_client import TlsClient, trusting
from wire import Gate, Wire, descriptors, request

MB = 1 << 20
BLOCK = bytes(range(256)) * 256
SMALL = 8192  # a receive buffer that is full at once


def digest_of(size: int) -> str:
    return hashlib.sha256((BLOCK * (size // len(BLOCK) + 1))[:size]).hexdigest()


def others_are_served(server: LiveServer, count: int = 10) -> None:
    for number in range(count):
        with Wire(server) as wire:
            assert wire.get(f"/{number}").reply().text == f"hello GET /{number}"


@pytest.fixture
def no_descriptor_is_left(server: LiveServer, worker: int):
    """After the test the worker has no more descriptors open than before."""
    others_are_served(server, 1)
    before = eventually(lambda: descriptors(worker))
    yield
    eventually(lambda: descriptors(worker) <= before, patience=10)
    assert server.processes() == [worker]


class TestRequests:
    def test_the_application_is_told_that_it_is_https(self, wire: Wire):
        told = json.loads(wire.get("/told").reply().body)
        assert told["wsgi.url_scheme"] == "https"
        assert told["HTTPS"] == "on"

    def test_a_kept_connection_answers_many_requests(self, wire: Wire):
        for number in range(500):
            target = f"/{number // 2}"
            assert wire.get(target).reply().text == f"hello GET {target}"

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_it_speaks_both_versions(self, server: LiveServer, authority: Authority, version: ssl.TLSVersion):
        server_context, server.secure = (
            server.secure,
            trusting(str(authority.path), minimum_version=version, maximum_version=version),
        )
        try:
            with Wire(server) as wire:
                assert wire.sock.tls.version() == version.name.replace("_", ".")
                assert wire.get("/big/300000").reply().body == (BLOCK * 5)[:300000]
                assert wire.get("/next").reply().text == "hello GET /next"
        finally:
            server.secure = server_context

    def test_pipelined_requests_in_one_record_are_answered_in_order(self, wire: Wire):
        wire.send(b"".join(request(f"/{number}") for number in range(150)))
        for number in range(150):
            assert wire.reply().text == f"hello GET /{number}"

    def test_so_are_those_in_many_records_that_arrive_together(self, wire: Wire):
        """More records than are read at once."""
        client = wire.sock
        client.sock.sendall(b"".join(client.encrypt(request(f"/{number}")) for number in range(1000)))
        for number in range(1000):
            assert wire.reply().text == f"hello GET /{number}"

    def test_so_are_those_whose_records_and_packets_end_anywhere(self, wire: Wire):
        chance = random.Random(7)
        client = wire.sock
        data = b"".join(request(f"/{number}", f"X-Long: {'x' * chance.randint(0, 3000)}") for number in range(60))
        records = b""
        while data:
            count = chance.choice((1, 2, 10, 100, 5000))
            records += client.encrypt(data[:count])
            data = data[count:]
        while records:
            count = chance.choice((1, 4, 5, 6, 100, 20_000))
            client.sock.sendall(records[:count])
            records = records[count:]
        for number in range(60):
            assert wire.reply().text == f"hello GET /{number}"

    def test_a_request_in_records_of_one_byte_in_one_packet(self, wire: Wire):
        data = request("/digest", "Content-Length: 2000", method="POST", body=b"z" * 2000)
        client = wire.sock
        client.sock.sendall(b"".join(client.encrypt(data[position : position + 1]) for position in range(len(data))))
        assert wire.reply().text == f"2000 {hashlib.sha256(b'z' * 2000).hexdigest()} memory"

    def test_head_has_no_body_and_the_next_answer_is_in_its_place(self, wire: Wire):
        reply = wire.get("/whole/100000", method="HEAD").reply(method="HEAD")
        assert reply.headers["content-length"] == "100000"
        assert wire.get("/next").reply().text == "hello GET /next"

    @pytest.mark.parametrize("size", [5, 100_000])
    def test_early_hints_come_before_the_answer_is_made(self, wire: Wire, gates: Callable[[], Gate], size: int):
        gate = gates()
        wire.get(f"/hints/{size}?path={gate.path}")
        assert len(wire.hints(1)) == 1
        gate.open()
        assert len(wire.reply().body) == size
        assert wire.get("/next").reply().text == "hello GET /next"

    def test_a_body_that_is_awaited(self, wire: Wire):
        wire.send(request("/echo", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert wire.reply().status == 100
        assert wire.send(b"hello").reply().body == b"hello"

    def test_a_client_that_says_goodbye_after_its_request_is_answered(self, wire: Wire):
        wire.get("/whole/100000", "X-Last: yes").sock.say_goodbye()
        assert len(wire.reply().body) == 100000
        assert wire.rest() == b""
        assert wire.sock.said_goodbye

    def test_so_is_one_that_closes_its_half_without_goodbye(self, wire: Wire):
        wire.get("/whole/100000").sock.sock.shutdown(socket.SHUT_WR)
        assert len(wire.reply().body) == 100000
        assert wire.rest() == b""

    @pytest.mark.parametrize("how", ["say_goodbye", "half_close"])
    def test_a_body_that_ends_too_early_is_refused(self, wire: Wire, how: str):
        wire.send(request("/echo", "Content-Length: 1000000", method="POST", body=b"abc"))
        wire.sock.say_goodbye() if how == "say_goodbye" else wire.sock.sock.shutdown(socket.SHUT_WR)
        assert wire.reply().status == 400

    def test_curl_trusts_it(self, server: LiveServer, authority: Authority):
        url = server.url.replace("127.0.0.1", "localhost")
        command = ["curl", "-sS", "--cacert", str(authority.path), f"{url}/one", f"{url}/two"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.stderr == ""
        assert done.stdout == "hello GET /onehello GET /two"


class TestLargeThings:
    SIZE = 20 * MB

    @pytest.mark.parametrize("page", ["whole", "big", "chunked"])
    def test_20_mb_arrive_whole(self, wire: Wire, page: str):
        body = wire.get(f"/{page}/{self.SIZE}").reply().body
        assert hashlib.sha256(body).hexdigest() == digest_of(self.SIZE)
        assert wire.get("/next").reply().text == "hello GET /next"

    @pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 16384, 65535, 65536, 65537, 262144, 262145, 999_999])
    def test_so_does_any_other_size(self, wire: Wire, size: int):
        for page in ("whole", "big", "chunked"):
            assert hashlib.sha256(wire.get(f"/{page}/{size}").reply().body).hexdigest() == digest_of(size)
        body = os.urandom(size)
        wire.send(request("/echo", f"Content-Length: {size}", method="POST", body=body))
        assert wire.reply().body == body

    def test_20_mb_are_taken_whole(self, wire: Wire):
        body = os.urandom(MB) * 20
        wire.send(request("/digest", f"Content-Length: {len(body)}", method="POST")).send(body)
        assert wire.reply().text == f"{len(body)} {hashlib.sha256(body).hexdigest()} file"
        chunks = b"".join(b"%x\r\n%b\r\n" % (50_000, body[at : at + 50_000]) for at in range(0, 5_000_000, 50_000))
        wire.send(request("/digest", "Transfer-Encoding: chunked", method="POST")).send(chunks + b"0\r\n\r\n")
        assert wire.reply().text == f"5000000 {hashlib.sha256(body[:5_000_000]).hexdigest()} file"

    def test_a_file_arrives_whole(self, wire: Wire, tmp_path: Path):
        path = tmp_path / "data"
        data = os.urandom(MB) * 20
        path.write_bytes(data)
        assert wire.get(f"/file?path={path}").reply().body == data
        assert wire.get("/next").reply().text == "hello GET /next"

    def test_uploads_and_downloads_side_by_side(self, server: LiveServer):
        def talk(number: int) -> None:
            body = os.urandom(MB + number)
            with Wire(server) as wire:
                for _ in range(5):
                    wire.send(request("/digest", f"Content-Length: {len(body)}", method="POST")).send(body)
                    wire.get(f"/big/{2 * MB + number}")
                    assert wire.reply().text.split()[1] == hashlib.sha256(body).hexdigest()
                    assert hashlib.sha256(wire.reply().body).hexdigest() == digest_of(2 * MB + number)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(talk, range(8)))


class TestSlowReaders:
    @pytest.mark.parametrize("page", ["big", "chunked", "whole"])
    def test_20_mb_arrive_whole_although_the_client_stops_for_a_while(self, server: LiveServer, page: str):
        with Wire(server, SMALL) as slow:
            slow.get(f"/{page}/{20 * MB}", "X-Slow: yes")
            assert slow.head().status == 200
            others_are_served(server)
            if page == "chunked":
                assert hashlib.sha256(b"".join(iter(slow.chunk, b""))).hexdigest() == digest_of(20 * MB)
            else:
                assert slow.digest(20 * MB) == digest_of(20 * MB)
            assert slow.get("/next").reply().text == "hello GET /next"

    @pytest.mark.usefixtures("no_descriptor_is_left")
    def test_a_file_arrives_whole_although_the_client_stops_for_a_while(self, server: LiveServer, tmp_path: Path):
        path = tmp_path / "data"
        data = os.urandom(MB) * 10
        path.write_bytes(data)
        with Wire(server, SMALL) as slow:
            slow.get(f"/file?path={path}")
            assert int(slow.head().headers["content-length"]) == len(data)
            others_are_served(server)
            assert slow.digest(len(data)) == hashlib.sha256(data).hexdigest()
            assert slow.get("/next").reply().text == "hello GET /next"

    def test_pipelined_large_answers_arrive_in_their_order(self, server: LiveServer):
        pages = ("whole", "big", "chunked") * 3
        with Wire(server, SMALL) as slow:
            slow.send(b"".join(request(f"/{page}/{MB + 7}") + request(f"/{page}-done") for page in pages))
            others_are_served(server)
            for page in pages:
                assert len(slow.reply().body) == MB + 7
                assert slow.reply().text == f"hello GET /{page}-done"

    def test_an_answer_without_a_length_ends_with_a_goodbye_that_a_slow_reader_hears(self, server: LiveServer):
        """Without it the client could not know that the answer is whole."""
        for size in (3 * MB, 3 * MB + 5000, 100):
            with Wire(server, SMALL) as slow:
                slow.get(f"/chunked/{size}", version="1.0")
                others_are_served(server, 3)
                assert slow.head().status == 200
                assert hashlib.sha256(slow.rest()).hexdigest() == digest_of(size)
                assert slow.sock.said_goodbye

    def test_so_it_does_where_the_last_bytes_have_just_found_room(
        self, serve: Callable[..., LiveServer], with_certificate: list[str], tmp_path: Path
    ):
        """A unix socket is full at once: some of these sizes fill it, and leave no room for the goodbye."""
        command = [sys.executable, "-m", "server_core", "-b", f"unix:{tmp_path}/socket", "-w", "1"]
        server = serve("contract:app", *with_certificate, command=command)
        server.secure = trusting()
        for size in range(190_000, 260_000, 4096):
            with Wire(server) as slow:
                slow.get(f"/whole/{size}", version="1.0")
                others_are_served(server, 1)
                slow.head()
                assert len(slow.rest()) == size
                assert slow.sock.said_goodbye

    def test_the_last_answer_arrives_whole_although_the_client_goes_on_sending(self, server: LiveServer):
        size = 3 * MB
        with Wire(server, SMALL) as slow:
            slow.send(request(f"/whole/{size}", "Connection: close") + b"x" * 150_000)
            others_are_served(server)
            assert len(slow.reply().body) == size
            assert slow.rest() == b""
            assert slow.sock.said_goodbye

    def test_streams_to_clients_that_do_not_read_hold_up_nobody_and_arrive_whole(
        self, start: Callable[..., LiveServer]
    ):
        server = start("--response-buffer-size", "64KB", "--response-file-size", "0")
        size = 3 * MB
        with ExitStack() as stack:
            slow = [stack.enter_context(Wire(server, SMALL)) for _ in range(12)]
            for wire in slow:
                wire.get(f"/crowd/{size}").head()
            others_are_served(server)
            with ThreadPoolExecutor(len(slow)) as pool:
                assert set(pool.map(lambda wire: wire.digest(size), slow)) == {digest_of(size)}
            for wire in slow:
                assert wire.get("/next").reply().text == "hello GET /next"

    def test_a_client_that_does_not_read_is_given_up(self, start: Callable[..., LiveServer]):
        server = start("--write-timeout", "1s")
        (worker,) = server.processes()
        others_are_served(server, 1)
        before = eventually(lambda: descriptors(worker))
        with ExitStack() as stack:
            for page in ("big", "whole", "chunked"):
                stack.enter_context(Wire(server, SMALL)).get(f"/{page}/{30 * MB}").head()
            eventually(lambda: descriptors(worker) <= before, patience=10)


class TestStreams:
    def test_a_block_arrives_before_the_next_one_is_made(self, wire: Wire, gates: Callable[[], Gate]):
        gate = gates()
        wire.get(f"/blocks?path={gate.path}").head()
        assert wire.chunk() == b"first"
        gate.open()
        assert wire.chunk() == b"second"
        assert wire.chunk() == b""

    def test_no_finished_answer_waits_behind_a_slow_request(self, server: LiveServer, gates: Callable[[], Gate]):
        before, slow = gates(), gates()
        with Wire(server) as first, Wire(server) as second, Wire(server) as third:
            for wire in (first, second, third):
                wire.get().reply()
            first.get(f"/gate?path={before.path}")
            before.wait_until_reached()
            second.get("/quick")
            third.get(f"/gate?path={slow.path}")
            before.open()
            assert first.reply().text == "through the gate"
            slow.wait_until_reached()
            assert second.reply().text == "hello GET /quick"
            slow.open()
            assert third.reply().text == "through the gate"

    def test_a_failing_stream_ends_without_goodbye(self, wire: Wire):
        """A client that does not look at the framing sees that it was cut, too."""
        wire.get("/late").head()
        assert wire.rest() != b""
        assert wire.sock.ended
        assert not wire.sock.said_goodbye


@pytest.mark.usefixtures("no_descriptor_is_left")
class TestClientsThatGo:
    DATA = [
        b"",
        b"GET / HTTP",
        request("/echo", "Content-Length: 1000000", method="POST", body=b"abc"),
        request("/echo", "Expect: 100-continue", "Content-Length: 5", method="POST"),
        request("/") * 100,
        request("/whole/3000000"),
        request("/big/30000000"),
        request("/late"),
        b"NONSENSE\r\n\r\n",
    ]

    @pytest.mark.parametrize("data", DATA)
    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_they_leave_nothing_behind(self, server: LiveServer, data: bytes, how: str):
        for _ in range(5):
            wire = Wire(server)
            wire.send(data)
            getattr(wire, how)()
        others_are_served(server, 3)

    def test_the_iterable_is_closed_when_its_client_is_gone(self, server: LiveServer, tmp_path: Path):
        log = tmp_path / "closed"
        wire = Wire(server)
        wire.get(f"/endless?path={log}").head()
        assert wire.chunk() == BLOCK
        wire.close()
        eventually(lambda: log.exists() and log.read_text() == "x")

    def test_half_a_record_and_the_end_in_one_event(
        self, server: LiveServer, options: list[str], gates: Callable[[], Gate]
    ):
        """While all threads are busy both come together, and no further event will tell of the end."""
        busy = [gates() for _ in range(4 if "gthread" in options else 1)]
        with ExitStack() as stack:
            wires = [stack.enter_context(Wire(server)) for _ in busy]
            gone = [Wire(server) for _ in range(5)]
            for wire in gone:
                wire.get().reply()
            for wire, gate in zip(wires, busy, strict=True):
                wire.get(f"/gate?path={gate.path}")
                gate.wait_until_reached()
            for wire, cut in zip(gone, (1, 5, 6, 30, 0), strict=True):
                wire.sock.sock.sendall(wire.sock.encrypt(request("/"))[:cut])
                wire.close()
            for wire, gate in zip(wires, busy, strict=True):
                gate.open()
                assert wire.reply().status == 200

    def test_a_record_that_was_tampered_with_ends_the_connection(self, server: LiveServer):
        with Wire(server) as wire:
            wire.get().reply()
            record = bytearray(wire.sock.encrypt(request("/")))
            record[-1] ^= 1
            wire.sock.sock.sendall(record)
            with pytest.raises(ssl.SSLError, match="alert bad record mac"):
                wire.sock.recv(100)
        others_are_served(server, 3)


def test_a_client_that_updates_its_keys_again_and_again_goes_on(server: LiveServer):
    """The server has to answer each of these messages (RFC 8446, 4.6.3)."""
    host, port = server.address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin is not None
        assert client.stdout is not None

        def say(data: bytes, expected: bytes) -> None:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(data)
            client.stdin.flush()
            answer = b""
            while expected not in answer:
                more = os.read(client.stdout.fileno(), 65536)
                assert more, answer
                answer += more

        for number in range(5):
            say(b"K\n", b"KEYUPDATE\n")
            say(request(f"/{number}"), b"hello GET /%d" % number)
        client.kill()


def test_a_session_is_resumed_by_any_worker(serve: Callable[..., LiveServer], with_certificate: list[str]):
    server = serve("contract:app", *with_certificate, "--workers", "3", "--keep-alive", "0")
    context = trusting()
    session = None
    resumed = []
    for _ in range(20):
        client = TlsClient(server.connect_plain(), context, session=session)
        with client:
            client.sendall(request("/pid"))
            while client.recv(65536):
                pass
            resumed.append(client.tls.session_reused)
            session = client.tls.session
    assert resumed == [False] + [True] * 19
