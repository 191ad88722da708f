"""What children say to the arbiter arrives whole, whatever is in it; what is no message is kept as last words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_core.arbiter.children import describe_status, exists, is_family, send_signal
from server_core.arbiter.reports import FORMS, MOST_LAST_WORDS, Reports
from server_core.workers.post import report


@pytest.fixture
def pipe() -> Iterator[tuple[Reports, int]]:
    read, write = os.pipe()
    reports = Reports(read)
    yield reports, write
    if not reports.closed:
        reports.close()
        os.close(write)


VALUES = {bool: st.booleans(), int: st.integers(), str: st.text(max_size=30)}
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


def test_neither_deep_nor_endless_messages_harm_the_arbiter(pipe):
    reports, write = pipe
    os.write(write, b"[" * 60_000 + b"\n")
    assert reports.read() == []
    writer = threading.Thread(target=report, args=(write,), kwargs={"failed": "x" * (8 << 20), "details": ""})
    writer.start()
    while writer.is_alive():
        assert reports.read() == []
    report(write, ready=5)
    assert reports.read() == [{"ready": 5}]
    assert len(reports.last_words) <= MOST_LAST_WORDS


def test_only_children_of_ours_are_family():
    with subprocess.Popen(["sleep", "60"]) as child:
        assert is_family(child.pid, (os.getpid(),))
        assert not is_family(child.pid, (os.getppid(),))
        child.kill()
    assert is_family(child.pid, ())  # gone: nobody is harmed by a signal
    for stranger in (os.getppid(), 1, 0, -1):
        assert not is_family(stranger, (os.getpid(),))


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


def test_no_process_is_taken_for_the_one_with_number_zero():
    """Signal 0 to process 0 would reach everybody in our own group."""
    send_signal(0, signal.SIGKILL)
    assert exists(os.getpid())
    assert not exists(0)
    assert not exists(2**22 + 1)
