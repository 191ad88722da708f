"""Which part of a file a Range field asks for."""

from __future__ import annotations

import pytest

from server_core.http.ranges import part_asked_for


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-199", range(200)),
        ("bytes=0-", range(200)),
        ("bytes=199-", range(199, 200)),
        ("bytes=199-199", range(199, 200)),
        ("bytes=150-999", range(150, 200)),
        ("bytes=-1", range(199, 200)),
        ("bytes=-200", range(200)),
        ("bytes=-201", range(200)),
        ("bytes=-999999999999999999", range(200)),
        ("bytes=010-0012", range(10, 13)),
        ("bytes= 1-2\t", range(1, 3)),
        ("BYTES=1-2", range(1, 3)),
    ],
)
def test_a_part_that_is_there(field: str, part: range) -> None:
    assert part_asked_for(field, 200) == part


@pytest.mark.parametrize(
    "field", ["bytes=200-", "bytes=200-200", "bytes=200-300", "bytes=999-", "bytes=-0", "bytes=-00"]
)
def test_a_part_that_is_not_there_is_empty(field: str) -> None:
    part = part_asked_for(field, 200)
    assert part is not None
    assert not part


@pytest.mark.parametrize(
    "field",
    """
    bytes=5-2 bytes=--1 bytes=-1- bytes=- bytes= bytes bytes=1 bytes=a-b bytes=1-b bytes=+1-2 bytes=1_0-20 bytes=0x1-2
    bytes=1-2,4-5 bytes=1-2, bytes=1-2-3 lines=1-2 octets=1-2 =1-2 1-2 bytes:1-2 bytes=1–2 bytes=²-3
    bytes=9999999999999999999999- bytes=-9999999999999999999999
    """.split(),
)
def test_a_field_that_is_not_understood_is_ignored(field: str) -> None:
    assert part_asked_for(field, 200) is None


def test_of_nothing_there_is_no_part() -> None:
    assert part_asked_for("bytes=-5", 0) is None
    for field in ("bytes=0-", "bytes=0-0", "bytes=-0"):
        part = part_asked_for(field, 0)
        assert part is not None
        assert not part
