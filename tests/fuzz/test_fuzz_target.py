"""Knows that the fuzz targets work: they pass over their seeds without atheris, and notice faults that are planted."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import claims_target
import request_reader
import requests_target
from fuzzing import TARGETS, plant

from server_core.http import fields, forwarded, framing, head, pages, policy, proxy_protocol

BOTH = [requests_target, claims_target]


def faults(target: ModuleType) -> list[Exception]:
    """What ``target`` has to say against its own seeds."""
    found = []
    for seed in target.seeds():
        try:
            target.check(seed)
        except Exception as fault:
            found.append(fault)
    return found


@pytest.mark.parametrize("target", BOTH)
def test_a_target_finds_no_fault_in_its_seeds(target: ModuleType):
    assert faults(target) == []


@pytest.mark.parametrize("target", BOTH)
@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01", b"\x82\x00", b"\xff\xff\xff", b"\x04\xff"])
def test_an_input_that_breaks_off_is_an_input(target: ModuleType, data: bytes):
    target.check(data)


def test_a_seed_is_taken_apart_as_it_was_put_together(monkeypatch: pytest.MonkeyPatch):
    seen: list[list[bytes]] = []
    read = requests_target.read
    monkeypatch.setattr(
        requests_target, "read", lambda pieces, *limits: (seen.append(pieces), read(pieces, *limits))[1]
    )
    requests_target.check(requests_target.pack(b"GET / HTTP/1.1\r\n", (3, 5)))
    assert seen[:2] == [[b"GET / HTTP/1.1\r\n"], [b"GET", b" /", b" HTTP/1.1\r\n"]]


def _crash(*_: object) -> None:
    raise IndexError("planted")


def _skip_two_bytes(body: Any, data: bytes, position: int, pieces: list[bytes]) -> int:
    if len(data) < position + 2:
        return -1
    body._state = body._size
    return position + 2


# What is replaced: (owner, name, by what, what the target says).
REQUEST_FAULTS: dict[str, tuple[Any, str, Any, str]] = {
    "an exception that is no refusal": (request_reader, "combine", _crash, "planted"),
    "two Host fields": (fields, "SINGLE", {}, "not one Host"),
    "a length beside a coding": (policy, "_chunked", lambda *_: policy.CHUNKED, "more than one way to frame"),
    "an expectation that becomes a server's error": (
        policy,
        "ProtocolError",
        lambda *_: _Refusal(500),
        "unknown status",
    ),
    "lines that end in LF alone": (
        head,
        "match_head",
        re.compile(head.match_head.__self__.pattern.replace(r"\r\n", r"\r?\n")).match,
        "",
    ),
    "a request behind the last one": (
        request_reader,
        "admit",
        lambda *said: (*policy.admit(*said)[:2], True, *policy.admit(*said)[3:]),
        "behind the last one",
    ),
    "a chunk without CR LF": (framing.ChunkedBody, "_data_end", _skip_two_bytes, "does not end in CR LF"),
    "a chunk size that ends in LF alone": (
        framing,
        "_match_size",
        re.compile(rb"([0-9A-Fa-f]+)([^\n]*)\n").fullmatch,
        "a chunk size that ends in LF alone",
    ),
    "a trailer that is a request": (framing, "_is_trailer", lambda *_: True, "a trailer that is no field"),
    "a repeated head with another target": (
        request_reader,
        "repeated_target",
        lambda data, repeat: head.repeated_target(data, repeat) and "/wrong",
        "cut otherwise",
    ),
    "a body that is lost": (framing.LengthBody, "feed", lambda body, data: setattr(body, "left", 0) or [], "body"),
}
CLAIM_FAULTS: dict[str, tuple[Any, str, Any, str]] = {
    "an exception that is no refusal": (pages, "liked_best", _crash, "planted"),
    "everybody is trusted": (forwarded, "trusted", lambda *_: True, "the client made us believe"),
    "a line is taken before it is whole": (
        proxy_protocol,
        "_parse_v1",
        lambda data: proxy_protocol.Origin("", "", "", len(data)),
        "when more had come",
    ),
}


class _Refusal(request_reader.ProtocolError):
    def __init__(self, status: int) -> None:
        super().__init__(status, "planted")


@pytest.mark.parametrize(
    ("target", "fault"),
    [(requests_target, fault) for fault in REQUEST_FAULTS.values()]
    + [(claims_target, fault) for fault in CLAIM_FAULTS.values()],
    ids=[*REQUEST_FAULTS, *(f"claims: {name}" for name in CLAIM_FAULTS)],
)
def test_a_target_notices_a_fault_that_is_planted(
    target: ModuleType, fault: tuple[Any, str, Any, str], monkeypatch: pytest.MonkeyPatch
):
    owner, name, planted, says = fault
    monkeypatch.setattr(owner, name, planted)
    assert any(says in str(found) for found in faults(target)), [str(found) for found in faults(target)][:9]


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_and_words_of_a_target_are_written_by_code(name: str, tmp_path: Path):
    corpus, words = tmp_path / "corpus", tmp_path / "words"
    plant(name, corpus, words)
    target = sys.modules[TARGETS[name]]
    assert {path.read_bytes() for path in corpus.iterdir()} == set(target.seeds())
    written = [bytes.fromhex(line.strip('"').replace(r"\x", "")) for line in words.read_text().splitlines()]
    assert written == list(target.WORDS)


def test_a_corpus_that_has_grown_large_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fuzzing.MOST_FILES", 10)
    for index in range(20):
        (tmp_path / str(index)).touch()
    plant("claims", tmp_path, tmp_path.parent / "words")
    assert len(list(tmp_path.iterdir())) == len(set(claims_target.seeds()))
