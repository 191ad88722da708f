"""Knows how requests of all shapes are answered over a real connection, by every worker class."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live import LiveServer, eventually
from wire import Wire, request

CHUNKED = "Transfer-Encoding: chunked"
BODY = bytes(range(256)) * 4096 * 5  # 5 MB


class TestPersistence:
    def test_a_connection_serves_one_request_after_the_other(self, wire: Wire):
        for number in range(20):
            reply = wire.get(f"/{number}").reply()
            assert reply.text == f"hello GET /{number}"
            assert "connection" not in reply.headers

    def test_close_is_obeyed_and_announced(self, wire: Wire):
        reply = wire.get("/", "Connection: close").reply()
        assert reply.headers["connection"] == "close"
        assert wire.rest() == b""

    def test_1_0_ends_the_connection(self, wire: Wire):
        reply = wire.get("/", version="1.0").reply()
        assert reply.headers["connection"] == "close"
        assert wire.rest() == b""

    def test_1_0_may_ask_to_go_on(self, wire: Wire):
        for _ in range(3):
            reply = wire.get("/", "Connection: keep-alive", version="1.0").reply()
            assert reply.headers["connection"] == "keep-alive"
        assert wire.get("/", version="1.0").reply().headers["connection"] == "close"
        assert wire.rest() == b""

    def test_1_0_without_a_host_is_answered(self, wire: Wire):
        assert wire.send(b"GET /old HTTP/1.0\r\n\r\n").reply().text == "hello GET /old"

    def test_1_0_gets_a_stream_without_chunks(self, wire: Wire):
        reply = wire.get("/chunked/70000", "Connection: keep-alive", version="1.0").reply()
        assert reply.framing == "end"
        assert len(reply.body) == 70000

    def test_with_no_keepalive_every_answer_is_the_last(self, start: Callable[..., LiveServer]):
        with Wire(start("--keep-alive", "0")) as wire:
            assert wire.get().reply().headers["connection"] == "close"
            assert wire.rest() == b""

    def test_the_fields_of_each_request_are_its_own(self, wire: Wire):
        """Also when they are word for word those of the request before, or nearly."""
        alone = json.loads(wire.get("/told").reply().body)
        assert "HTTP_X_A" not in alone
        for method, target, field in [
            ("GET", "/told?1", "X-A: 1"),
            ("GET", "/told?1", "X-A: 1"),
            ("GET", "/told?2", "X-A: 1"),
            ("PUT", "/told?2", "X-A: 1"),
            ("GET", "/told?2", "X-A: 2"),
            ("GET", "http://other.example/told?3", "X-A: 2"),
            ("GET", "/told?3", "X-A: 2"),
        ]:
            told = json.loads(wire.get(target, field, method=method).reply().body)
            assert told["REQUEST_METHOD"] == method
            assert told["RAW_URI"] == target
            assert told["PATH_INFO"] == "/told"
            assert told["QUERY_STRING"] == target[-1]
            assert told["HTTP_X_A"] == field[-1]
            assert told["HTTP_HOST"] == ("other.example" if "other" in target else "shop.example")
        told = json.loads(wire.get("/told", version="1.0").reply().body)
        assert told["SERVER_PROTOCOL"] == "HTTP/1.0"

    def test_a_request_said_again_is_the_same_whatever_came_between(self, wire: Wire):
        first = json.loads(wire.get("/told?1", "X-A: 1").reply().body)
        between: list[tuple[bytes, str]] = [
            (request("/1", "X-A: 1", method="HEAD"), "HEAD"),
            (request("/echo", "X-A: 1", "Content-Length: 2", method="POST", body=b"ab"), "POST"),
            (request("/told?2", "X-A: 1"), "GET"),
            (request("http://other.example/told?1", "X-A: 1"), "GET"),
            (request("/told?1", "X-A: 1", "Connection: keep-alive", version="1.0"), "GET"),
        ]
        for data, method in between:
            wire.send(data).reply(method)
            assert json.loads(wire.get("/told?1", "X-A: 1").reply().body) == first
        wire.send(request("/told?3", "X-A: 1") + request("/told?1", "X-A: 1"))
        assert [json.loads(wire.reply().body)["QUERY_STRING"] for _ in range(2)] == ["3", "1"]
        assert json.loads(wire.get("/told?1", "X-A: 1").reply().body) == first

    def test_what_an_application_does_to_its_input_no_other_request_sees(self, wire: Wire):
        assert [wire.get("/mark").reply().text for _ in range(2)] == ["False", "False"]

    def test_a_body_is_expected_again_when_the_same_head_is_sent_again(self, wire: Wire):
        for body in (b"abc", b"def"):
            assert wire.send(request("/echo", "Content-Length: 3", method="POST", body=body)).reply().body == body
        for body in (b"1\r\na\r\n0\r\n\r\n", b"1\r\nb\r\n0\r\n\r\n"):
            assert wire.send(request("/echo", CHUNKED, method="POST", body=body)).reply().body == body[3:4]


class TestPipelining:
    def test_300_requests_at_once_are_answered_in_their_order(self, wire: Wire):
        wire.send(b"".join(request(f"/{number}") for number in range(300)))
        assert [wire.reply().text for _ in range(300)] == [f"hello GET /{number}" for number in range(300)]

    def test_with_bodies_and_streams_between_them(self, wire: Wire):
        one = request("/echo", "Content-Length: 5", method="POST", body=b"first")
        two = request("/chunked/100000")
        three = request("/echo", CHUNKED, method="POST", body=b"5\r\nthird\r\n0\r\n\r\n")
        four = request("/status/204", method="DELETE")
        wire.send((one + two + three + four) * 10 + request("/last"))
        for _ in range(10):
            assert wire.reply().body == b"first"
            assert len(wire.reply().body) == 100000
            assert wire.reply().body == b"third"
            assert wire.reply().status == 204
        assert wire.reply().text == "hello GET /last"

    def test_nothing_is_answered_behind_close(self, wire: Wire):
        wire.send(request("/1") + request("/2", "Connection: close") + request("/3"))
        assert [wire.reply().text for _ in range(2)] == ["hello GET /1", "hello GET /2"]
        assert wire.rest() == b""

    def test_a_client_that_sends_endlessly_does_not_keep_others_waiting(self, server: LiveServer, wire: Wire):
        wire.send(request("/big/100000") * 400)
        with Wire(server) as other:
            assert other.get("/other").reply().text == "hello GET /other"
        for _ in range(400):
            assert len(wire.reply().body) == 100000


class TestHalfClose:
    """A client may end its side and still read its answers; then the server ends, at once and not after keepalive."""

    def test_one_request(self, wire: Wire):
        assert wire.get().half_close().reply().status == 200
        assert wire.rest() == b""

    @pytest.mark.parametrize("target", ["/", "/echo", "/chunked/100000", "/whole/300000"])
    def test_many_requests_together_with_the_end(self, wire: Wire, target: str):
        wire.send(request(target) * 50).half_close()
        for _ in range(50):
            assert wire.reply().status == 200
        assert wire.rest() == b""

    def test_a_request_with_a_body(self, wire: Wire):
        wire.send(request("/echo", "Content-Length: 3", method="POST", body=b"abc")).half_close()
        assert wire.reply().body == b"abc"
        assert wire.rest() == b""

    def test_the_end_after_an_answer(self, wire: Wire):
        assert wire.get().reply().status == 200
        assert wire.half_close().rest() == b""

    def test_the_end_without_a_request(self, wire: Wire):
        assert wire.half_close().rest() == b""

    def test_the_end_inside_a_head(self, wire: Wire):
        assert b"200 OK" not in wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n").half_close().rest()

    @pytest.mark.parametrize(
        "data",
        [
            request("/echo", "Content-Length: 4", method="POST", body=b"abc"),
            request("/echo", CHUNKED, method="POST", body=b"3\r\nabc\r\n"),
            request("/echo", CHUNKED, method="POST", body=b"3\r\nabc\r\n0\r\n"),
        ],
    )
    def test_the_end_inside_a_body_is_never_taken_for_its_end(self, wire: Wire, data: bytes):
        reply = wire.send(data).half_close().reply()
        assert reply.status == 400
        assert wire.rest() == b""


class TestBodies:
    def test_chunks_are_put_together(self, wire: Wire):
        wire.send(
            request("/echo", CHUNKED, method="POST", body=b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n")
        )
        assert wire.reply().body == b"abc0123456789"
        assert wire.get().reply().status == 200

    def test_a_body_that_the_application_did_not_read_is_not_the_next_request(self, wire: Wire):
        for _ in range(3):
            smuggled = request("/smuggled")
            wire.send(request("/unread", f"Content-Length: {len(smuggled)}", method="POST", body=smuggled))
            assert wire.reply().body == b"I did not look"
        assert wire.get("/next").reply().text == "hello GET /next"

    def test_5_mb_by_length_wait_in_a_file(self, wire: Wire):
        wire.send(request("/digest", f"Content-Length: {len(BODY)}", method="POST") + BODY)
        assert wire.reply().text == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()} file"
        assert wire.get().reply().status == 200

    @pytest.mark.parametrize("size", [1000, 65536, 1 << 20])
    def test_5_mb_in_chunks_wait_in_a_file(self, wire: Wire, size: int):
        wire.send(request("/digest", CHUNKED, method="POST"))
        chunks = (BODY[start : start + size] for start in range(0, len(BODY), size))
        wire.send(b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n")
        assert wire.reply().text == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()} file"

    @pytest.mark.parametrize(("size", "kept"), [(256 * 1024, "memory"), (256 * 1024 + 1, "file")])
    def test_a_body_waits_in_memory_up_to_its_limit(self, wire: Wire, size: int, kept: str):
        wire.send(request("/digest", f"Content-Length: {size}", method="POST") + BODY[:size])
        assert wire.reply().text == f"{size} {hashlib.sha256(BODY[:size]).hexdigest()} {kept}"

    @pytest.mark.parametrize("framing", [f"Content-Length: {len(BODY)}", CHUNKED])
    def test_5_mb_are_kept_in_memory_unless_that_is_forbidden(self, start: Callable[..., LiveServer], framing: str):
        with Wire(start()) as wire:
            body = BODY if framing != CHUNKED else b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
            wire.send(request("/digest", framing, method="POST") + body)
            assert wire.reply().text == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()} memory"

    @pytest.mark.parametrize("framing", [["Content-Length: 300"], [CHUNKED]])
    def test_byte_by_byte(self, wire: Wire, framing: list[str]):
        body = BODY[:300]
        if framing == [CHUNKED]:
            wire_body = b"".join(b"%x\r\n%s\r\n" % (100, body[at : at + 100]) for at in (0, 100, 200)) + b"0\r\n\r\n"
        else:
            wire_body = body
        for byte in request("/echo", *framing, method="POST") + wire_body:
            wire.send(bytes([byte]))
        assert wire.reply().body == body
        assert wire.get().reply().status == 200


class TestContinue:
    EXPECT = "Expect: 100-continue"

    @pytest.mark.parametrize(("framing", "body"), [("Content-Length: 3", b"abc"), (CHUNKED, b"3\r\nabc\r\n0\r\n\r\n")])
    def test_it_is_sent_when_it_is_awaited(self, wire: Wire, framing: str, body: bytes):
        for _ in range(2):
            wire.send(request("/echo", self.EXPECT, framing, method="POST"))
            told = wire.head()
            assert (told.status, told.headers) == (100, {})
            assert wire.send(body).reply().body == b"abc"

    def test_it_is_not_sent_when_the_body_is_there_already(self, wire: Wire):
        wire.send(request("/echo", self.EXPECT, "Content-Length: 3", method="POST", body=b"abc"))
        assert wire.reply().status == 200

    def test_it_is_not_sent_when_there_is_no_body(self, wire: Wire):
        assert wire.get("/", self.EXPECT).reply().status == 200
        assert wire.get("/", self.EXPECT, "Content-Length: 0").reply().status == 200

    def test_it_is_not_sent_to_1_0(self, server: LiveServer, wire: Wire):
        wire.send(request("/echo", self.EXPECT, "Content-Length: 3", method="POST", version="1.0"))
        with Wire(server) as other:  # served after the head has been read
            other.get().reply()
        wire.send(b"abc")
        assert wire.reply().status == 200

    def test_what_is_refused_is_not_continued(self, wire: Wire):
        wire.send(request("/echo", self.EXPECT, "Content-Length: x", method="POST"))
        assert wire.reply().status == 400
        assert wire.rest() == b""

    def test_another_expectation_is_417(self, wire: Wire):
        assert wire.get("/", "Expect: tea").reply().status == 417
        assert wire.rest() == b""


class TestAnswersWithoutABody:
    @pytest.mark.parametrize("target", ["/", "/big/100000", "/chunked/100000", "/whole/100000", "/status/200"])
    def test_head_is_get_without_the_body(self, wire: Wire, target: str):
        head = wire.get(target, method="HEAD").reply("HEAD")
        body = wire.get(target).reply()
        assert head.status == body.status == 200
        assert "transfer-encoding" not in head.headers
        if target == "/":
            assert int(head.headers["content-length"]) == len("hello HEAD /")
        elif "content-length" in head.headers:
            assert head.headers["content-length"] == str(len(body.body))

    def test_head_of_a_file(self, wire: Wire, tmp_path: Path):
        path = tmp_path / "data"
        path.write_bytes(b"abc")
        wire.get(f"/file?path={path}", method="HEAD").reply("HEAD")
        assert wire.get(f"/file?path={path}").reply().body == b"abc"

    @pytest.mark.parametrize("kind", ["list", "iterator"])
    @pytest.mark.parametrize("status", [204, 304])
    def test_204_and_304_have_no_body_and_the_connection_goes_on(self, wire: Wire, status: int, kind: str):
        for _ in range(2):
            reply = wire.get(f"/status/{status}?as={kind}").reply()
            assert reply.status == status
            assert "transfer-encoding" not in reply.headers
            assert "content-length" not in reply.headers
        assert wire.get("/next").reply().text == "hello GET /next"


class TestForms:
    def test_absolute_form(self, wire: Wire):
        reply = wire.get("http://other.example:81/told?a=b", method="GET").reply()
        told = json.loads(reply.body)
        assert (told["HTTP_HOST"], told["PATH_INFO"], told["QUERY_STRING"]) == ("other.example:81", "/told", "a=b")
        assert told["wsgi.url_scheme"] == "http"

    def test_options_of_the_whole_server(self, wire: Wire):
        assert wire.get("*", method="OPTIONS").reply().text == "hello OPTIONS "

    def test_a_path_is_decoded_and_its_slashes_stay(self, wire: Wire):
        assert wire.get("//a%20b//%C3%A9").reply().text == "hello GET //a b//\xc3\xa9"


class TestRefusals:
    """One answer, then the end of the connection; nothing behind an error is read as a request."""

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\nHost: a\n\n", 400),
            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            (b"GET /" + b"x" * 9000, 414),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000, 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200, 431),
            (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
            (request("/", CHUNKED, "Content-Length: 3", method="POST"), 400),
            (request("/", CHUNKED, method="POST", body=b"3\r\nabcd\r\n"), 400),
            (request("/", "Transfer-Encoding: gzip, chunked", method="POST"), 501),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ],
    )
    def test_what_follows_is_not_answered(self, wire: Wire, data: bytes, status: int):
        wire.send(data + request("/behind") * 3)
        reply = wire.reply()
        assert reply.status == status
        assert reply.headers["connection"] == "close"
        assert reply.body == f"{status} ".encode() + reply.body[4:]
        assert wire.rest() == b""

    def test_what_came_before_is_answered(self, wire: Wire):
        wire.send(request("/before") + b"BAD\r\n\r\n" + request("/behind"))
        assert wire.reply().text == "hello GET /before"
        assert wire.reply().status == 400
        assert wire.rest() == b""

    def test_the_client_reads_why_although_it_goes_on_sending(self, wire: Wire):
        wire.send(request("/", "Content-Length: x", method="POST"))
        wire.send(b"x" * 500_000)
        assert wire.reply().status == 400
        assert wire.file.read(1) == b"", "the end, and not a reset"

    def test_a_page_of_ours_says_nothing_of_the_request(self, wire: Wire):
        wire.send(b"GET /<script> HTTP/1.1\r\nHost: <script>\r\n\r\n")
        assert b"script" not in wire.rest()


class TestFailures:
    def test_an_application_that_fails_is_a_500_and_the_worker_lives(self, server: LiveServer, worker: int):
        for target in ("/fail", "/leave"):
            with Wire(server) as wire:
                reply = wire.get(target).reply()
                assert reply.status == 500
                assert b"always fails" not in reply.body
        with Wire(server) as wire:
            assert wire.get("/pid").reply().text == str(worker)

    def test_an_application_that_fails_too_late_cuts_its_answer(self, server: LiveServer):
        with Wire(server) as wire:
            wire.get("/late").head()
            assert wire.chunk() == b"so far so good"
            assert wire.rest() == b"", "a last chunk would say that the answer is whole"


VALIDATED = {
    "get": request("/"),
    "a query": request("/a?b=c&d"),
    "a path with escapes": request("/%C3%A9/%20"),
    "a path with two slashes": request("//a"),
    "head": request("/", method="HEAD"),
    "post by length": request("/", "Content-Length: 8", method="POST", body=b"one\ntwo\n"),
    "post in chunks": request("/", CHUNKED, method="POST", body=b"8\r\none\ntwo\n\r\n0\r\n\r\n"),
    "post with a type": request("/", "Content-Type: text/plain", "Content-Length: 1", method="POST", body=b"x"),
    "post of nothing": request("/", "Content-Length: 0", method="POST"),
    "put": request("/", "Content-Length: 3", method="PUT", body=b"abc"),
    "delete": request("/x", method="DELETE"),
    "options": request("/x", method="OPTIONS"),
    "options of the whole server": request("*", method="OPTIONS"),
    "absolute form": request("http://other.example/x"),
    "1.0": request("/", version="1.0"),
    "1.0 without a host": b"GET / HTTP/1.0\r\n\r\n",
    "repeated and odd fields": request(
        "/", "X-A: 1", "X-A: 2", "Cookie: a", "Cookie: b", "X_A: 3", "Proxy: x", "Empty:"
    ),
}


class TestValidator:
    """The standard library's judge of WSGI servers, over real connections."""

    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    def test_it_has_nothing_to_complain_about(self, start: Callable[..., LiveServer], tmp_path: Path, kind: str):
        command = [sys.executable, "-m", "server_core", "-b", f"unix:{tmp_path}/s" if kind == "unix" else "127.0.0.1:0"]
        server = start(app="contract:validated", command=command)
        for name, data in VALIDATED.items():
            with Wire(server) as wire:
                wire.send(data)
                if b"HTTP/1.1\r\n" in data and kind == "tcp":
                    assert wire.head().status == 103
                reply = wire.reply("HEAD" if name == "head" else "GET")
                assert (name, reply.status) == (name, 200), server.text
        assert "AssertionError" not in server.text


class TestProxies:
    FIELDS = ("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "Forwarded: for=198.51.100.1;proto=http")

    def told(self, wire: Wire, *fields: str) -> tuple[str, str]:
        told = json.loads(wire.get("/told", *fields).reply().body)
        return told["REMOTE_ADDR"], told["wsgi.url_scheme"]

    def test_nobody_is_believed_unless_the_setting_says_so(self, wire: Wire):
        assert self.told(wire, *self.FIELDS) == ("127.0.0.1", "http")

    def test_a_proxy_that_is_believed_tells_client_and_scheme(self, start: Callable[..., LiveServer]):
        with Wire(start("--forwarded-allow-ips", "127.0.0.1")) as wire:
            assert self.told(wire) == ("127.0.0.1", "http")
            assert self.told(wire, *self.FIELDS) == ("192.0.2.7", "https")
            assert self.told(wire, *self.FIELDS) == ("192.0.2.7", "https")
            assert self.told(wire, "X-Forwarded-For: 192.0.2.8") == ("192.0.2.8", "http")
            assert self.told(wire, "X-Forwarded-For: 192.0.2.9, unknown") == ("127.0.0.1", "http")

    def test_the_other_spelling_is_a_setting(self, start: Callable[..., LiveServer]):
        server = start("--forwarded-allow-ips", "10.0.0.0/8,127.0.0.1", "--forwarded-header", "forwarded")
        with Wire(server) as wire:
            assert self.told(wire, *self.FIELDS) == ("198.51.100.1", "http")
            assert self.told(wire, "Forwarded: for=192.0.2.9, for=10.0.0.1;proto=https") == ("192.0.2.9", "https")

    def test_a_proxy_on_a_unix_socket(self, start: Callable[..., LiveServer], tmp_path: Path):
        command = [sys.executable, "-m", "server_core", "-b", f"unix:{tmp_path}/s"]
        with Wire(start("--forwarded-allow-ips", "127.0.0.1", command=command)) as wire:
            assert self.told(wire) == ("", "http")
            assert self.told(wire, *self.FIELDS) == ("192.0.2.7", "https")


def test_the_access_log_has_a_line_for_every_answer(start: Callable[..., LiveServer], tmp_path: Path):
    path = tmp_path / "access.log"
    form = '%(h)s "%(r)s" %(s)s %(b)s "%(a)s" %({X-A}i)s %({content-type}o)s %(m)s %(U)s %(q)s'
    server = start("--access-logfile", str(path), "--access-logformat", form)
    with Wire(server) as wire:
        wire.get("/1?a=b", 'User-Agent: x"y', "X-A: 1").reply()
        wire.get("/chunked/100000").reply()
        wire.get("/status/204", method="DELETE").reply()
        wire.get("/", method="HEAD").reply("HEAD")
        wire.get("/fail").reply()
    with Wire(server) as wire:
        wire.send(b"GET /secret HTTP/1.1\r\n\r\n").reply()
    expected = [
        '127.0.0.1 "GET /1?a=b HTTP/1.1" 200 12 "x\\"y" 1 text/plain GET /1 a=b',
        '127.0.0.1 "GET /chunked/100000 HTTP/1.1" 200 100000 "-" - a/b GET /chunked/100000 ',
        '127.0.0.1 "DELETE /status/204 HTTP/1.1" 204 - "-" - - DELETE /status/204 ',
        '127.0.0.1 "HEAD / HTTP/1.1" 200 - "-" - text/plain HEAD / ',
        '127.0.0.1 "GET /fail HTTP/1.1" 500 - "-" - - GET /fail ',
        '127.0.0.1 "- - -" 400 - "-" - - - - ',
    ]
    lines = eventually(lambda: (found := path.read_text().splitlines()) and len(found) >= len(expected) and found)
    # A line follows its answer, and another thread may be faster with the next one.
    assert sorted(lines) == sorted(expected)
