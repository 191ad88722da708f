"""The times of both logs: one zone for the lines of the arbiter and of the workers, whatever the application does."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live import COMMAND, LiveServer, eventually
from projects import MANAGE_SERVE, copy_of, run

APP = """
import os, time

os.environ["TZ"] = "XXX+03:30"  # as Django does with its own
time.tzset()

def app(environ, start_response):
    if environ["PATH_INFO"] == "/boom":
        raise RuntimeError("boom")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""

needs_zones = pytest.mark.skipif(not os.path.exists("/usr/share/zoneinfo/Asia/Tokyo"), reason="no time zones here")


def offsets(text: str) -> dict[int, set[str]]:
    """The offsets from UTC in the lines of an error log, by process."""
    found: dict[int, set[str]] = {}
    for offset, pid in re.findall(r"^\[[\d-]+ [\d:]+ ([+-]\d{4})\] \[(\d+)\] \[", text, re.MULTILINE):
        found.setdefault(int(pid), set()).add(offset)
    return found


@needs_zones
def test_all_lines_have_the_zone_that_was_asked_for(tmp_path: Path, serve: Callable[..., LiveServer]) -> None:
    (tmp_path / "mine.py").write_text(APP)
    arguments = (
        "-w",
        "1",
        "--log-timezone",
        "Asia/Tokyo",
        "--access-logfile",
        "-",
        "--access-logformat",
        "%(t)s %(U)s",
    )
    server = serve(*arguments, "mine:app", cwd=tmp_path)
    assert server.get("/boom").status == 500
    server.read_until(r"^\[\d\d/\w{3}/\d{4}:[\d:]+ \+0900\] /boom$")
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    said = offsets(server.text)
    assert set(said) >= {server.pid}
    assert len(said) == 2, "the arbiter and a worker have said something"
    assert set().union(*said.values()) == {"+0900"}


def test_without_a_zone_they_are_the_systems(tmp_path: Path, serve: Callable[..., LiveServer]) -> None:
    (tmp_path / "mine.py").write_text(APP.replace("time.tzset()", "").replace('os.environ["TZ"]', "zone"))
    server = serve("-w", "1", "mine:app", cwd=tmp_path, env={"TZ": "XXX-05:45"})
    assert server.get("/boom").status == 500
    server.read_until("RuntimeError: boom")
    assert set().union(*offsets(server.text).values()) == {"+0545"}


@needs_zones
@pytest.mark.parametrize("how", [(), ("--no-preload",)])
def test_both_logs_of_a_django_project_have_its_time_zone(tmp_path: Path, serve: Any, how: tuple[str, ...]) -> None:
    pytest.importorskip("django")
    shop = copy_of("django_shop", tmp_path)
    with (shop / "shop_site" / "settings.py").open("a") as file:
        file.write('TIME_ZONE = "Asia/Tokyo"\n')
    # Django answers errors itself, so the worker's own line is about something else: a body that cannot be kept.
    arguments = ("--workers", "1", "--access-logfile", "access.log", "--error-logfile", "error.log")
    limits = ("--body-buffer-size", "0", "--limit-temp-space", "0")
    command = [*MANAGE_SERVE, "--bind", "127.0.0.1:0", "--bind", f"unix:{tmp_path}/sock", *arguments, *limits, *how]
    server: LiveServer = serve(command=command, cwd=shop, wait=False)
    error_log = shop / "error.log"
    eventually(lambda: error_log.exists() and "Stop: " in error_log.read_text())
    server.url = re.findall(r" serves .* on (\S+)", error_log.read_text())[0]
    assert server.get("/healthz/").text == "ok\n"
    assert server.get("/healthz/", "POST", b"a body").status == 503
    eventually(lambda: "A request body cannot be kept" in error_log.read_text())
    eventually(lambda: (shop / "access.log").read_text().count("\n") == 2)
    said = offsets(error_log.read_text())
    assert len(said) == 2
    assert set().union(*said.values()) == {"+0900"}
    assert len(re.findall(r" \[\d\d/\w{3}/\d{4}:[\d:]+ \+0900\] ", (shop / "access.log").read_text())) == 2


@pytest.mark.parametrize("zone", ["Atlantis/Capital", "../../etc/passwd", "/etc/passwd", "Asia", "."])
def test_a_zone_that_does_not_exist_is_one_sentence(zone: str) -> None:
    status, text = run([*COMMAND, "--log-timezone", zone, "simple:app"], Path(__file__).parents[1] / "apps")
    assert status == 2
    assert text == (
        f"Error: log_timezone: there is no time zone {zone!r} (--log-timezone) on this machine: write Europe/Berlin or "
        "UTC; time zones come with the system's package tzdata, or with pip install tzdata.\n"
    )
