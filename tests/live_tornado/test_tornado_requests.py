"""What a tornado application is told of a request, and what becomes of what it says."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from live import LiveServer, eventually
from wire import Wire, request

Start = Callable[..., LiveServer]


class TestRequests:
    def test_they_tell_what_was_asked_for(self, wire: Wire):
        wire.get("/told/a%2Fb%C3%A9?c=%20&d", "X-Name: \xe9", "X-Name: b", "X_Forged: c")
        assert json.loads(wire.reply().body) == {
            "method": "GET",
            "uri": "/told/a%2Fb%C3%A9?c=%20&d",
            "path": "/told/a%2Fb%C3%A9",
            "query": "c=%20&d",
            "version": "HTTP/1.1",
            "headers": [["Host", "shop.example"], ["X-Name", "b"], ["X-Name", "\xe9"]],
            "remote_ip": "127.0.0.1",
            "protocol": "http",
            "host": "shop.example",
            "arguments": {"c": [""], "d": [""]},
        }

    def test_an_application_that_spoils_its_headers_spoils_nobody_elses(self, wire: Wire):
        first = wire.get("/told").reply().body
        assert wire.get("/told").reply().body == first
        assert json.loads(wire.get("/told/2").reply().body)["path"] == "/told/2"

    def test_the_host_of_an_absolute_target_counts(self, wire: Wire):
        told = json.loads(wire.get("http://other.example/told").reply().body)
        assert (told["host"], told["uri"]) == ("other.example", "/told")

    def test_http_1_0(self, wire: Wire):
        told = json.loads(wire.get("/told", version="1.0").reply().body)
        assert told["version"] == "HTTP/1.0"
        assert wire.rest() == b""

    def test_a_mount_is_taken_away_whether_the_proxy_passes_it_on_or_not(self, start: Start):
        server = start("--script-name", "/shop")
        for path in ("/shop/told/x", "/told/x"):
            assert json.loads(server.get(path).body)["uri"] == "/told/x"
        assert server.get("/shop").text == "hello GET /"

    def test_nobody_is_believed_unless_named(self, server: LiveServer):
        told = json.loads(server.get("/told", X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="https").body)
        assert (told["remote_ip"], told["protocol"]) == ("127.0.0.1", "http")

    def test_a_trusted_proxy_tells_who_the_client_is(self, start: Start):
        server = start("--forwarded-allow-ips", "127.0.0.1")
        with Wire(server) as wire:
            for address in ("1.2.3.4", "1.2.3.4", "5.6.7.8"):
                wire.get("/told", f"X-Forwarded-For: {address}", "X-Forwarded-Proto: https")
                told = json.loads(wire.reply().body)
                assert (told["remote_ip"], told["protocol"]) == (address, "https")

    def test_a_unix_socket_has_no_client(self, start: Start, tmp_path: Path):
        server = start(command=[sys.executable, "-m", "server_core", "-b", f"unix:{tmp_path}/sock"])
        with Wire(server) as wire:
            assert json.loads(wire.get("/told").reply().body)["remote_ip"] == "0.0.0.0"

    def test_what_tornado_cannot_read_is_refused(self, start: Start):
        log = ["--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(s)s"]
        server = start(*log, app="tornado_pages:picky")
        with Wire(server) as wire:
            assert wire.get("/told").reply().status == 400
            assert wire.rest() == b""
        server.read_until(r"LOG GET /told 400\n")
        assert "Traceback" not in server.text


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

    def test_a_client_that_waits_for_it_is_told_to_continue(self, wire: Wire):
        wire.send(request("/echo", "Content-Length: 3", "Expect: 100-continue", method="POST"))
        assert wire.head().status == 100
        assert wire.send(b"abc").reply().body == b"abc"

    def test_one_may_be_taken_piece_by_piece(self, wire: Wire):
        wire.send(request("/upload", "Content-Length: 3000000", method="POST", body=b"x" * 3_000_000))
        assert wire.reply().text == "3000000 True"

    def test_a_client_is_held_back_while_the_application_is_busy_with_a_piece(self, server: LiveServer):
        with Wire(server) as wire:
            wire.send(request("/upload?pause=0.1", "Content-Length: 2000000", method="POST"))
            wire.sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                wire.send(b"x" * 30_000_000)

    def test_an_application_can_have_less_than_the_server_allows(self, wire: Wire):
        wire.send(request("/upload?most=10", "Content-Length: 11", method="POST"))
        assert wire.reply().status == 413

    def test_also_of_a_chunked_body(self, wire: Wire):
        wire.send(request("/upload?most=5", "Transfer-Encoding: chunked", method="POST", body=b"6\r\nabcdef\r\n"))
        assert wire.reply().status == 413

    def test_a_body_that_becomes_too_large_is_refused(self, start: Start):
        server = start("--limit-request-body", "10")
        with Wire(server) as wire:
            wire.send(request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"5\r\nabcde\r\n6\r\n"))
            assert wire.reply().status == 413

    def test_a_malformed_chunk_is_refused_while_the_application_waits(
        self, server: LiveServer, wire: Wire, tmp_path: Path
    ):
        target = f"/upload?path={tmp_path}/gone"
        wire.send(request(target, "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n"))
        server.get("/")
        wire.send(b"zz\r\n")
        assert wire.reply().status == 400
        assert wire.rest() == b""
        eventually(lambda: (tmp_path / "gone").exists())

    def test_nobody_is_told_to_continue_for_an_application_that_does_not_read(self, wire: Wire):
        wire.send(request("/early", "Content-Length: 3", "Expect: 100-continue", method="POST"))
        reply = wire.reply()
        assert (reply.text, reply.headers["connection"]) == ("I did not look", "close")

    def test_a_body_that_nobody_reads_is_not_the_next_request(self, wire: Wire):
        smuggled = request("/smuggled")
        wire.send(request("/early", f"Content-Length: {len(smuggled)}", method="POST", body=smuggled))
        assert wire.reply().text == "I did not look"
        assert wire.get("/next").reply().text == "hello GET /next"

    def test_a_large_one_ends_the_connection(self, wire: Wire):
        wire.send(request("/early", "Content-Length: 3000000", method="POST"))
        reply = wire.reply()
        assert (reply.text, reply.headers["connection"]) == ("I did not look", "close")


class TestAnswers:
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
        reply = wire.get("/nap/0", method="HEAD").reply("HEAD")
        assert reply.headers["content-length"] == "5"
        reply = wire.get("/big/1000", method="HEAD").reply("HEAD")
        assert reply.headers["content-length"] == "1000"
        assert wire.get("/next").reply().text == "hello GET /next"

    @pytest.mark.parametrize("status", [204, 304])
    def test_nor_has_an_answer_without_content(self, wire: Wire, status: int):
        assert wire.get(f"/status/{status}").reply().status == status
        assert wire.get("/next").reply().text == "hello GET /next"

    def test_what_is_unchanged_is_not_sent_again(self, wire: Wire):
        etag = wire.get("/nap/0").reply().headers["etag"]
        reply = wire.get("/nap/0", f"If-None-Match: {etag}").reply()
        assert (reply.status, reply.body) == (304, b"")

    def test_tornado_does_not_name_itself(self, start: Start):
        assert "server" not in start("--server-header", "").get("/").headers

    def test_but_the_application_may_name_whom_it_likes(self, server: LiveServer):
        answer = server.raw(request("/header?name=Server&value=mine", "Connection: close"))
        assert answer.count(b"\r\nServer: ") == 1
        assert b"\r\nServer: mine\r\n" in answer

    @pytest.mark.parametrize(
        ("name", "value"), [("x-a", "b%0D%0AX-Injected:1"), ("x%20a", "b"), ("transfer-encoding", "chunked")]
    )
    def test_what_must_not_be_said_is_an_error(self, wire: Wire, name: str, value: str):
        reply = wire.get(f"/header?name={name}&value={value}").reply()
        assert reply.status == 500
        assert "x-injected" not in reply.headers
        assert wire.rest() == b""

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

    def test_an_application_without_handlers_is_served(self, start: Start, tmp_path: Path):
        server = start(app="tornado_pages:plain", env={"NOTES": str(tmp_path / "notes")})
        assert server.get("/").text == "plain"
        eventually(lambda: (tmp_path / "notes").exists())


class TestLongPolling:
    def test_many_wait_for_the_same_news(self, server: LiveServer):
        wires = [Wire(server).get("/news") for _ in range(20)]
        eventually(lambda: server.get("/waiting").text == "20")
        assert server.get("/tell/it%20rains").text == "20"
        for wire in wires:
            assert wire.reply().text == "it rains"
            assert wire.get("/next").reply().text == "hello GET /next"
            wire.close()

    def test_deadlines_do_not_meet_who_waits(self, start: Start):
        server = start("--keep-alive", "0.3", "--head-timeout", "0.3", "--write-timeout", "0.3", "--timeout", "1")
        with Wire(server) as wire:
            assert wire.get("/nap/2.5").reply().text == "slept"

    def test_a_client_that_leaves_is_told(self, server: LiveServer, tmp_path: Path):
        with Wire(server) as wire:
            wire.get(f"/news?path={tmp_path}/gone")
            server.get("/")
        eventually(lambda: (tmp_path / "gone").exists())

    def test_so_is_one_that_breaks_off(self, server: LiveServer, tmp_path: Path):
        wire = Wire(server).get(f"/news?path={tmp_path}/gone")
        server.get("/")
        wire.reset()
        eventually(lambda: (tmp_path / "gone").exists() and (tmp_path / "gone").read_text() == "gone, closed True")

    def test_who_only_stops_talking_is_answered(self, server: LiveServer, tmp_path: Path):
        with Wire(server) as wire:
            wire.get(f"/news?path={tmp_path}/gone").half_close()
            assert wire.reply().text == "nothing"
            assert (tmp_path / "gone").read_text() == "gone, closed False"
            assert wire.rest() == b""
        with Wire(server) as wire:
            assert wire.get("/nap/0.2").half_close().reply().text == "slept"

    def test_it_has_one_line_in_the_log(self, start: Start, tmp_path: Path):
        server = start("--access-logfile", "-", "--access-logformat", "LOG %(U)s %(s)s")
        wire = Wire(server).get(f"/news?path={tmp_path}/gone")
        server.get("/")
        wire.reset()
        server.read_until(r"LOG /news -\n")
        assert server.text.count("LOG /news") == 1
        assert "Error" not in server.text


class TestErrors:
    def test_an_error_is_answered_by_tornado_and_logged_with_ours(self, start: Start):
        server = start()
        assert server.get("/fail").status == 500
        server.read_until(r"\[ERROR\] Uncaught exception GET /fail")
        server.read_until("RuntimeError: this page always fails")

    def test_a_late_error_cuts_the_answer(self, wire: Wire):
        wire.get("/late")
        assert wire.head().status == 200
        assert wire.chunk() == b"so far so good"
        assert wire.rest() == b""

    def test_one_before_the_head_has_left_is_answered_500(self, wire: Wire):
        assert wire.get("/flushed").reply().status == 500

    def test_an_error_page_may_come_in_parts(self, wire: Wire):
        reply = wire.get("/errorstream").reply()
        assert (reply.status, reply.text) == (503, "we are sorry")
        reply = wire.get("/fail", method="HEAD").reply("HEAD")
        assert (reply.status, reply.headers["content-length"]) == (500, "93")
        assert wire.get("/next").reply().text == "hello GET /next"

    def test_a_status_with_words_of_its_own(self, wire: Wire):
        reply = wire.get("/refused/418?reason=Short%20and%20stout").reply()
        assert (reply.status, "Short and stout" in reply.text) == (418, True)

    def test_more_than_its_length_is_cut_off(self, start: Start):
        server = start("--access-logfile", "-")
        with Wire(server) as wire:
            wire.get("/length/4").get("/echo")
            assert wire.reply().text == "abcd"
            assert wire.reply().text == ""
        server.read_until("sent more bytes than its Content-Length: cut there")
        assert server.text.count('"GET /length') == 1

    def test_less_than_its_length_ends_the_connection(self, start: Start):
        server = start()
        with Wire(server) as wire:
            wire.get("/length/8").head()
            assert wire.rest() == b"abcdef"
        server.read_until("sent 6 bytes but stated a Content-Length of 8")


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
        count = 3000
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

    def test_the_application_may_end_a_connection(self, wire: Wire):
        assert wire.get("/last").reply().headers["connection"] == "close"
        assert wire.rest() == b""

    def test_no_request_sees_the_variables_of_another(self, wire: Wire):
        wire.send(request("/variable/a") + request("/variable/b"))
        assert [wire.reply().text for _ in range(2)] == ["nothing"] * 2
        for name in ("a", "b", "c"):
            wire.send(request(f"/variable/{name}", "Content-Length: 300000", method="POST", body=b"x" * 300_000))
            assert wire.reply().text == "nothing"


class TestLog:
    def test_there_is_one_line_for_each_request(self, start: Start):
        server = start("--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(q)s %(s)s %(B)s %(h)s %(H)s")
        with Wire(server) as wire:
            wire.send(request("/a?b=c") + request("/stream/2") + b"GET / HTTP/1.1\r\n\r\n")
            for _ in range(3):
                wire.reply()
        server.get("/refused/404")
        server.read_until(r"LOG GET /a b=c 200 12 127.0.0.1 HTTP/1.1\n")
        server.read_until(r"LOG GET /stream/2  200 16 127.0.0.1 HTTP/1.1\n")
        server.read_until(r"LOG GET /  400 0 127.0.0.1 HTTP/1.1\n")
        server.read_until(r"LOG GET /refused/404  404 69 127.0.0.1 HTTP/1.1\n")
        assert server.text.count("LOG ") == 4
        assert server.text.count("/refused/404") == 1  # tornado has no line of its own

    def test_a_refused_body_has_its_line_too(self, start: Start):
        server = start("--access-logfile", "-", "--access-logformat", "LOG %(m)s %(U)s %(s)s")
        with Wire(server) as wire:
            wire.send(request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"x\r\n"))
            assert wire.reply().status == 400
        server.read_until(r"LOG POST /echo 400\n")
        assert server.text.count("LOG ") == 1


def test_who_sends_for_ever_lets_the_others_be_served_and_hears_that_nobody_listens(start: Start):
    server = start("--timeout", "3")
    (worker,) = server.processes()
    for _ in range(3):
        with Wire(server) as wire:
            wire.get("/endless").head()
            wire.sock.recv(1_000_000)
    for _ in range(20):
        assert server.get("/pid").text == str(worker)
        time.sleep(0.2)


@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_a_handler_that_wants_to_end_the_process_ends_its_request(start: Start, how: str):
    server = start()
    workers = server.processes()
    with Wire(server) as running:
        running.get("/nap/1")
        assert server.get(f"/exits/{how}").status == 500
        assert running.reply().text == "slept"
    assert server.processes() == workers
    server.signal(signal.SIGTERM)
    assert server.wait(10) == 0
    assert server.text.count("Traceback") == 1
