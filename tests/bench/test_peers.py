"""Knows what is promised of servers, workloads, their applications and the command line.  Starts none of them."""

from __future__ import annotations

import importlib
import json
from io import BufferedReader, BytesIO
from pathlib import Path

import pytest
import run
from environment import Environment
from figures import Row
from peers import BODY, PACKAGES, PROGRAMS, SERVERS, WAITING, WORKLOADS, Server, Workload, chosen
from processes import Bench
from run import loads, read_options
from samples import a_round

APPS = Path(__file__).parent / "apps"

# servers and workloads


def test_the_beginning_of_a_name_chooses_all_who_share_it_and_a_whole_name_chooses_one() -> None:
    assert [server.name for server in chosen(["gunicorn"])] == [
        "gunicorn sync", "gunicorn gthread", "gunicorn gevent"
    ]  # fmt: skip
    assert [server.name for server in chosen(["granian"])] == ["granian"]
    assert [server.name for server in chosen(["granian*"])] == ["granian", "granian 1 thread"]


def test_a_server_that_serves_no_python_is_chosen_only_among_all() -> None:
    assert [server.name for server in chosen(["nginx"], SERVERS)] == ["nginx"]
    with pytest.raises(ValueError, match="no server is called nginx"):
        chosen(["nginx"])


def test_an_unknown_server_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(ValueError, match="no server is called apache; there are prefork-serve-sync, "):
        chosen(["apache"])


def test_a_command_line_has_no_gap_left_and_ends_with_the_application() -> None:
    for server in SERVERS:
        for workload in filter(server.takes, WORKLOADS.values()):
            words = server.command_line(Path("/env"), 8123, workload.module, workload, Path("/files"))
            assert "{" not in " ".join(words)
            if server.is_program:
                assert f"/files/{server.key}.config" in words or not server.config
            else:
                assert words[0].startswith("/env/bin/")
                assert words[-1] == f"{workload.module}:app"
                assert "8123" in " ".join(words)


def test_a_configuration_has_no_gap_left_and_knows_port_and_answer() -> None:
    nginx = chosen(["nginx"], SERVERS)[0].config_text(8123, 2, Path("/files"))
    assert "$(" not in nginx
    assert "listen 127.0.0.1:8123 " in nginx
    assert "worker_processes 2;" in nginx
    assert f'return 200 "{BODY.decode()}";' in nginx
    granian = chosen(["granian"])[0].config_text(8123, 1, Path("/files"))
    assert json.loads(granian)["handlers"]["access"]["filename"] == "/files/granian.access"


def test_an_application_alone_is_served_by_one_worker_with_the_access_log_off() -> None:
    for server in SERVERS:
        words = " ".join(server.command_line(Path(), 8000, "attacked"))
        assert ".access" not in words
        assert server.is_program or "attacked:app" in words


def test_threads_are_added_only_where_the_application_waits() -> None:
    granian = chosen(["granian"])[0]
    for workload in (WORKLOADS[WAITING], WORKLOADS["mixed"]):
        assert "--blocking-threads" in granian.command_line(Path("/env"), 1, workload.module, workload)
    assert "--blocking-threads" not in granian.command_line(Path("/env"), 1, "plaintext", WORKLOADS["plaintext"])


def test_an_access_log_is_written_only_where_it_is_measured_and_then_to_a_file() -> None:
    for server in filter(lambda each: each.takes(WORKLOADS["logged"]), SERVERS):
        words = " ".join(server.command_line(Path(), 1, "plaintext", WORKLOADS["logged"], Path("/files")))
        told = words + server.config_text(1, 1, Path("/files")) * ("{config}" in (server.logged or ""))
        assert f"/files/{server.key}.access" in told
        assert "--disable-logging" not in words


def test_every_server_has_the_same_certificate_where_tls_is_measured_and_none_elsewhere() -> None:
    for server in filter(lambda each: each.takes(WORKLOADS["tls"]), SERVERS):
        with_tls, without = (
            " ".join(server.command_line(Path(), 1, "plaintext", WORKLOADS[name], Path("/files")))
            for name in ("handshakes", "plaintext")
        )
        assert "/files/certificate.pem" in with_tls
        assert "/files/key.pem" in with_tls
        assert "/files/" not in without.replace("/files/granian.config", "")


def test_servers_without_workers_threads_log_or_python_are_left_out_where_these_are_measured() -> None:
    def left_out(workload: str) -> set[str]:
        return {server.name for server in SERVERS if not (server.takes(WORKLOADS[workload]) or server.asgi)}

    assert left_out("plaintext") == set()
    assert left_out("closing") == {"bare loop"}
    assert left_out("logged") == {"waitress", "nginx", "bare loop"}
    assert left_out("tls") == {"granian 1 thread", "uwsgi", "waitress", "nginx", "bare loop"}
    assert left_out("flask_hello") == {"nginx", "bare loop"}
    assert left_out(WAITING) == {"granian 1 thread", "nginx", "bare loop"}
    assert left_out("mixed") == {"granian 1 thread", "nginx", "bare loop", "prefork-serve sync", "gunicorn sync"}
    assert left_out("plaintext_two") == {"waitress", "bare loop"}


def test_an_asgi_application_is_measured_with_those_that_can_serve_it() -> None:
    for workload in WORKLOADS.values():
        measured = {server.name for server in SERVERS if server.takes(workload)}
        if workload.asgi:
            assert measured == {"prefork-serve asgi", "uvicorn"}
        else:
            assert not measured & {"prefork-serve asgi", "uvicorn"}


def test_every_server_comes_from_a_package_that_is_installed_or_from_the_system() -> None:
    assert {server.package for server in SERVERS} <= {"prefork-serve", *PACKAGES, *PROGRAMS}


@pytest.mark.parametrize("workload", ["plaintext", "sleep2", "sleep50", "sleep5x1", "mixed", "bulk"])
def test_a_bare_application_answers_what_every_server_is_checked_for(
    workload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(APPS))
    told: list[object] = []
    body = importlib.import_module(workload).app({"PATH_INFO": "/"}, lambda *args: told.extend(args))
    assert b"".join(body) == BODY
    assert told == ["200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]]


def test_what_is_uploaded_is_counted_and_a_short_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(APPS))
    bulk = importlib.import_module("bulk")
    statuses: list[str] = []
    for size in (bulk.UPLOAD, bulk.UPLOAD - 1):
        bulk.app({"PATH_INFO": "/upload", "wsgi.input": BytesIO(bytes(size))}, lambda *args: statuses.append(args[0]))
    assert statuses == ["200 OK", "400 Bad Request"]


def test_a_file_goes_through_the_wrapper_of_the_server_or_in_blocks_where_it_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(APPS))
    bulk = importlib.import_module("bulk")
    monkeypatch.setattr(bulk, "FILE", tmp_path / "large")
    (tmp_path / "large").write_bytes(b"f" * 100_000)
    told: list[object] = []

    def wrapper(file: BufferedReader, size: int) -> tuple[bytes, int]:
        with file:
            return file.read(), size

    blocks = list(bulk.app({"PATH_INFO": "/file100"}, lambda *args: told.extend(args)))
    assert [len(block) for block in blocks] == [65536, 100_000 - 65536]
    assert ("Content-Length", "100000") in told[1]  # type: ignore[operator]
    wrapped = bulk.app({"PATH_INFO": "/file100", "wsgi.file_wrapper": wrapper}, lambda *args: None)
    assert wrapped == (b"f" * 100_000, 65536)


def test_every_workload_is_a_file_in_apps_and_every_file_there_is_served() -> None:
    modules = {workload.module for workload in WORKLOADS.values()} | {"told_shop", "bare_loop"}
    assert modules == {path.stem for path in APPS.glob("*.py")}
    for workload in WORKLOADS.values():
        for word in workload.wrk:
            assert not word.startswith("{") or Path(word.format(apps=APPS)).exists()


# the command line


def test_a_full_run_has_every_server_and_workload_and_each_its_own_connections() -> None:
    plan = read_options([])
    assert len(chosen(plan.servers, SERVERS)) == len(SERVERS)
    assert list(loads(plan)) == [(each, number) for each in WORKLOADS.values() for number in each.connections]
    assert plan.still


def test_a_quick_run_is_one_round_of_plaintext_beside_granian() -> None:
    plan = read_options(["--quick"])
    assert [server.name for server in chosen(plan.servers)] == ["prefork-serve sync", "granian"]
    assert [(workload.name, number) for workload, number in loads(plan)] == [("plaintext", 32)]
    assert plan.rounds == 1
    assert not plan.still


def test_what_is_asked_for_wins_over_quick() -> None:
    plan = read_options(["--quick", "--rounds", "2", "--workloads", "sleep2", "--connections", "1,4"])
    assert [(workload.name, number) for workload, number in loads(plan)] == [("sleep2", 1), ("sleep2", 4)]
    assert plan.rounds == 2


def test_what_is_apart_from_load_is_asked_for_like_a_workload_and_can_be_left_out() -> None:
    only = read_options(["--workloads", "still"])
    assert (only.still, list(loads(only))) == (True, [])
    assert not read_options(["--workloads", "plaintext"]).still
    assert not read_options(["--without-still"]).still


def test_steady_requests_come_at_half_of_what_the_slowest_reached_and_at_the_same_rate_for_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, float | None]] = []

    def one_round(bench: Bench, server: Server, workload: Workload, row: Row, seconds: int) -> None:
        asked.append((server.name, row.arrivals))
        row.rounds.append(a_round({"prefork-serve sync": 900, "granian": 601}.get(server.name, 5)))

    monkeypatch.setattr(run, "one_round", one_round)
    plan = read_options(["--workloads", "open_flask", "--rounds", "1"])
    rows = run.measure(Bench(tmp_path, APPS, tmp_path, 0, 1), Environment(), chosen(["granian*"]), plan)
    assert asked == [("prefork-serve sync", None), ("granian", None), ("granian", 300), ("granian 1 thread", 300)]
    assert {row.arrivals for row in rows} == {300}


def test_without_a_rate_nobody_is_measured_and_everybody_tells_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = Environment(failures={"granian": "no wheel"})
    monkeypatch.setattr(run, "one_round", lambda bench, server, workload, row, seconds: row.rounds.append(a_round()))
    plan = read_options(["--workloads", "open_django", "--rounds", "1"])
    (row,) = run.measure(Bench(tmp_path, APPS, tmp_path, 0, 1), environment, chosen(["waitress"]), plan)
    assert not row.counts
    assert row.failure == "no rate could be found: granian failed or made errors"


@pytest.mark.parametrize(
    "words", ["--workloads php", "--servers apache", "--rounds 0", "--connections 1,x", "--from no.json"]
)
def test_a_wrong_option_ends_the_command_with_status_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options(words.split())
    assert ended.value.code == 2
    assert words.split()[1].split(",")[-1] in capsys.readouterr().err
