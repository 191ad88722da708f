"""Knows what a line of the access log looks like, atom by atom, and that nobody can forge one."""

from __future__ import annotations

import base64
import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_core.access_log import ATOMS, AccessLog, compile_format
from server_core.errors import ConfigError
from server_core.exchange import Exchange
from server_core.settings import ACCESS_LOG_FORMAT

ENVIRON = {
    "REMOTE_ADDR": "192.0.2.7",
    "REQUEST_METHOD": "POST",
    "RAW_URI": "/a%20b?c=d",
    "QUERY_STRING": "c=d",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_REFERER": "http://a/",
    "HTTP_USER_AGENT": "curl/8",
    "HTTP_X_REQUEST_ID": "r-1",
    "CONTENT_TYPE": "a/b",
    "wsgi.url_scheme": "https",
}


def exchange(status: str = "201 Created", sent: int = 12, seconds: float = 1.2345678, **environ: Any) -> Exchange:
    headers = [("Content-Type", "text/html"), ("X-Cache", "hit"), ("x-cache", "miss")]
    return Exchange(ENVIRON | environ, status, headers, sent, 1795402800.5, seconds)


def line(form: str, told: Exchange | None = None) -> str:
    return compile_format(form)(told or exchange())


@pytest.mark.parametrize(
    ("atom", "text"),
    [
        ("h", "192.0.2.7"),
        ("l", "-"),
        ("u", "-"),
        ("r", "POST /a%20b?c=d HTTP/1.1"),
        ("m", "POST"),
        ("U", "/a%20b"),
        ("q", "c=d"),
        ("H", "HTTP/1.1"),
        ("s", "201"),
        ("B", "12"),
        ("b", "12"),
        ("f", "http://a/"),
        ("a", "curl/8"),
        ("T", "1"),
        ("M", "1234"),
        ("D", "1234567"),
        ("L", "1.234568"),
        pytest.param("p", f"<{os.getpid()}>", id="p"),  # its name must not differ from process to process
        ("{X-Request-Id}i", "r-1"),
        ("{x-request-id}i", "r-1"),
        ("{Content-Type}i", "a/b"),
        ("{X-Cache}o", "hit"),
        ("{content-type}o", "text/html"),
        ("{wsgi.url_scheme}e", "https"),
    ],
)
def test_each_atom_says_what_it_is_for(atom: str, text: str):
    assert line(f"<%({atom})s>") == f"<{text}>"


def test_the_time_is_that_of_the_end_in_brackets():
    written = line("%(t)s")
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/2026:\d\d:\d\d:\d\d [+-]\d{4}\]", written)


def test_the_time_moves_on():
    form = compile_format("%(t)s")
    first = form(exchange())
    assert form(exchange()._replace(ended=1795402860.5)) != first
    assert form(exchange()) == first


def test_every_atom_that_exists_can_be_written():
    for atom in ATOMS:
        assert line(f"%({atom})s")


@pytest.mark.parametrize(
    ("atom", "text"),
    [("h", "-"), ("f", "-"), ("a", "-"), ("{X-Other}i", "-"), ("{X-Other}o", "-"), ("{other}e", "-"), ("q", "")],
)
def test_what_there_is_not_is_a_dash(atom: str, text: str):
    nothing = Exchange({"REMOTE_ADDR": ""}, "", [], 0, 0.0, 0.0)
    assert line(f"<%({atom})s>", nothing) == f"<{text}>"


def test_no_body_is_a_dash_or_a_zero():
    assert line("%(b)s %(B)s", exchange(sent=0)) == "- 0"


def test_no_answer_has_no_status():
    assert line("%(s)s", exchange(status="")) == "-"


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        ("Basic " + base64.b64encode(b"ann:secret").decode(), "ann"),
        ("basic " + base64.b64encode(b"ann").decode(), "ann"),
        ("Basic " + base64.b64encode("ä:x".encode()).decode(), "ä"),
        ("Basic " + base64.b64encode(b":x").decode(), "-"),
        ("Basic " + base64.b64encode(b"\xff:x").decode(), "-"),
        ("Basic !!!", "-"),
        ("Basic", "-"),
        ("Bearer abc", "-"),
        ("Basic " + base64.b64encode(b'a" 200 "\n').decode(), 'a\\" 200 \\"\\x0a'),
    ],
)
def test_the_user_is_that_of_basic_authentication_and_its_password_is_not_told(authorization: str, user: str):
    assert line("%(u)s", exchange(HTTP_AUTHORIZATION=authorization)) == user


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a"b', 'a\\"b'),
        ("a\\b", "a\\\\b"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("a\tb", "a\\x09b"),
        ("a\x00\x7f\x85b", "a\\x00\\x7f\\x85b"),
        ("%(h)s %s %", "%(h)s %s %"),
        ("\xe9", "\xe9"),
    ],
)
def test_what_would_break_a_line_or_a_quotation_is_escaped(value: str, text: str):
    assert line('"%(a)s"', exchange(HTTP_USER_AGENT=value)) == f'"{text}"'
    assert line('"%({X-A}i)s"', exchange(HTTP_X_A=value)) == f'"{text}"'


@given(value=st.text(max_size=20))
def test_a_line_is_one_line_and_a_quotation_ends_where_it_should(value: str):
    written = line('"%(a)s" end', exchange(HTTP_USER_AGENT=value))
    assert len(written.splitlines()) == 1 or not value.isascii()
    assert "\n" not in written
    assert "\r" not in written
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*" end', written, re.DOTALL)


def test_the_default_is_the_combined_format():
    written = line(ACCESS_LOG_FORMAT)
    assert re.fullmatch(r'192\.0\.2\.7 - - \[[^]]+\] "POST /a%20b\?c=d HTTP/1\.1" 201 12 "http://a/" "curl/8"', written)


@pytest.mark.parametrize("form", ["", "plain", "100%", "%s %d %%", "%", "50% of %(h)s"])
def test_other_text_stays_as_it_is(form: str):
    assert line(form) == form.replace("%(h)s", "192.0.2.7")


@pytest.mark.parametrize("atom", ["x", "hh", "Z", "S"])
def test_an_atom_that_does_not_exist_is_refused(atom: str):
    with pytest.raises(ConfigError) as caught:
        compile_format(f"%(h)s %({atom})s", "from the file x.toml")
    message = str(caught.value)
    assert f"%({atom})s" in message
    assert "from the file x.toml" in message
    assert "{name}i" in message


@pytest.mark.parametrize("form", ["%({X-A}x)s", "%(h1)s", "%({}i)s", "%()s", "%(h)d", "%(h)", "%({X-A})s"])
def test_what_looks_like_an_atom_and_is_none_is_refused(form: str):
    with pytest.raises(ConfigError):
        compile_format(form)


class TestFile:
    def test_lines_are_written_together_and_once(self, tmp_path: Path):
        file = tmp_path / "access.log"
        log = AccessLog("%(m)s %(s)s", str(file))
        log.record(exchange())
        log.record(exchange("404 Not Found"))
        assert file.read_text() == ""
        log.flush()
        log.flush()
        assert file.read_text() == "POST 201\nPOST 404\n"

    def test_lines_are_added_to_what_is_there(self, tmp_path: Path):
        file = tmp_path / "access.log"
        file.write_text("before\n")
        log = AccessLog("%(s)s", str(file))
        log.record(exchange())
        log.flush()
        assert file.read_text() == "before\n201\n"

    def test_characters_beyond_ascii_are_written_as_utf_8(self, tmp_path: Path):
        file = tmp_path / "access.log"
        log = AccessLog("%(a)s", str(file))
        log.record(exchange(HTTP_USER_AGENT="\xe9\udc80"))
        log.flush()
        assert file.read_bytes() == b"\xc3\xa9\\udc80\n"

    def test_syslog_gets_each_line_as_a_record_of_its_own(self):
        class Collector(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                told.append(record.getMessage())

        told: list[str] = []
        log = AccessLog("%(s)s 100%", None, [Collector()])
        log.record(exchange())
        log.record(exchange("404 Not Found"))
        log.flush()
        assert told == ["201 100%", "404 100%"]


class Untellable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("value", [None, 5, b"Basic", Untellable()])
def test_whatever_the_application_has_put_into_the_environ_does_no_harm(tmp_path, value: object):
    path = tmp_path / "access.log"
    log = AccessLog("%(u)s %(a)s", str(path))
    log.record(exchange(HTTP_AUTHORIZATION=value))
    log.record(exchange(HTTP_AUTHORIZATION=""))
    log.flush()
    assert path.read_text().count("\n") == 2
