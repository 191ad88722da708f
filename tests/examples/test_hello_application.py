"""Checks the plain WSGI example without a server; the standard library's validator looks over its shoulder."""

from __future__ import annotations

import io
import json
from pathlib import Path
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

PLAIN = Path(__file__).parents[2] / "example_projects" / "plain_wsgi"


@pytest.fixture
def hello(monkeypatch):
    monkeypatch.syspath_prepend(PLAIN)
    import hello

    return hello


@pytest.fixture
def get(hello):
    """Ask the application as a server would; gives status, headers and the chunks of the body."""

    def get(path: str, query: str = "", app=hello.app, **environ):
        told = {}

        def start_response(status, headers, exc_info=None):
            told.update(status=status, headers=dict(headers))
            return lambda chunk: None

        environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, **environ}
        setup_testing_defaults(environ)
        body = validator(app)(environ, start_response)
        try:
            return told["status"], told["headers"], list(body)
        finally:
            body.close()

    return get


@pytest.fixture
def sleeps(monkeypatch, hello):
    """The seconds that the application would have slept; nobody really sleeps."""
    asked: list[float] = []
    monkeypatch.setattr(hello.time, "sleep", asked.append)
    return asked


def test_the_first_page_greets(get):
    status, headers, body = get("/")
    assert (status, headers["Content-Length"], body) == ("200 OK", "14", [b"Hello, world!\n"])


def test_the_factory_changes_the_greeting(get, hello):
    assert get("/", app=hello.create_app("Good morning"))[2] == [b"Good morning, world!\n"]


def test_an_empty_path_is_the_first_page(get):
    assert get("", SCRIPT_NAME="/hello")[0] == "200 OK"


def test_an_unknown_page_is_not_found(get):
    assert get("/nowhere")[0] == "404 Not Found"


def test_a_stream_has_no_length_and_comes_line_by_line(get):
    status, headers, body = get("/stream", "lines=3")
    assert status == "200 OK"
    assert "Content-Length" not in headers
    assert body == [b"line 1\n", b"line 2\n", b"line 3\n"]


def test_a_stream_comes_to_an_end_however_long_it_is_asked_to_be(get):
    assert len(get("/stream", "lines=inf")[2]) == 100_000


def test_the_file_is_sent_whole(get, hello):
    _, headers, body = get("/file")
    content = Path(hello.__file__).read_bytes()
    assert b"".join(body) == content
    assert headers["Content-Length"] == str(len(content))


def test_the_file_is_sent_by_the_wrapper_of_the_server(get):
    wrapped = []

    class Wrapper(FileWrapper):
        def __init__(self, *arguments):
            wrapped.append(arguments)
            super().__init__(*arguments)

    get("/file", **{"wsgi.file_wrapper": Wrapper})
    assert len(wrapped) == 1


def test_echo_returns_the_body(get):
    body = {"wsgi.input": io.BytesIO(b"ping and more"), "CONTENT_LENGTH": "4", "REQUEST_METHOD": "POST"}
    assert get("/echo", **body)[2] == [b"ping"]


def test_echo_reads_to_the_end_where_the_server_promises_one(get):
    body = {"wsgi.input": io.BytesIO(b"ping"), "wsgi.input_terminated": True, "REQUEST_METHOD": "POST"}
    assert get("/echo", **body)[2] == [b"ping"]


def test_echo_leaves_a_body_without_promise_and_length_alone(get):
    assert get("/echo", **{"wsgi.input": io.BytesIO(b"ping")})[2] == [b""]


@pytest.mark.parametrize(("wish", "slept"), [("0.25", 0.25), ("86400", 10), ("-1", 0), ("long", 0.5)])
def test_the_sleeping_page_sleeps_as_long_as_asked_within_reason(get, sleeps, wish, slept):
    assert get("/sleep", f"seconds={wish}")[2] == [f"slept {slept:g} seconds\n".encode()]
    assert sleeps == [slept]


def test_the_environ_is_shown_as_json(get):
    _, headers, body = get("/environ", "a=1", HTTP_X_COLOUR="blue")
    assert headers["Content-Type"] == "application/json"
    shown = json.loads(body[0])
    assert shown["QUERY_STRING"] == "a=1"
    assert shown["HTTP_X_COLOUR"] == "blue"
    assert shown["wsgi.url_scheme"] == "http"


def test_the_environ_of_the_process_stays_secret(get, monkeypatch):
    monkeypatch.setenv("PASSWORD", "sesame")
    assert "PASSWORD" not in json.loads(b"".join(get("/environ", PASSWORD="sesame")[2]))
