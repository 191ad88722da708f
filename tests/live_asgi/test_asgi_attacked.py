"""Clients and applications that do what is not expected of them: the worker class asgi serves the others as before."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from live import LiveServer, eventually
from wire import Wire, request

Start = Callable[..., LiveServer]

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def hold_up(server: LiveServer, seconds: float) -> Wire:
    """The loop is held up for so long; returns when it is."""
    wire = Wire(server)
    wire.get("/")
    wire.reply()
    wire.get(f"/hold_up/{seconds}")
    time.sleep(0.1)  # nothing tells that code runs which lets nobody else do so
    return wire


def test_an_application_that_changes_what_it_said_last_is_heard_anew(server: LiveServer):
    for size in ("5", "7"):
        answer = server.get(f"/same_list/{size}")
        assert (answer.headers["content-length"], len(answer.body)) == (size, int(size))


def test_a_refused_body_says_nothing_of_an_answer_that_was_about_to_begin(start: Start):
    server = start()
    for attempt in range(100):  # in some of them the application has just begun, and its head has not left
        with Wire(server) as wire:
            wire.get("/begins_and_reads", "Transfer-Encoding: chunked", method="POST")
            time.sleep(attempt % 4 * 0.0003)
            assert wire.send(b"zz\r\n").rest().count(b"HTTP/1.1 ") == 1
    assert "Traceback" not in server.text


def test_a_body_that_is_refused_with_its_head_took_no_time(start: Start):
    server = start("--access-logfile", "-", "--access-logformat", "%(s)s took %(D)s")
    assert server.raw(request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"zz\r\n"))[9:12] == b"400"
    assert int(server.read_until(r"400 took (\d+)")[1]) < 1_000_000


def test_who_is_silent_and_was_waiting_in_the_queue_does_not_hold_up_the_drain(start: Start):
    server = start("--head-timeout", "20")
    with hold_up(server, 1), Wire(server):
        server.signal(signal.SIGTERM)
        began = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - began < 8


def test_who_has_not_taken_its_answer_does_not_make_room(start: Start):
    server = start("--worker-connections", "3", "--full-policy", "refuse")
    slow = [Wire(server, receive_buffer=4096).get("/same_list/5000000") for _ in range(3)]
    try:
        for wire in slow:
            assert wire.head().status == 200
        time.sleep(0.5)
        for _ in range(3):
            assert server.get("/").status == 503
    finally:
        for wire in slow:
            wire.close()
    eventually(lambda: server.get("/").status == 200)


def test_who_sends_for_ever_lets_the_others_be_served_and_hears_that_nobody_listens(start: Start):
    server = start("--timeout", "3")
    (worker,) = server.processes()
    for _ in range(3):
        with Wire(server) as wire:
            wire.get("/endless").head()
            wire.sock.recv(1_000_000)
    began = time.monotonic()
    for _ in range(20):
        assert server.get("/pid").text == str(worker)
        time.sleep(0.2)
    assert time.monotonic() - began < 20
    ticks = used(worker)
    time.sleep(1)
    assert used(worker) - ticks < 30  # of a hundred: nothing goes on for nobody


def used(pid: int) -> int:
    """A hundredth of a second each, of the processor's time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_websocket_that_is_opened_while_its_worker_goes_is_closed_as_well(start: Start):
    server = start()
    with Wire(server) as wire, Wire(server) as running:
        running.get("/nap/1")
        wire.get("/").reply()
        server.signal(signal.SIGTERM)
        server.read_until("Received SIGTERM")
        wire.get("/reply", *HANDSHAKE)
        assert wire.head().status == 101
        assert wire.rest().startswith(b"\x88\x02\x03\xf4")  # 1012
        began = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - began < 8


def test_a_client_that_takes_nothing_of_a_websocket_is_cut_off(start: Start):
    server = start("--write-timeout", "1", "--access-logfile", "-")
    with Wire(server, receive_buffer=4096) as wire:
        assert wire.get("/pour", *HANDSHAKE).head().status == 101
        server.read_until(r'"GET /pour HTTP/1\.1" 101', patience=10)


def test_nor_does_it_hold_up_the_drain(start: Start):
    server = start()
    with Wire(server, receive_buffer=4096) as wire:
        assert wire.get("/pour", *HANDSHAKE).head().status == 101
        time.sleep(0.5)
        server.signal(signal.SIGTERM)
        began = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - began < 10
    assert not re.search("was leaving", server.text)


def test_a_body_that_is_cut_off_behind_another_request_is_refused_at_once(wire: Wire):
    wire.send(request("/nap/0.3") + request("/echo", "Content-Length: 10", method="POST", body=b"abc")).half_close()
    assert wire.reply().text == "slept"
    began = time.monotonic()
    assert wire.reply().status == 400
    assert time.monotonic() - began < 5


def test_one_that_is_whole_there_is_answered(wire: Wire):
    wire.send(request("/nap/0.3") + request("/echo", "Content-Length: 3", method="POST", body=b"abc")).half_close()
    assert [wire.reply().text, wire.reply().text] == ["slept", "abc"]


def test_a_task_that_wants_to_end_the_process_ends_itself(start: Start):
    server = start()
    workers = server.processes()
    with Wire(server) as running:
        running.get("/nap/1")
        assert server.get("/task_exits").text == "started"
        assert running.reply().text == "slept"
    assert server.processes() == workers
    assert "Error in a task of the application" in server.text


def test_who_was_refused_and_stays_makes_room(start: Start):
    server = start("--worker-connections", "3")
    refused = [Wire(server).send(b"BAD\r\n\r\n") for _ in range(3)]
    try:
        for wire in refused:
            assert wire.head().status == 400
        began = time.monotonic()
        assert server.get("/").status == 200
        assert time.monotonic() - began < 3
    finally:
        for wire in refused:
            wire.close()
