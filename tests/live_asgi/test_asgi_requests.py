"""What an ASGI application is told of a request, and what becomes of what it says."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from live import LiveServer, eventually
from wire import Wire, request

Start = Callable[..., LiveServer]


class TestScope:
    def test_it_tells_what_was_asked_for(self, wire: Wire):
        wire.get("/told/a%2Fb%C3%A9?c=%20&d", "X-Name: \xe9", "X-Name: b", "X_Forged: c")
        address, port = wire.sock.getsockname()
        told = json.loads(wire.reply().body)
        assert told == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": list(wire.sock.getpeername()),
            "client": [address, port],
            "scheme": "http",
            "method": "GET",
            "root_path": "",
            "path": "/told/a/bé",
            "raw_path": "/told/a%2Fb%C3%A9",
            "query_string": "c=%20&d",
            "headers": [["host", "shop.example"], ["x-name", "\xe9"], ["x-name", "b"]],
            "state": {"started": "by the lifespan"},
            "extensions": {"http.response.early_hint": {}},
        }

    def test_an_application_that_spoils_its_scope_spoils_nobody_elses(self, wire: Wire):
        first = wire.get("/told").reply().body
        assert wire.get("/told").reply().body == first
        assert json.loads(wire.get("/told/2").reply().body)["path"] == "/told/2"

    def test_http_1_0(self, wire: Wire):
        told = json.loads(wire.get("/told", version="1.0").reply().body)
        assert told["http_version"] == "1.0"
        assert wire.rest() == b""

    def test_a_mount_is_the_root_path_whether_the_proxy_passes_it_on_or_not(self, start: Start):
        server = start("--script-name", "/shop")
        for path in ("/shop/told/x", "/told/x"):
            told = json.loads(server.get(path).body)
            assert (told["root_path"], told["path"], told["raw_path"]) == ("/shop", "/shop/told/x", "/shop/told/x")

    def test_nobody_is_believed_unless_named(self, server: LiveServer):
        told = json.loads(server.get("/told", X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="https").body)
        assert (told["client"][0], told["scheme"]) == ("127.0.0.1", "http")
        assert not [name for name, _ in told["headers"] if name.startswith("x-forwarded")]

    def test_a_trusted_proxy_tells_who_the_client_is(self, start: Start):
        server = start("--forwarded-allow-ips", "127.0.0.1")
        with Wire(server) as wire:
            for address in ("1.2.3.4", "1.2.3.4", "5.6.7.8"):
                wire.get("/told", f"X-Forwarded-For: {address}", "X-Forwarded-Proto: https")
                told = json.loads(wire.reply().body)
                assert (told["client"], told["scheme"]) == ([address, 0], "https")

    def test_a_unix_socket_has_no_client(self, start: Start, tmp_path: Path):
        server = start(command=[sys.executable, "-m", "server_core", "-b", f"unix:{tmp_path}/sock"])
        with Wire(server) as wire:
            told = json.loads(wire.get("/told").reply().body)
        assert (told["client"], told["server"]) == (None, [f"{tmp_path}/sock", None])


class TestBodies:
    @pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
    def test_a_body_arrives_whole(self, wire: Wire, size: int):
        body = b"x" * size
        wire.send(request("/echo", f"Content-Length: {size}", method="POST", body=body))
        assert wire.reply().body == body

    def test_a_chunked_body_arrives_whole(self, wire: Wire):
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (b"a" * 100_000, b"b", b"c" * 70_000))
        wire.send(request("/echo", "Transfer-Encoding: chunked", method="POST", body=chunks + b"0\r\nX-End: d\r\n\r\n"))
        assert wire.reply().body == b"a" * 100_000 + b"b" + b"c" * 70_000

    def test_a_thousand_chunks_of_a_byte(self, wire: Wire):
        wire.send(
            request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
        )
        wire.get("/next")
        assert wire.reply().body == b"x" * 1000
        assert wire.reply().text == "hello GET /next"

    def test_a_client_that_waits_for_it_is_told_to_continue(self, wire: Wire):
        wire.send(request("/echo", "Content-Length: 3", "Expect: 100-continue", method="POST"))
        assert wire.head().status == 100
        assert wire.send(b"abc").reply().body == b"abc"

    def test_nobody_is_told_to_continue_for_an_application_that_does_not_read(self, wire: Wire):
        wire.send(request("/unread", "Content-Length: 3", "Expect: 100-continue", method="POST"))
        reply = wire.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")

    def test_a_body_that_nobody_reads_is_not_the_next_request(self, wire: Wire):
        smuggled = request("/smuggled")
        wire.send(request("/unread", f"Content-Length: {len(smuggled)}", method="POST", body=smuggled))
        assert wire.reply().text == "I did not look"
        assert wire.get("/next").reply().text == "hello GET /next"

    def test_one_that_comes_later_is_read_over(self, wire: Wire):
        wire.send(request("/unread", "Content-Length: 30000", method="POST"))
        assert wire.reply().text == "I did not look"
        wire.send(b"x" * 30000).get("/next")
        assert wire.reply().text == "hello GET /next"

    def test_a_large_one_ends_the_connection(self, wire: Wire):
        wire.send(request("/unread", "Content-Length: 3000000", method="POST"))
        reply = wire.reply()
        assert (reply.text, reply.headers["connection"]) == ("I did not look", "close")

    def test_a_malformed_chunk_is_refused_while_the_application_waits(self, wire: Wire):
        wire.send(request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\nzz\r\n"))
        assert wire.reply().status == 400
        assert wire.rest() == b""

    def test_a_body_that_becomes_too_large_is_refused(self, start: Start):
        server = start("--limit-request-body", "10")
        with Wire(server) as wire:
            wire.send(request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"5\r\nabcde\r\n6\r\n"))
            assert wire.reply().status == 413


class TestAnswers:
    def test_a_length_is_added_to_an_answer_in_one_piece(self, wire: Wire):
        reply = wire.get("/stream/0").reply()
        assert (reply.framing, reply.body) == ("length", b"")

    def test_blocks_leave_as_they_are_made(self, wire: Wire):
        wire.get("/stream/3?pause=0.2")
        assert wire.head().headers["transfer-encoding"] == "chunked"
        began = time.monotonic()
        assert [wire.chunk() for _ in range(4)] == [b"block 0\n", b"block 1\n", b"block 2\n", b""]
        assert time.monotonic() - began > 0.3

    def test_the_head_does_not_wait_for_the_body(self, wire: Wire, tmp_path: Path):
        wire.get(f"/begun?path={tmp_path}/go")
        assert wire.head().status == 200
        (tmp_path / "go").touch()
        assert wire.chunk() == b"at last"

    def test_http_1_0_gets_no_chunks(self, wire: Wire):
        reply = wire.get("/stream/2", version="1.0").reply()
        assert (reply.framing, reply.body) == ("end", b"block 0\nblock 1\n")

    def test_head_has_no_body(self, wire: Wire):
        reply = wire.get("/big/1000", method="HEAD").reply("HEAD")
        assert reply.headers["content-length"] == "1000"
        assert wire.get("/next").reply().text == "hello GET /next"

    @pytest.mark.parametrize("status", [204, 304])
    def test_nor_has_an_answer_without_content(self, wire: Wire, status: int):
        assert wire.get(f"/status/{status}").reply().status == status
        assert wire.get("/next").reply().text == "hello GET /next"

    def test_the_servers_own_fields_are_said_once(self, server: LiveServer):
        answer = server.raw(request("/header?name=server&value=mine", "Connection: close"))
        assert answer.lower().count(b"\r\nserver: ") == 1
        assert b"server: mine" in answer

    @pytest.mark.parametrize(
        ("name", "value"), [("x-a", "b%0D%0AX-Injected:1"), ("x%20a", "b"), ("transfer-encoding", "chunked")]
    )
    def test_what_must_not_be_said_is_an_error(self, wire: Wire, name: str, value: str):
        reply = wire.get(f"/header?name={name}&value={value}").reply()
        assert reply.status == 500
        assert "x-injected" not in reply.headers

    def test_many_clients_are_answered_at_once(self, server: LiveServer):
        wires = [Wire(server).get("/nap/0.3") for _ in range(50)]
        began = time.monotonic()
        for wire in wires:
            assert wire.reply().text == "slept"
            wire.close()
        assert time.monotonic() - began < 3

    def test_a_slow_client_holds_the_application_back_and_gets_everything(self, server: LiveServer, tmp_path: Path):
        size = 30_000_000
        with Wire(server, 8192) as slow:
            slow.get(f"/big/{size}?path={tmp_path}/sent")
            assert slow.head().status == 200
            assert server.get("/").status == 200
            assert int((tmp_path / "sent").read_text()) < size
            slow.digest(size)
            assert slow.get("/next").reply().text == "hello GET /next"


class TestErrors:
    def test_an_error_is_answered_500_without_a_word_about_it(self, start: Start):
        server = start()
        answer = server.get("/fail")
        assert (answer.status, "fails" in answer.text) == (500, False)
        server.read_until("Error in the application at GET /fail")
        server.read_until("RuntimeError: this page always fails")

    def test_a_late_error_cuts_the_answer(self, wire: Wire):
        wire.get("/late")
        assert wire.head().status == 200
        assert wire.chunk() == b"so far so good"
        assert wire.rest() == b""

    def test_an_error_after_the_answer_is_told_too(self, start: Start):
        server = start()
        assert server.get("/fails_afterwards").text == "all is well"
        server.read_until("RuntimeError: this page fails when nobody looks")

    def test_more_than_its_length_is_cut_off_and_told_once(self, start: Start):
        server = start("--access-logfile", "-")
        with Wire(server) as wire:
            wire.get("/overlong").get("/echo")
            assert wire.reply().text == "abcab"
            assert wire.reply().text == ""
        server.read_until("sent more bytes than its Content-Length: cut there")
        server.read_until("RuntimeError: 'http.response.body' was sent after the answer was complete")
        assert server.text.count("cut there") == 1
        assert server.text.count('"GET /overlong') == 1

    def test_an_application_that_says_nothing_is_answered_for(self, wire: Wire):
        assert wire.get("/silent").reply().status == 500

    def test_a_factory_makes_the_application(self, start: Start):
        server = start(app='asgi_pages:make("good evening")')
        assert server.get("/").text == "good evening"


class TestPipelining:
    def test_requests_sent_ahead_are_answered_in_order(self, wire: Wire):
        wire.send(
            request("/nap/0.2")
            + request("/stream/1")
            + request("/echo", "Content-Length: 2", method="POST", body=b"ab")
        )
        wire.send(request("/a") + request("/b"))
        assert wire.reply().text == "slept"
        assert wire.reply().text == "block 0\n"
        assert [wire.reply().text for _ in range(3)] == ["ab", "hello GET /a", "hello GET /b"]

    def test_a_flood_of_them_waits(self, wire: Wire):
        count = 5000
        wire.sock.settimeout(30)
        wire.get("/nap/0.2")
        wire.send(request("/x") * count)
        assert wire.reply().text == "slept"
        assert [wire.reply().text for _ in range(count)] == ["hello GET /x"] * count

    def test_a_connection_has_so_many_requests(self, start: Start):
        with Wire(start("--keepalive-requests", "2")) as wire:
            wire.send(request("/a") + request("/b") + request("/c"))
            assert "connection" not in wire.reply().headers
            assert wire.reply().headers["connection"] == "close"
            assert wire.rest() == b""

    def test_what_comes_after_the_last_one_is_not_read(self, wire: Wire):
        wire.send(request("/a", "Connection: close") + request("/b"))
        assert wire.reply().text == "hello GET /a"
        assert wire.rest() == b""


class TestContext:
    def test_no_request_sees_the_variables_of_another(self, wire: Wire):
        for name in ("a", "b"):
            assert wire.get(f"/variable/{name}").reply().text == "nothing"

    def test_not_even_of_one_that_was_waited_for(self, wire: Wire):
        # Reading goes on again inside the first request, so the next ones are heard from there.
        for name in ("a", "b", "c"):
            wire.send(request(f"/variable/{name}", "Content-Length: 300000", method="POST", body=b"x" * 300_000))
            assert wire.reply().text == "nothing"

    def test_nor_one_that_was_sent_ahead(self, wire: Wire):
        wire.send(request("/variable/a") + request("/variable/b") + request("/variable/c"))
        assert [wire.reply().text for _ in range(3)] == ["nothing"] * 3


class TestGone:
    def test_the_application_hears_that_the_client_is_gone(self, server: LiveServer, tmp_path: Path):
        with Wire(server) as wire:
            wire.get(f"/until_gone?path={tmp_path}/heard")
            server.get("/")
        eventually(lambda: (tmp_path / "heard").exists())
        assert (tmp_path / "heard").read_text() == "http.disconnect"

    def test_to_give_up_then_is_no_error(self, start: Start, tmp_path: Path):
        server = start("--access-logfile", "-", "--access-logformat", "LOG %(U)s %(s)s")
        with Wire(server) as wire:
            wire.get(f"/until_gone?path={tmp_path}/heard").half_close()
            assert wire.rest() == b""
        server.read_until(r"LOG /until_gone -\n")
        assert "Error" not in server.text

    def test_so_it_does_when_it_is_reset(self, server: LiveServer, tmp_path: Path):
        wire = Wire(server).get(f"/until_gone?path={tmp_path}/heard")
        server.get("/")
        wire.reset()
        eventually(lambda: (tmp_path / "heard").exists())

    def test_who_only_stops_talking_is_answered(self, wire: Wire):
        wire.get("/nap/0.2").half_close()
        assert wire.reply().text == "slept"
        assert wire.rest() == b""

    def test_a_stream_that_nobody_reads_any_more_harms_nobody(self, start: Start):
        server = start("--access-logfile", "-")
        wire = Wire(server).get("/stream/100000?pause=0.001")
        wire.head()
        wire.reset()
        server.read_until('"GET /stream/100000.* 200 ', patience=5)
        assert "Error" not in server.text
        assert server.get("/").status == 200


class TestLog:
    def test_there_is_one_line_for_each_request(self, start: Start):
        server = start("--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(q)s %(s)s %(B)s %(h)s %(H)s")
        with Wire(server) as wire:
            wire.send(request("/a?b=c") + request("/stream/2") + b"GET / HTTP/1.1\r\n\r\n")
            for _ in range(3):
                wire.reply()
        server.get("/fail")
        server.read_until(r"LOG GET /a b=c 200 12 127.0.0.1 HTTP/1.1\n")
        server.read_until(r"LOG GET /stream/2  200 16 127.0.0.1 HTTP/1.1\n")
        server.read_until(r"LOG GET / 400 0 127.0.0.1 HTTP/1.1\n".replace("/ 400", "/  400"))
        server.read_until(r"LOG GET /fail  500 0 127.0.0.1 HTTP/1.1\n")
        assert server.text.count("LOG ") == 4

    def test_a_refused_body_has_its_line_too(self, start: Start):
        server = start("--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(s)s")
        with Wire(server) as wire:
            wire.send(request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"x\r\n"))
            assert wire.reply().status == 400
        server.read_until(r"LOG POST /echo 400\n")
        assert server.text.count("LOG ") == 1


def test_clients_that_are_gone_at_once_harm_nobody(server: LiveServer):
    for _ in range(50):
        sock = socket.create_connection(server.address)
        sock.close()
    assert server.get("/").status == 200


def test_early_hints_leave_before_the_answer(server: LiveServer):
    answer = server.raw(request("/hints", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"hinted")


def test_a_client_of_old_gets_no_early_hints(server: LiveServer):
    assert server.raw(b"GET /hints HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
