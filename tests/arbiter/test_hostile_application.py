"""Knows that an application in the hands of an attacker harms nobody but itself: not the arbiter, and no stranger."""

from __future__ import annotations

import signal
import subprocess

import pytest
from live import eventually
from scenes import stop, write_module

#: /say?TIMES tells the arbiter what the body has; /truncate takes its bytes from whatever has any.
HOSTILE = """
import gc
import os

def pipe_to_the_arbiter():
    # of the worker, or of the forkserver while it imports us
    for thing in gc.get_objects():
        if type(thing).__name__ == "Post":
            return thing.reports
        if type(thing).__name__ == "ForkServer":
            found = thing._boot.reports
    return found

forkservers_pipe = pipe_to_the_arbiter()

def app(environ, start_response):
    if environ["PATH_INFO"] == "/say":
        body = environ["wsgi.input"].read()
        for _ in range(int(environ["QUERY_STRING"] or 1)):
            os.write(pipe_to_the_arbiter(), body)
    if environ["PATH_INFO"] == "/truncate":
        for name in os.listdir("/proc/self/fd"):
            try:
                if "deleted" in os.readlink(f"/proc/self/fd/{name}"):
                    os.ftruncate(int(name), 0)
            except OSError:
                pass
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

if os.environ.get("CLAIM"):
    os.register_at_fork(before=lambda: os.write(forkservers_pipe, os.environ["CLAIM"].encode() + b"\\n"))
"""

NONSENSE = [
    b'{"exited": 99999999999999999999, "status": 0}\n',
    b'{"exited": 1, "status": 4991}\n',
    b'{"forked": 1, "slot": 1}\n{"ready": 1}\n{"ready": 1000000000000000000000}\n',
    b'{"unforked": 1, "why": "\\u001b[31m"}\n{"imported": true}\n',
    b'{"failed": "x", "details": "y"}\n',
    b"[" * 5000 + b"\n",
    b"\0\xff\n" * 1000,
]


@pytest.fixture
def hostile(serve, tmp_path):
    write_module(tmp_path, HOSTILE)
    return serve("-w", "1", "site_app:app", cwd=tmp_path)


def test_nothing_that_it_says_ends_the_arbiter(hostile):
    for line in NONSENSE:
        assert hostile.get("/say", "POST", line).text == "ok"
    hostile.signal(signal.SIGHUP)
    hostile.read_until("Generation 2 has taken over")
    assert hostile.get().text == "ok"
    stop(hostile)


def test_saying_the_same_over_and_over_fills_no_log(hostile):
    hostile.get("/say?2000", "POST", b'{"recycle": 1}\n')
    hostile.read_until("it will be replaced")
    eventually(lambda: hostile.get().text == "ok")
    stop(hostile)
    assert hostile.text.count("it will be replaced") == 1


def test_it_cannot_take_the_shared_memory_away_from_the_arbiter(hostile):
    assert hostile.get("/truncate").text == "ok"
    hostile.signal(signal.SIGTTIN)
    hostile.read_until("2 workers from now on")
    eventually(lambda: len(hostile.processes("worker")) == 2)
    assert hostile.get().text == "ok"
    stop(hostile)


def test_a_stranger_that_it_calls_its_worker_is_not_signalled(serve, tmp_path):
    """The forkserver says before each fork that the new worker has the number of somebody else."""
    write_module(tmp_path, HOSTILE)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        claim = f'{{"forked": {stranger.pid}, "slot": 1}}'
        arguments = ("-w", "1", "--graceful-timeout", "1s")
        server = serve(*arguments, "site_app:app", cwd=tmp_path, env={"CLAIM": claim})
        assert server.get().text == "ok"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_wait_status_that_none_can_be_is_told_as_it_is(serve, tmp_path):
    forge = """
import threading
import time

def forge():
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            for child in file.read().split():
                os.write(forkservers_pipe, f'{{"exited": {child}, "status": 4991}}\\n'.encode())
        time.sleep(0.2)

os.register_at_fork(after_in_parent=lambda: threading.Thread(target=forge, daemon=True).start())
"""
    write_module(tmp_path, HOSTILE + forge)
    server = serve("-w", "1", "site_app:app", cwd=tmp_path, wait=False)
    server.read_until("it ended with wait status 4991")
    server.signal(signal.SIGTERM)
    server.wait()
    assert "Traceback" not in server.text
