"""What children say to the arbiter arrives whole, whatever is in it; what is no message is kept as last words."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_core.arbiter.children import describe_status, exists, send_signal
from server_core.arbiter.reports import Reports
from server_core.workers.post import report


@pytest.fixture
def pipe() -> Iterator[tuple[Reports, int]]:
    read, write = os.pipe()
    reports = Reports(read)
    yield reports, write
    if not reports.closed:
        reports.close()
        os.close(write)


messages = st.dictionaries(
    st.sampled_from(["a", "b", "long_name"]), st.text(max_size=30) | st.integers() | st.booleans()
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
