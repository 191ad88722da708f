"""Serves the Flask example for real, with ``flask serve``, and uses it as its visitors do."""

from __future__ import annotations

import json
import re

import pytest
from projects import FLASK, Browser, copy_of

pytest.importorskip("flask")

SOME_MEGABYTES = bytes(range(256)) * 20_000


@pytest.fixture(scope="module")
def notes(serve_for_all, tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    project = copy_of("flask_notes", folder)
    command = [*FLASK, "--app", "notes", "serve", "--bind", "127.0.0.1:0", "--workers", "2"]
    return serve_for_all(command=command, cwd=project)


@pytest.fixture
def browser(notes):
    return Browser(notes)


def test_a_note_is_written_shown_and_deleted(browser):
    page = browser.post("/notes", {"title": "Milk", "body": "two bottles"})
    assert page.status == 200
    assert "two bottles" in page.text
    number = re.search(r"/notes/(\d+)/delete", page.text)
    assert "two bottles" not in browser.post(f"/notes/{number[1]}/delete", {}).text


def test_an_upload_of_some_megabytes_comes_back_byte_for_byte(browser):
    assert "picture.bin" in browser.post("/files", {}, file=("picture.bin", SOME_MEGABYTES)).text
    download = browser.get("/files/picture.bin")
    assert download.headers["content-length"] == str(len(SOME_MEGABYTES))
    assert download.body == SOME_MEGABYTES


def test_server_sent_events_arrive_one_by_one(notes):
    came: list[bytes] = []
    with notes.connect() as sock:
        sock.sendall(b"GET /events?n=3&interval=0.3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = b""
        while more := sock.recv(65536):
            data += more
            came.append(data)
    # Each event was there at a time when the next was not.
    for number in (1, 2):
        assert any(b"id: %d\n" % number in seen and b"id: %d\n" % (number + 1) not in seen for seen in came)
    assert b"event: end" in data


def test_a_style_sheet_is_a_style_sheet(browser):
    answer = browser.get("/static/notes.css")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/css")


def test_an_error_is_a_page_for_the_visitor_and_a_traceback_in_the_log(browser, notes):
    answer = browser.get("/boom")
    assert answer.status == 500
    assert "500 Internal Server Error" in answer.text
    notes.read_until(r"views\.py\", line \d+, in boom")
    notes.read_until("RuntimeError: this page always fails")


def test_the_application_knows_who_asks(browser):
    told = json.loads(browser.get("/whoami").body)
    assert (told["remote_addr"], told["scheme"], told["is_secure"]) == ("127.0.0.1", "http", False)
