"""What children say to the arbiter arrives whole, whatever is in it; what is no message is kept as last words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_core.arbiter.children import Grandchild, describe_status
from server_core.arbiter.reports import FORMS, LARGEST_NUMBER, MOST_LAST_WORDS, Reports
from server_core.workers.post import report


@pytest.fixture
def pipe() -> Iterator[tuple[Reports, int]]:
    read, write = os.pipe()
    reports = Reports(read)
    yield reports, write
    if not reports.closed:
        reports.close()
        os.close(write)


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


VALUES = {bool: st.booleans(), int: st.integers(0, LARGEST_NUMBER), str: st.text(max_size=30)}
messages = st.sampled_from(FORMS).flatmap(
    lambda form: st.fixed_dictionaries({key: VALUES[kind] for key, kind in form.items()})
)
KEYS = [key for form in FORMS for key in form]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*(key for form in FORMS for key in form), "x"]), inner)
    ),
)


@given(st.lists(messages, max_size=5))
def test_whatever_is_said_is_heard(said):
    read, write = os.pipe()
    reports = Reports(read)
    for message in said:
        report(write, **message)
    os.close(write)
    assert reports.read() == said
    assert reports.closed
    assert reports.last_words == ""


@given(anything)
def test_what_has_not_the_form_of_a_message_is_none(said):
    """A worker may be in the hands of an attacker; the arbiter may be root."""
    read, write = os.pipe()
    reports = Reports(read)
    os.write(write, json.dumps(said).encode() + b"\n")
    os.close(write)
    for message in reports.read():
        assert {key: type(value) for key, value in message.items()} in FORMS


@pytest.mark.parametrize("number", [-1, LARGEST_NUMBER + 1, 10**30])
def test_a_number_that_no_process_can_have_is_no_message(pipe, number: int):
    reports, write = pipe
    report(write, exited=5, status=number)
    report(write, ready=number)
    assert reports.read() == []


def test_an_error_with_a_very_long_text_is_heard_with_its_beginning_and_its_end(pipe):
    reports, write = pipe
    writer = threading.Thread(target=report, args=(write,), kwargs={"failed": "why", "details": f"a{'é' * 10**6}z"})
    writer.start()
    heard = []
    while not heard:
        heard = reports.read()
    writer.join()
    assert heard[0]["failed"] == "why"
    details = heard[0]["details"]
    assert (details[0], details[-1]) == ("a", "z")
    assert "\n...\n" in details


def test_endless_words_cost_the_arbiter_no_more_than_they_are_long(pipe):
    """Words are gathered and cut once, not once for each line."""
    reports, write = pipe
    stopped = threading.Event()

    def talk() -> None:
        while not stopped.is_set():
            os.write(write, b"x\n" * 4096)

    talker = threading.Thread(target=talk)
    talker.start()
    while len(reports.last_words) < MOST_LAST_WORDS:
        reports.read()
    began = perf_counter()
    for _ in range(10):
        assert reports.read() == []
    took = perf_counter() - began
    stopped.set()
    while talker.is_alive():
        reports.read()
    assert took < 10


def test_neither_deep_nor_endless_messages_harm_the_arbiter(pipe):
    reports, write = pipe
    os.write(write, b"[" * 60_000 + b"\n")
    assert reports.read() == []
    writer = threading.Thread(target=write_all, args=(write, b'{"failed": "' + b"x" * (8 << 20) + b'"}\n'))
    writer.start()
    while writer.is_alive():
        assert reports.read() == []
    report(write, ready=5)
    assert reports.read() == [{"ready": 5}]
    assert len(reports.last_words) <= MOST_LAST_WORDS


def test_only_a_child_of_ours_is_signalled():
    with subprocess.Popen(["sleep", "60"]) as child:
        stranger = Grandchild(child.pid, (os.getppid(),))
        assert not stranger.exists()
        stranger.send(signal.SIGKILL)
        ours = Grandchild(child.pid, (os.getppid(), os.getpid()))
        assert ours.exists()
        ours.send(signal.SIGINT)
        assert child.wait() == -signal.SIGINT
        assert not ours.exists()
        ours.close()
    for nobody in (os.getppid(), 1, 0, LARGEST_NUMBER):
        assert not Grandchild(nobody, (os.getpid(),)).exists()


def test_a_number_that_is_not_in_use_yet_is_nobody_for_ever():
    """Else an attacker tells a number that a stranger will get, and has the arbiter signal it."""
    with subprocess.Popen(["sleep", "0"]) as gone:
        gone.wait()
    said = Grandchild(gone.pid, (os.getpid(),))
    try:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(gone.pid - 1))
    except OSError:
        pytest.skip("this user cannot choose the number of the next process")
    with subprocess.Popen(["sleep", "60"]) as successor:
        took_the_number = successor.pid == gone.pid
        said.send(signal.SIGKILL)
        assert not said.exists()
        successor.terminate()
        assert successor.wait() == -signal.SIGTERM
    if not took_the_number:
        pytest.skip("another process took the number")


def test_a_message_that_has_not_come_whole_waits_for_its_rest(pipe):
    reports, write = pipe
    os.write(write, b'{"forked": 12, "sl')
    assert reports.read() == []
    os.write(write, b'ot": 3}\n{"imported": true}\n')
    assert reports.read() == [{"forked": 12, "slot": 3}, {"imported": True}]
    assert reports.read() == []
    assert not reports.closed


def test_what_is_no_message_is_kept_as_last_words(pipe):
    reports, write = pipe
    os.write(write, b"Fatal Python error: Aborted\n[1]\n\xff\n")
    report(write, ready=7)
    os.write(write, b'{"cut sho')
    os.close(write)
    assert reports.read() == [{"ready": 7}]
    assert reports.closed
    assert reports.last_words == 'Fatal Python error: Aborted\n[1]\n\N{REPLACEMENT CHARACTER}\n{"cut sho\n'
    assert reports.read() == []


def test_nobody_minds_saying_something_when_nobody_listens(pipe):
    reports, write = pipe
    reports.close()
    report(write, ready=1)
    os.close(write)


def test_the_end_of_a_process_is_described_in_words():
    assert describe_status(0) == "exited with status 0"
    assert describe_status(3 << 8) == "exited with status 3"
    assert describe_status(signal.SIGTERM) == "was killed by SIGTERM"
    assert describe_status(signal.SIGKILL) == "was killed by SIGKILL, perhaps by the kernel for want of memory"
    assert describe_status(signal.SIGSEGV | 0x80) == "was killed by SIGSEGV"
    assert describe_status(40) == "was killed by signal 40"
    assert describe_status(None) == "is gone"


@given(st.integers(0, LARGEST_NUMBER))
def test_any_wait_status_that_a_child_may_tell_has_words(status: int):
    assert describe_status(status)
