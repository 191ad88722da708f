"""Knows an application with much to carry: a megabyte of memory, a hundred megabytes of a file, twenty received.

The file is found where the benchmark has put it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

BODY = b"Hello, World!"
MEGABYTE = b"m" * 1_000_000
UPLOAD = 20_000_000  # bytes that upload.lua sends
BLOCK = 65536
FILE = Path(os.environ.get("BENCH_FILES", ".")) / "large"

Start = Callable[..., Any]


def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/file100":
        return _file(environ, start_response)
    if path == "/upload":
        return _plain(start_response, b"whole", "200 OK" if _received(environ) == UPLOAD else "400 Bad Request")
    return _plain(start_response, MEGABYTE if path == "/mb1" else BODY)


def _plain(start_response: Start, body: bytes, status: str = "200 OK") -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _file(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    file = FILE.open("rb")
    size = str(os.fstat(file.fileno()).st_size)
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", size)])
    if wrapper := environ.get("wsgi.file_wrapper"):
        wrapped: Iterable[bytes] = wrapper(file, BLOCK)
        return wrapped
    return _blocks(file)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


def _received(environ: dict[str, Any]) -> int:
    total = 0
    while block := environ["wsgi.input"].read(BLOCK):
        total += len(block)
    return total
