"""Knows what PEP 3333 promises an application about its answer, and what clients are sent when it breaks the rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_client import RecordingSink, ask

TEXT = [("Content-Type", "text/plain")]


def answers(
    *blocks: Any, status: str = "200 OK", headers: list[tuple[str, str]] | None = None, kind: Any = list
) -> Any:
    """An application that answers these blocks, as a list or whatever ``kind`` makes of a list."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, TEXT if headers is None else headers)
        return kind(list(blocks))

    return application


def one_by_one(blocks: list[bytes]) -> Iterator[bytes]:
    yield from blocks


class Closing:
    """An iterable that counts how often it is closed."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = blocks
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        for block in self.blocks:
            if isinstance(block, BaseException):
                raise block
            yield block

    def close(self) -> None:
        self.closed += 1


class TestTheUsualAnswer:
    def test_head_and_body_leave_in_one_piece(self):
        told = ask(answers(b"hello"))
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
            b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: house\r\n\r\n"
        )
        assert told.events == [("last", head + b"hello", True)]

    @pytest.mark.parametrize("kind", [list, tuple])
    @pytest.mark.parametrize("blocks", [[], [b""], [b"hello"], [b"he", b"", b"llo"]])
    def test_a_list_or_tuple_gets_its_length_and_leaves_in_one_piece(self, kind: Any, blocks: list[bytes]):
        told = ask(answers(*blocks, kind=kind))
        body = b"".join(blocks)
        assert told.body == body
        assert told.values("Content-Length") == [str(len(body))]
        assert [event[0] for event in told.events] == ["last"]
        assert told.response.sent == len(body)

    def test_blocks_of_an_iterator_go_out_as_chunks(self):
        told = ask(answers(b"he", b"llo", kind=one_by_one))
        assert told.values("Transfer-Encoding") == ["chunked"]
        assert told.values("Content-Length") == []
        assert told.body == b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        assert told.keeps_alive
        assert told.response.sent == 5

    def test_an_iterator_of_nothing_has_the_length_0(self):
        told = ask(answers(b"", b"", kind=one_by_one))
        assert told.values("Content-Length") == ["0"]
        assert told.body == b""

    def test_an_iterable_needs_neither_len_nor_iter(self):
        class Old:
            def __getitem__(self, index: int) -> bytes:
                return [b"a", b"b"][index]

        assert ask(answers(kind=lambda _: Old())).body == b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"

    def test_an_iterator_with_a_content_length_is_not_chunked(self):
        told = ask(answers(b"he", b"llo", headers=[("Content-Length", "5")], kind=one_by_one))
        assert told.values("Transfer-Encoding") == []
        assert told.values("Content-Length") == ["5"]
        assert told.body == b"hello"
        assert told.keeps_alive

    def test_a_block_is_sent_before_the_next_one_is_asked_for(self):
        sink = RecordingSink()
        seen = []

        def blocks(_: Any) -> Iterator[bytes]:
            for block in (b"a", b"", b"b"):
                seen.append(sink.sent.count(b"\r\n1\r\n"))
                yield block

        ask(answers(kind=blocks), sink=sink)
        assert seen == [0, 1, 1]


class TestVersionAndConnection:
    def test_1_0_gets_no_chunks_but_the_end_of_the_connection(self):
        told = ask(answers(b"he", b"llo", kind=one_by_one), minor=0)
        assert told.values("Transfer-Encoding") == []
        assert told.values("Connection") == ["close"]
        assert told.body == b"hello"
        assert not told.keeps_alive

    def test_1_0_that_may_persist_is_told_so(self):
        told = ask(answers(b"hello"), minor=0)
        assert told.values("Connection") == ["keep-alive"]
        assert told.keeps_alive

    def test_the_status_line_is_always_1_1(self):
        assert ask(answers(), minor=0).sink.sent.startswith(b"HTTP/1.1 200 OK\r\n")

    def test_a_connection_that_will_be_closed_says_so(self):
        told = ask(answers(b"hello"), keep_alive=False)
        assert told.values("Connection") == ["close"]
        assert not told.keeps_alive

    def test_the_application_may_ask_for_the_end_of_the_connection(self):
        told = ask(answers(b"hello", headers=[("Connection", "Close")]))
        assert told.values("Connection") == ["close"]
        assert not told.keeps_alive

    @pytest.mark.parametrize("header", [("Connection", "keep-alive"), ("Keep-Alive", "timeout=5"), ("Connection", "x")])
    def test_it_has_no_other_say_in_the_connection(self, header: tuple[str, str]):
        told = ask(answers(b"hello", headers=[header]))
        assert told.values("Connection") == told.values("Keep-Alive") == []
        assert told.keeps_alive


class TestHeaders:
    def test_headers_go_out_in_their_order_and_repeated(self):
        headers = [("Set-Cookie", "a=1"), ("X-B", "\xe9"), ("Set-Cookie", "b=2"), ("x-b", "c")]
        assert ask(answers(b"x", headers=headers)).headers[:4] == headers

    def test_own_date_and_server_are_not_doubled(self):
        told = ask(answers(b"x", headers=[("date", "then"), ("SERVER", "me")]))
        assert told.values("Date") == ["then"]
        assert told.values("Server") == ["me"]

    def test_date_and_server_are_added_where_they_are_missing(self):
        assert ask(answers(headers=[("Date", "then")])).values("Server") == ["house"]
        assert ask(answers(headers=[("Server", "me")])).values("Date") == ["Sun, 06 Nov 1994 08:49:37 GMT"]

    @pytest.mark.parametrize(
        "header",
        [
            *(
                ("X", "a\r\nSet-Cookie: b"),
                ("X", "a\nb"),
                ("X", "a\x00"),
                ("X\r\nY", "a"),
                ("X", "\u20ac"),
                ("X Y", "a"),
            ),
            *(("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"), ("Content-Length", "-1"), ("X", b"a"), (b"X", "a")),
            *(("X", None), ("X", 1), ("X",), ("X", "a", "b"), ["X", "a"], None),
        ],
    )
    def test_a_header_that_must_not_be_sent_is_a_500(self, header: Any):
        told = ask(answers(b"x", headers=[*TEXT, header]))
        assert told.status == "500 Internal Server Error"
        assert b"Set-Cookie" not in told.sink.sent
        assert told.values("Connection") == ["close"]

    def test_the_error_is_raised_where_the_header_is_set(self):
        def application(environ: Any, start_response: Any) -> Any:
            with pytest.raises(ValueError, match="cannot be sent"):
                start_response("200 OK", [("X", "a\nb")])
            start_response("202 Accepted", [])
            return [b"other"]

        told = ask(application)
        assert (told.status, told.body) == ("202 Accepted", b"other")

    @pytest.mark.parametrize(
        "status", ["100 Continue", "101 x", "199 x", "OK", "200 OK\r\nX: y", "600 x", 200, b"200 OK", None]
    )
    def test_a_status_that_is_none_is_a_500(self, status: Any):
        assert ask(answers(b"x", status=status)).status == "500 Internal Server Error"

    def test_two_content_lengths_are_a_500(self):
        told = ask(answers(b"x", headers=[("Content-Length", "1"), ("content-length", "1")]))
        assert told.status == "500 Internal Server Error"

    def test_the_list_stays_the_applications_own(self):
        headers = [("X-A", "1")]

        def application(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", headers)
            headers.append(("X-B", "2"))
            headers[0] = ("X-A", "3")
            yield b"x"

        told = ask(application)
        assert told.values("X-A") == ["1"]
        assert told.values("X-B") == []
        assert headers == [("X-A", "3"), ("X-B", "2")]

    def test_a_list_may_be_used_for_every_answer(self):
        headers = [("X-A", "1")]
        first, second = (ask(answers(b"x", headers=headers)).sink.sent for _ in range(2))
        assert first == second
        assert headers == [("X-A", "1")]


class TestStartResponse:
    def test_nothing_is_sent_before_the_first_block_that_is_not_empty(self):
        sink = RecordingSink()

        def application(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", TEXT)
            yield b""
            assert sink.events == []
            yield b"a"
            assert len(sink.events) == 1

        assert ask(application, sink=sink).keeps_alive

    def test_it_may_be_called_as_late_as_the_first_block(self):
        def application(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("202 Accepted", TEXT)
            yield b"a"

        assert ask(application).status == "202 Accepted"

    @pytest.mark.parametrize("result", [[], [b"a"], [b""]])
    @pytest.mark.parametrize("kind", [list, tuple, iter])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_it_has_to_be_called(self, method: str, kind: Any, result: Any):
        told = ask(lambda environ, start_response: kind(result), method)
        assert told.status == "500 Internal Server Error"
        assert "never called start_response" in told.log

    def test_a_second_call_is_an_error(self):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            start_response("202 Accepted", TEXT)
            return [b"a"]

        told = ask(application)
        assert told.status == "500 Internal Server Error"
        assert "twice without exc_info" in told.log

    def test_a_second_call_with_exc_info_replaces_everything_that_is_not_sent(self):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", "5"), ("X-A", "1"), ("Date", "then")])
            try:
                raise KeyError("x")
            except KeyError:
                start_response("503 Service Unavailable", [("X-B", "2")], sys.exc_info())
            return [b"sorry, later"]

        told = ask(application)
        assert told.status == "503 Service Unavailable"
        assert told.values("X-A") == []
        assert told.values("Content-Length") == ["12"]
        assert told.values("Date") == ["Sun, 06 Nov 1994 08:49:37 GMT"]
        assert told.body == b"sorry, later"
        assert told.response.status == "503 Service Unavailable"

    def test_a_first_call_may_have_exc_info_too(self):
        def application(environ: Any, start_response: Any) -> Any:
            try:
                raise KeyError("x")
            except KeyError:
                start_response("503 Service Unavailable", TEXT, sys.exc_info())
            return [b"a"]

        assert ask(application).status == "503 Service Unavailable"

    @pytest.mark.parametrize("headers", [[], [("Content-Length", "5")]])
    def test_with_exc_info_after_the_head_the_exception_is_raised_and_the_answer_cut(self, headers: Any):
        def application(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", headers)
            yield b"abc"
            try:
                raise KeyError("the true reason")
            except KeyError:
                start_response("503 Service Unavailable", TEXT, sys.exc_info())
            yield b"never"

        told = ask(application)
        assert told.was_cut
        assert b"never" not in told.sink.sent
        assert b"503" not in told.sink.sent
        assert "the true reason" in told.log

    def test_exc_info_may_be_given_as_none(self):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT, None)
            return [b"a"]

        assert ask(application).status == "200 OK"


class TestWrite:
    def test_what_is_written_is_sent_at_once_and_before_the_iterable(self):
        sink = RecordingSink()

        def application(environ: Any, start_response: Any) -> Any:
            write = start_response("200 OK", TEXT)
            write(b"ab")
            assert sink.sent.endswith(b"\r\n\r\n2\r\nab\r\n")
            write(b"c")
            return [b"de", b"", b"f"]

        told = ask(application, sink=sink)
        assert told.body == b"2\r\nab\r\n1\r\nc\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
        assert told.response.sent == 6

    def test_an_empty_write_sends_nothing(self):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)(b"")
            return [b"abc"]

        told = ask(application)
        assert told.values("Content-Length") == ["3"]

    def test_what_is_written_counts_for_the_content_length(self):
        def application(environ: Any, start_response: Any) -> Any:
            write = start_response("200 OK", [("Content-Length", "4")])
            write(b"ab")
            write(b"cdef")
            return [b"g"]

        told = ask(application)
        assert told.body == b"abcd"
        assert told.log.count("more bytes than its Content-Length") >= 1

    def test_an_answer_does_not_end_before_the_application_has_returned(self):
        sink = RecordingSink()

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", "2")])(b"ab")
            ended.append(sink.ended)
            return []

        ended: list[bool] = []
        assert ask(application, sink=sink).keeps_alive
        assert ended == [False]

    @pytest.mark.parametrize("data", ["text", None, 1, bytearray(b"a"), [b"a"]])
    def test_only_bytes_can_be_written(self, data: Any):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)(data)
            return []

        told = ask(application)
        assert told.status == "500 Internal Server Error"
        assert "write() takes bytes" in told.log

    def test_an_error_after_a_write_cuts_the_answer(self):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)(b"ab")
            raise RuntimeError

        assert ask(application).was_cut

    def test_nothing_is_written_in_answer_to_head(self):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", "2")])(b"ab")
            return []

        told = ask(application, "HEAD")
        assert (told.body, told.values("Content-Length")) == (b"", ["2"])
        assert told.keeps_alive


class TestContentLength:
    @pytest.mark.parametrize("kind", [list, one_by_one])
    def test_a_longer_body_is_cut_at_the_length_and_logged(self, kind: Any):
        told = ask(answers(b"abc", b"def", headers=[("Content-Length", "4")], kind=kind))
        assert told.body == b"abcd"
        assert "more bytes than its Content-Length" in told.log
        assert told.response.sent == 4

    @pytest.mark.parametrize("kind", [list, one_by_one])
    def test_a_shorter_body_ends_the_connection_and_is_logged(self, kind: Any):
        told = ask(answers(b"abc", headers=[("Content-Length", "5")], kind=kind))
        assert told.body == b"abc"
        assert told.values("Content-Length") == ["5"]
        assert not told.keeps_alive
        assert "sent 3 bytes but stated a Content-Length of 5" in told.log

    @pytest.mark.parametrize("kind", [list, one_by_one])
    def test_no_body_at_all_is_shorter_too(self, kind: Any):
        told = ask(answers(headers=[("Content-Length", "5")], kind=kind))
        assert told.values("Content-Length") == ["5"]
        assert not told.keeps_alive
        assert "sent 0 bytes" in told.log

    def test_a_body_beyond_the_length_0_is_cut_whole(self):
        told = ask(answers(b"abc", headers=[("Content-Length", "0")], kind=one_by_one))
        assert told.body == b""

    def test_an_error_after_the_whole_length_cannot_be_told_any_more(self):
        def blocks(_: Any) -> Iterator[bytes]:
            yield b"abc"
            raise RuntimeError("too late")

        told = ask(answers(headers=[("Content-Length", "3")], kind=blocks))
        assert told.body == b"abc"
        assert told.events[-1][0] == "last"
        assert "too late" in told.log


class TestNoBody:
    @pytest.mark.parametrize("kind", [list, one_by_one])
    def test_head_has_no_body_but_its_length(self, kind: Any):
        told = ask(answers(b"hello", headers=[("Content-Length", "5")], kind=kind), "HEAD")
        assert (told.status, told.body) == ("200 OK", b"")
        assert told.values("Content-Length") == ["5"]
        assert told.keeps_alive
        assert told.response.sent == 0

    def test_head_says_the_length_that_get_would_say(self):
        assert ask(answers(b"hello"), "HEAD").values("Content-Length") == ["5"]

    def test_head_says_no_length_when_nothing_is_known_of_it(self):
        for told in (ask(answers(), "HEAD"), ask(answers(b"a", kind=one_by_one), "HEAD")):
            assert told.values("Content-Length") == told.values("Transfer-Encoding") == []
            assert told.body == b""
            assert told.keeps_alive

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("kind", [list, one_by_one])
    @pytest.mark.parametrize("blocks", [[], [b"hello"]])
    def test_204_has_neither_body_nor_length(self, method: str, kind: Any, blocks: list[bytes]):
        told = ask(answers(*blocks, status="204 No Content", headers=[("Content-Length", "5")], kind=kind), method)
        assert told.body == b""
        assert told.values("Content-Length") == told.values("Transfer-Encoding") == []
        assert told.keeps_alive

    @pytest.mark.parametrize("kind", [list, one_by_one])
    def test_304_has_no_body_and_keeps_its_length(self, kind: Any):
        told = ask(answers(b"hello", status="304 Not Modified", headers=[("Content-Length", "5")], kind=kind))
        assert told.body == b""
        assert told.values("Content-Length") == ["5"]
        assert told.keeps_alive

    def test_304_without_a_length_gets_none(self):
        for blocks in ([], [b"hello"]):
            told = ask(answers(*blocks, status="304 Not Modified"))
            assert told.values("Content-Length") == told.values("Transfer-Encoding") == []

    @pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
    def test_1_0_keeps_its_connection_without_a_body_too(self, status: str):
        told = ask(answers(b"a", status=status, kind=one_by_one), "HEAD", minor=0)
        assert told.keeps_alive
        assert told.values("Connection") == ["keep-alive"]

    def test_a_failure_in_answer_to_head_has_no_body_either(self):
        told = ask(answers("no bytes"), "HEAD")
        assert told.status == "500 Internal Server Error"
        assert told.body == b""


class TestErrors:
    @pytest.mark.parametrize("block", ["text", None, 1, [b"a"], memoryview(b"a")])
    @pytest.mark.parametrize("kind", [list, one_by_one])
    def test_a_block_that_is_not_bytes_is_an_error(self, block: Any, kind: Any):
        told = ask(answers(block, kind=kind))
        assert told.status == "500 Internal Server Error"
        assert "not bytes" in told.log

    @pytest.mark.parametrize("block", ["text", None])
    def test_among_others_in_a_list_too(self, block: Any):
        assert ask(answers(b"a", block, b"b")).status == "500 Internal Server Error"

    @pytest.mark.parametrize("block", ["text", None])
    def test_behind_the_first_block_it_cuts_the_answer(self, block: Any):
        assert ask(answers(b"a", block, kind=one_by_one)).was_cut

    @pytest.mark.parametrize("result", [None, 1, object()])
    def test_a_result_that_is_no_iterable_is_an_error(self, result: Any):
        assert ask(answers(kind=lambda _: result)).status == "500 Internal Server Error"

    @pytest.mark.parametrize(
        "error", [RuntimeError("secret"), SystemExit("secret"), KeyboardInterrupt("secret"), GeneratorExit("secret")]
    )
    def test_whatever_is_raised_before_the_first_block_is_a_500_that_tells_nothing(self, error: BaseException):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Set-Cookie", "a=b"), ("Content-Length", "9")])
            raise error

        told = ask(application, target="/path?query")
        assert told.status == "500 Internal Server Error"
        assert told.body == b"500 Internal Server Error\n"
        assert [name for name, _ in told.headers] == ["Content-Type", "Content-Length", "Date", "Server", "Connection"]
        assert not told.keeps_alive
        assert "secret" in told.log
        assert "GET /path?query" in told.log
        assert "Traceback" in told.log

    @pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
    @pytest.mark.parametrize("headers", [[], [("Content-Length", "9")]])
    def test_behind_the_first_block_it_cuts_the_answer_without_a_last_chunk(self, error: Any, headers: Any):
        def blocks(_: Any) -> Iterator[bytes]:
            yield b"abc"
            raise error

        told = ask(answers(headers=headers, kind=blocks))
        assert told.was_cut
        assert not told.sink.sent.endswith(b"0\r\n\r\n")

    def test_a_client_that_is_gone_is_no_error_of_anybody(self):
        told = ask(answers(b"a", b"b", kind=one_by_one), sink=RecordingSink(patience=1))
        assert told.records == []

    def test_an_error_is_logged_when_its_client_is_gone_too(self):
        told = ask(answers(None), sink=RecordingSink(patience=0))
        assert "not bytes" in told.log


class TestClose:
    """``close()`` of the iterable is called exactly once, whatever happens."""

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        "result",
        [
            lambda: Closing(),
            lambda: Closing(b""),
            lambda: Closing(b"a", b"b"),
            lambda: Closing(RuntimeError()),
            lambda: Closing(b"a", RuntimeError()),
            lambda: Closing(b"a", SystemExit()),
            lambda: Closing(b"a", "text"),
        ],
    )
    @pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
    @pytest.mark.parametrize("patience", [0, 1, 10])
    def test_once(self, method: str, result: Any, status: str, patience: int):
        closing = result()
        ask(answers(status=status, kind=lambda _: closing), method, sink=RecordingSink(patience=patience))
        assert closing.closed == 1

    def test_when_start_response_was_never_called(self):
        closing = Closing(b"a")
        assert ask(lambda environ, start_response: closing).status == "500 Internal Server Error"
        assert closing.closed == 1

    def test_when_the_body_is_longer_than_its_length(self):
        closing = Closing(b"abc", b"def", b"ghi")
        ask(answers(headers=[("Content-Length", "2")], kind=lambda _: closing))
        assert closing.closed == 1

    def test_after_the_last_block(self):
        order = []

        class Result(Closing):
            def close(self) -> None:
                order.extend(["close", sink.ended])

        sink = RecordingSink()
        ask(answers(kind=lambda _: Result(b"a")), sink=sink)
        assert order == ["close", True]

    def test_a_generator_runs_to_its_finally(self):
        ended = []

        def blocks(_: Any) -> Iterator[bytes]:
            try:
                yield b"a"
                yield b"b"
            finally:
                ended.append(True)

        ask(answers(kind=blocks), sink=RecordingSink(patience=1))
        assert ended == [True]

    @pytest.mark.parametrize("error", [RuntimeError("in close"), SystemExit("in close")])
    def test_an_error_in_it_is_logged_and_changes_nothing(self, error: BaseException):
        class Result(Closing):
            def close(self) -> None:
                raise error

        told = ask(answers(headers=[("Content-Length", "1")], kind=lambda _: Result(b"a")))
        assert told.body == b"a"
        assert told.keeps_alive
        assert "in close" in told.log
        assert "Error in close()" in told.log

    def test_a_subclass_of_list_may_have_one(self):
        class Result(list[bytes]):
            closed = 0

            def close(self) -> None:
                self.closed += 1

        result = Result([b"a"])
        ask(answers(kind=lambda _: result))
        assert result.closed == 1
