"""Knows what must hold for any bytes on a connection, and checks it; not where the bytes come from.

``check`` takes what a fuzzer makes: a byte that tells limits and number of cuts, the places of the cuts, the stream.
``walk`` reads the same stream a second time, as naively as can be: it trusts that a request was rightly accepted, and
looks only whether another reader could have seen it otherwise.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "http"))

from grammar import LINE_ENDS, PIECES
from request_corpus import CASES
from request_reader import Outcome, Request, byte_by_byte, cut, read

from server_core.settings import Limits

STATUSES = {0, 400, 413, 414, 417, 431, 501, 505}
WIDE = Limits()
# Limits that short inputs can meet.
NARROW = Limits(
    limit_request_line=64,
    limit_request_fields=6,
    limit_request_field_size=64,
    limit_request_head=256,
    limit_request_body=64,
    limit_request_trailers=32,
    limit_chunk_extensions=16,
)
#: what a fuzzer, to which a regular expression is opaque, would take long to find
WORDS = [*PIECES, *filter(None, LINE_ENDS), b"Cookie:\r\n", b"Cookie: a\r\n"]
MOST_CUTS = 15
NARROWED = 128


def seeds() -> Iterator[bytes]:
    """The corpus as inputs of ``check``: whole, and cut."""
    for _, stream, _ in CASES:
        if len(stream) < 2000:
            yield pack(stream)
            yield pack(stream, (len(stream) // 3, len(stream) // 2), narrow=True)


def pack(stream: bytes, places: tuple[int, ...] = (), narrow: bool = False) -> bytes:
    """An input of ``check``."""
    return bytes([len(places) | NARROWED * narrow]) + b"".join(each.to_bytes(2, "big") for each in places) + stream


def check(data: bytes) -> None:
    """Raises AssertionError, or whatever the parser raises besides ProtocolError, when ``data`` shows a fault."""
    first = data[0] if data else 0
    limits = NARROW if first & NARROWED else WIDE
    begin = 1 + 2 * (first & MOST_CUTS)
    places = [int.from_bytes(data[index : index + 2], "big") for index in range(1, begin, 2)]
    stream = data[begin:]

    whole = read([stream], limits)
    assert whole.refused in STATUSES, f"an unknown status: {whole.refused}"
    # Head by head is how most requests come, and the way on which a repeated head is not parsed again.
    heads = cut(stream, [found.end() for found in re.finditer(rb"\r\n\r\n", stream)])
    for pieces in (cut(stream, places), byte_by_byte(stream), heads):
        outcome = read(pieces, limits)
        assert outcome == whole, f"cut otherwise, {outcome} came instead of {whole}"
    if whole.open == "end":
        more = read([stream + b"GET /more HTTP/1.1\r\nHost: a\r\n\r\n"], limits)
        assert more == whole, f"something was read behind the end: {more}"
    for request in whole.requests:
        again = read([spelt(request)]).requests
        # A line of cookies that is empty leaves its separator behind, and white space at an end does not travel.
        fields = tuple((key, value.strip(" \t")) for key, value in request.fields)
        assert again == (replace(request, fields=fields),), f"written anew, {request} became {again}"
    walk(stream, whole)


def spelt(request: Request) -> bytes:
    """``request`` as bytes, in the plainest spelling that means the same."""
    target = (request.path or "*") + ("?" + request.query if request.query else "")
    lines = [f"{request.method} {target} HTTP/1.{request.minor}"]
    lines += [f"{key.removeprefix('HTTP_').replace('_', '-')}: {value}" for key, value in request.fields]
    body = request.body
    if "HTTP_TRANSFER_ENCODING" in dict(request.fields):
        body = b"%x\r\n%s\r\n" % (len(body), body) * bool(body) + b"0\r\n\r\n"
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def walk(stream: bytes, outcome: Outcome) -> None:
    """Raises AssertionError when an accepted request could be read in two ways, or not all bytes are accounted for."""
    position = 0
    for request in outcome.requests:
        while stream[position : position + 2] == b"\r\n":
            position += 2
        end = stream.index(b"\r\n\r\n", position)
        head = stream[position:end]
        assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", head), "a control character in a head"
        assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n"), "a line end other than CR LF"
        line, *field_lines = head.split(b"\r\n")
        method, target, version = line.split(b" ")
        assert method.decode() == request.method
        assert version[:7] == b"HTTP/1."
        assert not re.search(rb"[^!-~]|#", target), "a target with a character that cannot stand there"
        said: dict[bytes, list[bytes]] = {}
        for field_line in field_lines:
            name, colon, value = field_line.partition(b":")
            assert colon, "a line that is no field"
            assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), "a misspelt field name"
            said.setdefault(name.lower(), []).append(value.strip(b" \t"))
        asked = b",".join(said.get(b"connection", [])).lower()
        closes = b"close" in [option.strip(b" \t") for option in asked.split(b",")]
        assert not closes or request is outcome.requests[-1], "a request behind the last one"
        lengths, codings = said.get(b"content-length", []), said.get(b"transfer-encoding", [])
        assert len(lengths) + len(codings) <= 1, "more than one way to frame a request"
        assert len(said.get(b"host", [])) in ((0, 1) if version == b"HTTP/1.0" else (1,)), "not one Host"
        position = end + 4
        if codings:
            assert codings[0].lower() == b"chunked", "another coding"
            assert version != b"HTTP/1.0", "a coding in 1.0"
            body, position = _dechunked(stream, position)
        else:
            length = int(lengths[0]) if lengths and re.fullmatch(rb"[0-9]+", lengths[0]) else 0
            assert bool(length) == bool(request.body), "a body from nowhere, or a body lost"
            body, position = stream[position : position + length], position + length
        assert body == request.body, "another body"
    if outcome.open == "":
        assert position == len(stream), "bytes that belong to no request"


def _dechunked(stream: bytes, position: int) -> tuple[bytes, int]:
    body = b""
    while True:
        end = stream.index(b"\r\n", position)
        size = stream[position:end].partition(b";")[0].rstrip(b" \t")
        assert b"\n" not in stream[position:end], "a chunk size that ends in LF alone"
        assert re.fullmatch(rb"[0-9A-Fa-f]+", size), "a malformed chunk size"
        position = end + 2
        if not int(size, 16):
            break
        body += stream[position : position + int(size, 16)]
        position += int(size, 16) + 2
        assert stream[position - 2 : position] == b"\r\n", "a chunk that does not end in CR LF"
    while (end := stream.index(b"\r\n", position)) > position:
        assert re.fullmatch(rb"[^:\s]+:[^\n]*", stream[position:end]), "a trailer that is no field"
        position = end + 2
    return body, position + 2
