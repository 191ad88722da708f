"""Checks the Flask example without a server, through Flask's test client."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest

flask_cli = pytest.importorskip("flask.cli")

NOTES = Path(__file__).parents[2] / "example_projects" / "flask_notes"


@pytest.fixture(autouse=True)
def project(monkeypatch, tmp_path):
    """Stand in the project's folder, with a database and a folder for uploads that nobody else sees."""
    monkeypatch.chdir(NOTES)
    monkeypatch.syspath_prepend(NOTES)
    monkeypatch.setenv("NOTES_DB", str(tmp_path / "notes.sqlite3"))
    monkeypatch.setenv("NOTES_UPLOADS", str(tmp_path / "uploads"))


@pytest.fixture
def app():
    from notes import create_app

    return create_app()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def sleeps(monkeypatch):
    """The seconds that the application would have slept, one after the other; nobody really sleeps."""
    asked: list[float] = []
    monkeypatch.setattr("notes.views.time.sleep", asked.append)
    return asked


def upload(client, name: str, content: bytes):
    return client.post("/files", data={"file": (io.BytesIO(content), name)})


# Putting the application together


def test_the_factory_needs_no_arguments_and_asks_for_two_workers(app):
    assert app.config["SERVE"] == {"workers": 2}


def test_the_factory_takes_settings_that_win_over_the_environment(tmp_path):
    from notes import create_app

    create_app({"DATABASE": tmp_path / "other.sqlite3"})
    assert (tmp_path / "other.sqlite3").exists()


def test_the_flask_command_finds_the_factory_by_the_name_of_the_package():
    app = flask_cli.ScriptInfo(app_import_path="notes").load_app()
    assert app.test_client().get("/whoami").json["title"] == "Notes"


def test_the_flask_command_can_give_the_factory_a_title():
    app = flask_cli.ScriptInfo(app_import_path='notes:create_app(title="Mine")').load_app()
    assert "<title>Mine</title>" in app.test_client().get("/").text


def test_the_database_is_created_where_the_environment_says(app, tmp_path):
    assert (tmp_path / "notes.sqlite3").stat().st_size > 0


def test_init_db_tells_where_the_notes_are_and_keeps_them(app, client, tmp_path):
    client.post("/notes", data={"title": "Milk"})
    result = app.test_cli_runner().invoke(args=["init-db"])
    assert result.output == f"The notes are kept in {tmp_path / 'notes.sqlite3'}.\n"
    assert "Milk" in client.get("/").text


# Notes


def test_a_note_is_shown_after_it_was_written(client):
    page = client.post("/notes", data={"title": "Milk", "body": "two bottles"}, follow_redirects=True)
    assert page.status_code == 200
    assert "<h2>Milk</h2>" in page.text
    assert "two bottles" in page.text


def test_the_newest_note_comes_first(client):
    client.post("/notes", data={"title": "Older"})
    client.post("/notes", data={"title": "Newer"})
    page = client.get("/").text
    assert page.index("Newer") < page.index("Older")


def test_a_note_cannot_smuggle_markup_into_the_page(client):
    client.post("/notes", data={"title": "<b>bold</b>"})
    assert "&lt;b&gt;bold&lt;/b&gt;" in client.get("/").text


def test_a_note_without_a_title_is_refused(client):
    refused = client.post("/notes", data={"title": "  ", "body": "two bottles"})
    assert refused.status_code == 400
    assert "A note needs a title." in refused.text


def test_a_deleted_note_is_gone(client):
    client.post("/notes", data={"title": "Milk"})
    client.post("/notes/1/delete")
    assert "Milk" not in client.get("/").text


def test_a_note_that_is_not_there_cannot_be_deleted(client):
    assert client.post("/notes/7/delete").status_code == 404


def test_an_error_page_keeps_the_headers_of_its_error(client):
    assert "POST" in client.get("/notes").headers["Allow"]


# Files


def test_an_uploaded_file_comes_back_byte_for_byte(client):
    content = bytes(range(256)) * 1000
    assert upload(client, "picture.bin", content).status_code == 302
    with client.get("/files/picture.bin") as download:
        assert download.data == content
        assert download.headers["Content-Disposition"] == "attachment; filename=picture.bin"


def test_an_uploaded_file_is_listed(client):
    upload(client, "list.txt", b"milk")
    assert '<a href="/files/list.txt">list.txt</a>' in client.get("/").text


def test_a_file_name_cannot_lead_out_of_the_folder(client, tmp_path):
    upload(client, "../../outside.txt", b"out")
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == ["outside.txt"]


def test_an_upload_without_a_file_is_refused(client):
    assert client.post("/files", data={}).status_code == 400


def test_a_file_that_is_not_there_cannot_be_downloaded(client):
    assert client.get("/files/nothing.txt").status_code == 404


# How the notebook is being served


def test_events_arrive_one_by_one_and_then_the_end(client, sleeps):
    response = client.get("/events?n=2&interval=0.2", buffered=False)
    first, second, end = list(response.response)
    assert response.mimetype == "text/event-stream"
    assert first.startswith(b"id: 1\ndata: ")
    assert first.endswith(b"\n\n")
    assert json.loads(second.partition(b"data: ")[2])["number"] == 2
    assert end == b"event: end\ndata: {}\n\n"


def test_events_are_an_interval_apart(client, sleeps):
    assert client.get("/events?n=3&interval=0.2").text.count("id: ") == 3
    assert sleeps == [0.2, 0.2]


def test_an_event_is_sent_before_the_next_is_waited_for(client, sleeps):
    response = client.get("/events?n=3&interval=0.2", buffered=False)
    next(iter(response.response))
    assert sleeps == []
    response.close()


def test_events_come_to_an_end_however_many_are_asked_for(client, sleeps):
    assert client.get("/events?n=1000000000").text.count("id: ") == 1000


def test_whoami_tells_who_answers_and_who_asked(client):
    answer = client.get("/whoami", base_url="https://localhost", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert answer.json == {
        "version": "1",
        "title": "Notes",
        "pid": os.getpid(),
        "thread": threading.get_ident(),
        "remote_addr": "192.0.2.7",
        "scheme": "https",
        "is_secure": True,
    }


@pytest.mark.parametrize(("wish", "slept"), [("0.25", 0.25), ("86400", 10), ("-1", 0), ("long", 0.5), ("nan", 0)])
def test_the_slow_page_sleeps_as_long_as_asked_within_reason(client, sleeps, wish, slept):
    assert client.get(f"/slow?seconds={wish}").text == f"slept {slept:g} seconds\n"
    assert sleeps == [slept]


def test_the_health_page_says_ok(client):
    assert client.get("/healthz").text == "ok\n"


def test_the_failing_page_shows_an_error_page_and_logs_the_reason(client, caplog):
    answer = client.get("/boom")
    assert answer.status_code == 500
    assert "500 Internal Server Error" in answer.text
    assert "this page always fails" in caplog.text


def test_the_style_sheet_knows_the_dark(client):
    with client.get("/static/notes.css") as style:
        assert style.mimetype == "text/css"
        assert "prefers-color-scheme: dark" in style.text
