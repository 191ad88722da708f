"""Lines for a person at a terminal: what they say, when they have colours, and that no client can paint there."""

from __future__ import annotations

import os
import re
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import LiveServer
from projects import MANAGE_SERVE, shop_with_goods

from server_core.access_log import AccessLog, compile_format
from server_core.console import LONGEST_TARGET, QUERIES, SLOW_SECONDS, local_time, request_line, wants_color
from server_core.exchange import Exchange

TOKYO = timezone(timedelta(hours=9))
NOON_IN_TOKYO = 1795402800.5  # 2026-11-23 03:00:00 UTC


def told(status: str = "200 OK", seconds: float = 0.0123, ended: float = NOON_IN_TOKYO, **environ: Any) -> Exchange:
    environ = {"REQUEST_METHOD": "GET", "RAW_URI": "/cart/?a=b", **environ}
    return Exchange(environ, status, [], 5, ended, seconds)


def line(exchange: Exchange, color: bool = False) -> str:
    return request_line(color, TOKYO)(exchange)


# --- what it says


def test_a_line_says_what_was_asked_what_was_answered_and_how_long_it_took() -> None:
    assert line(told()) == "12:00:00 GET /cart/?a=b 200 12 ms"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.0 ms"),
        (0.00004, "0.0 ms"),
        (0.0042, "4.2 ms"),
        (0.0123, "12 ms"),
        (SLOW_SECONDS - 0.001, "499 ms"),
        (SLOW_SECONDS, "500 ms slow"),
        (61.0, "61000 ms slow"),
    ],
)
def test_durations_are_milliseconds_and_long_ones_are_marked(seconds: float, words: str) -> None:
    assert line(told(seconds=seconds)).endswith(f" 200 {words}")


def test_a_client_that_was_gone_got_no_status() -> None:
    assert line(told(status="")) == "12:00:00 GET /cart/?a=b gone 12 ms"


def test_what_could_not_be_read_is_a_dash() -> None:
    assert line(Exchange({}, "400 Bad Request", [], 0, NOON_IN_TOKYO, 0.0)) == "12:00:00 - - 400 0.0 ms"


@pytest.mark.parametrize(("count", "words"), [(0, "0 queries"), (1, "1 query"), (23, "23 queries")])
def test_queries_are_counted(count: int, words: str) -> None:
    assert line(told(**{QUERIES: (count, 0.0025)})).endswith(f" 12 ms, {words} 2.5 ms")


def test_a_long_target_is_cut() -> None:
    target = "/" + "x" * 500
    said = line(told(RAW_URI=target)).split(" ")[2]
    assert said == target[: LONGEST_TARGET - 3] + "..."
    assert line(told(RAW_URI=target[:LONGEST_TARGET])).split(" ")[2] == target[:LONGEST_TARGET]


@pytest.mark.parametrize(
    ("said", "shown"),
    [("\x1b[2J", "\\x1b[2J"), ("\r\n", "\\r\\n"), ("\x9b31m", "\\x9b31m"), ("\x7f", "\\x7f"), ("\u202e", "\\u202e")],
)
def test_no_client_and_no_application_can_command_the_terminal(said: str, shown: str) -> None:
    assert line(told(RAW_URI=f"/{said}")) == f"12:00:00 GET /{shown} 200 12 ms"
    assert line(told(REQUEST_METHOD=said)) == f"12:00:00 {shown} /cart/?a=b 200 12 ms"


@given(st.text(max_size=300), st.text(max_size=20))
def test_every_line_can_be_printed(target: str, method: str) -> None:
    assert line(told(RAW_URI=target, REQUEST_METHOD=method)).isprintable()


def test_letters_of_all_scripts_stay() -> None:
    assert " /b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher " in line(
        told(RAW_URI="/b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher")
    )


# --- colours


@pytest.mark.parametrize(
    ("status", "code"), [("200 OK", "32"), ("302 Found", "36"), ("404 Nowhere", "33"), ("500 Oh", "1;31"), ("", "33")]
)
def test_the_colour_tells_the_class_of_the_status(status: str, code: str) -> None:
    shown = status[:3] or "gone"
    said = f"\x1b[2m12:00:00\x1b[0m GET /cart/?a=b \x1b[{code}m{shown}\x1b[0m 12 ms"
    assert line(told(status=status), color=True) == said


def test_what_is_slow_is_red() -> None:
    assert line(told(seconds=2), color=True).endswith("\x1b[1;31m2000 ms slow\x1b[0m")


@given(st.text(max_size=50))
def test_no_client_can_paint_though_we_do(target: str) -> None:
    said = line(told(RAW_URI=target), color=True)
    assert re.sub(r"\x1b\[[0-9;]+m", "", said).isprintable()
    assert said.count("\x1b") == 4


@pytest.fixture
def terminal() -> Any:
    ours, theirs = os.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, True),
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "0"}, False),
        ({"NO_COLOR": ""}, True),  # no-color.org: "when present and not an empty string"
    ],
)
def test_a_terminal_has_colours_unless_somebody_objects(
    terminal: int, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], wanted: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert wants_color(terminal) is wanted


def test_nothing_else_has_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with (tmp_path / "file").open("w") as file:
        assert not wants_color(file.fileno())
        closed = file.fileno()
    assert not wants_color(closed)


@pytest.mark.parametrize(("color", "painted"), [("always", True), ("never", False), ("auto", False)])
def test_a_file_is_painted_only_when_it_has_to_be(tmp_path: Path, color: str, painted: bool) -> None:
    log = AccessLog("dev", str(tmp_path / "log"), color=color)
    log.record(told())
    log.flush()
    assert ("\x1b" in (tmp_path / "log").read_text()) is painted


# --- times


@pytest.mark.parametrize(("zone", "shown"), [(TOKYO, "12:00:00 +0900"), (timezone.utc, "03:00:00 +0000")])
def test_a_time_is_that_of_the_zone(zone: Any, shown: str) -> None:
    assert local_time(NOON_IN_TOKYO, zone, "%H:%M:%S %z") == shown


def test_without_a_zone_a_time_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "XXX-03:30")
    time.tzset()
    try:
        assert local_time(NOON_IN_TOKYO, None, "%H:%M:%S %z") == "06:30:00 +0330"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_time_of_an_access_log_is_that_of_the_zone() -> None:
    assert compile_format("%(t)s", zone=TOKYO)(told()) == "[23/Nov/2026:12:00:00 +0900]"
    assert compile_format("dev", zone=TOKYO)(told()).startswith("12:00:00 GET")


# --- in real servers


def test_the_dev_format_can_be_chosen_in_production(serve: Any) -> None:
    server: LiveServer = serve("--access-logfile", "-", "--access-logformat", "dev", "--color", "always", "simple:app")
    server.get("/cart?a=%1b")
    found = server.read_until(r"^\x1b\[2m\d\d:\d\d:\d\d\x1b\[0m GET /cart\?a=%1b \x1b\[32m200\x1b\[0m [\d.]+ ms$")
    assert found


def test_the_queries_of_django_are_told_in_debug_mode(tmp_path: Path, serve: Any) -> None:
    pytest.importorskip("django")
    shop = shop_with_goods(tmp_path)
    command = [*MANAGE_SERVE, "--bind", "127.0.0.1:0", "--no-reload", "--no-color"]
    server: LiveServer = serve(command=command, cwd=shop, env={"DJANGO_DEBUG": "1"})
    server.get("/")
    server.read_until(r"^\d\d:\d\d:\d\d GET / 200 [\d.]+ ms, [1-9]\d* quer(y|ies) [\d.]+ ms$")
    server.get("/healthz/")
    server.read_until(r"^\d\d:\d\d:\d\d GET /healthz/ 200 [\d.]+ ms(, \d+ quer(y|ies) [\d.]+ ms)?$")
    server.get("/static/shop/shop.css")
    server.read_until(r"GET /static/shop/shop\.css 200 .*, 0 queries 0\.0 ms$")
    server.get("/boom/")
    server.read_until(r"GET /boom/ 500 ")
