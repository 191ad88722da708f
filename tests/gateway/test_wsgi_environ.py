"""Knows what an application is told about a request."""

from __future__ import annotations

import io
import string
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.validate import validator

import pytest
from gateway_client import BASE, ask, environ
from hypothesis import example, given
from hypothesis import strategies as st

from server_core.gateway.environ import FileWrapper, unquote


class TestKeys:
    def test_an_environ_is_a_plain_dict_with_native_strings(self):
        found = environ("POST", "/a?b", CONTENT_TYPE="c/d", HTTP_X_A="\xe9")
        assert type(found) is dict
        for key, value in found.items():
            assert type(key) is str
            if not key.startswith("wsgi."):
                assert type(value) is str

    def test_what_cgi_knows(self):
        found = environ("POST", "/a/b?c=d", CONTENT_LENGTH="3", CONTENT_TYPE="e/f")
        expected = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/a/b",
            "QUERY_STRING": "c=d",
            "CONTENT_LENGTH": "3",
            "CONTENT_TYPE": "e/f",
            "HTTP_HOST": "house.example",
            "SERVER_NAME": "house.example",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": "house/1",
            "REMOTE_ADDR": "192.0.2.7",
            "REMOTE_PORT": "4711",
            "RAW_URI": "/a/b?c=d",
            "REQUEST_URI": "/a/b?c=d",
        }
        assert {key: value for key, value in found.items() if not key.startswith("wsgi.")} == expected

    def test_what_wsgi_knows(self):
        body = io.BytesIO(b"x")
        found = environ(body=body)
        assert found["wsgi.version"] == (1, 0)
        assert found["wsgi.url_scheme"] == "http"
        assert found["wsgi.input"] is body
        assert found["wsgi.errors"] is BASE["wsgi.errors"]
        assert found["wsgi.file_wrapper"] is FileWrapper
        flags = ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "wsgi.input_terminated")
        assert [found[key] for key in flags] == [False, True, False, True]
        assert {type(found[key]) for key in flags} == {bool}

    def test_1_0_is_told(self):
        assert environ(minor=0)["SERVER_PROTOCOL"] == "HTTP/1.0"

    def test_the_scheme_is_that_which_was_told(self):
        assert environ(scheme="https")["wsgi.url_scheme"] == "https"

    def test_a_peer_without_an_address_has_an_empty_one(self):
        found = environ(address="", port="")
        assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == ("", "")

    def test_no_length_is_invented(self):
        assert "CONTENT_LENGTH" not in environ("POST")
        assert "CONTENT_TYPE" not in environ("POST")

    def test_each_request_has_an_environ_of_its_own(self):
        first = environ()
        first["wsgi.url_scheme"] = "changed"
        first["HTTP_NEW"] = "x"
        second = environ()
        assert second["wsgi.url_scheme"] == "http"
        assert "HTTP_NEW" not in second
        assert "HTTP_HOST" not in BASE


class TestPath:
    @pytest.mark.parametrize(
        ("raw", "path"),
        [
            ("/", "/"),
            ("/a%20b", "/a b"),
            ("/%c3%A9", "/\xc3\xa9"),
            ("/%2F%2f", "///"),
            ("/%00", "/\x00"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%zz%41", "/%zzA"),
            ("/%%41", "/%A"),
            ("/%2541", "/%41"),
            ("/%+1% 1%-1", "/%+1% 1%-1"),
            ("/a+b", "/a+b"),
            ("", ""),
        ],
    )
    def test_a_path_is_decoded_once(self, raw: str, path: str):
        assert environ(target=raw)["PATH_INFO"] == path

    def test_a_query_and_the_raw_target_are_not_decoded(self):
        found = environ(target="/%41?%42")
        assert (found["QUERY_STRING"], found["RAW_URI"], found["REQUEST_URI"]) == ("%42", "/%41?%42", "/%41?%42")

    @given(path=st.text(st.sampled_from("%%%%" + string.printable[:94]), max_size=40))
    @example(path="%e9%E9%f")
    def test_decoding_is_that_of_urllib(self, path: str):
        assert unquote(path).encode("latin-1") == unquote_to_bytes(path)


class TestValidator:
    """The standard library's own judge finds nothing to complain about."""

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
    @pytest.mark.parametrize("target", ["/", "/a%20b?c=%20", "", "//x"])
    @pytest.mark.parametrize("minor", [0, 1])
    def test_requests_with_and_without_a_body(self, method: str, target: str, minor: int):
        def application(environ: dict[str, Any], start_response: Any) -> Any:
            stream = environ["wsgi.input"]
            body = stream.readline() + stream.read(2) + b"".join(stream.readlines()) + b"".join(stream)
            environ["wsgi.errors"].write("seen\n")
            environ["wsgi.errors"].flush()
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [body, b"."]

        told = ask(
            validator(application),
            method,
            target,
            minor=minor,
            body=io.BytesIO(b"one\ntwo\nthree"),
            CONTENT_LENGTH="13",
            CONTENT_TYPE="text/plain",
        )
        assert told.log == ""
        assert told.status == "200 OK"
        if method != "HEAD":
            assert b"one\ntwo\nthree" in told.body

    def test_an_error_in_a_stream(self):
        def application(environ: dict[str, Any], start_response: Any) -> Any:
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"a"
            raise RuntimeError("in the middle")

        told = ask(validator(application))
        assert told.was_cut
        assert "AssertionError" not in told.log

    @pytest.mark.parametrize("address", ["", "192.0.2.7"])
    def test_peers(self, address: str):
        def application(environ: dict[str, Any], start_response: Any) -> Any:
            start_response("204 No Content", [])
            return []

        assert ask(validator(application), address=address).log == ""
