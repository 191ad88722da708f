"""The application that the promises are tried on; ``/PAGE/ARGUMENT`` calls a page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

BLOCK = bytes(range(256)) * 64


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A page, or "hello" with the path that was asked for."""
    page, _, argument = environ["PATH_INFO"].strip("/").partition("/")
    found = _PAGES.get(page)
    if found is not None:
        return found(environ, start_response, argument)
    return _whole(start_response, b"hello " + environ["PATH_INFO"].encode("latin-1"))


def _whole(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _echo(environ: Environ, start_response: StartResponse, argument: str) -> Iterable[bytes]:
    return _whole(start_response, environ["wsgi.input"].read())


def _pid(environ: Environ, start_response: StartResponse, argument: str) -> Iterable[bytes]:
    return _whole(start_response, b"%d" % os.getpid())


def _sleep(environ: Environ, start_response: StartResponse, argument: str) -> Iterable[bytes]:
    time.sleep(float(argument))
    return _whole(start_response, b"slept")


def _blocks(environ: Environ, start_response: StartResponse, argument: str) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first"
    time.sleep(float(argument))
    yield b"second"


def _large(environ: Environ, start_response: StartResponse, argument: str) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "a/b"), ("Content-Length", str(int(argument) * len(BLOCK)))])
    for _ in range(int(argument)):
        yield BLOCK


def _fail(environ: Environ, start_response: StartResponse, argument: str) -> Iterable[bytes]:
    raise RuntimeError("this page always fails")


class _Endless:
    """Blocks without an end; ``close`` makes a file."""

    def __init__(self, environ: Environ, start_response: StartResponse, argument: str) -> None:
        self._path = environ["QUERY_STRING"]
        start_response("200 OK", [("Content-Type", "a/b")])

    def __iter__(self) -> Iterator[bytes]:
        while True:
            time.sleep(0.001)
            yield BLOCK

    def close(self) -> None:
        with open(self._path, "w") as file:
            file.write("closed")


@validator
def _valid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(1 << 20)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"valid ", body]


_PAGES: dict[str, Callable[[Environ, StartResponse, str], Iterable[bytes]]] = {
    "echo": _echo,
    "pid": _pid,
    "sleep": _sleep,
    "blocks": _blocks,
    "large": _large,
    "fail": _fail,
    "endless": _Endless,
    "valid": lambda environ, start_response, argument: _valid(environ, start_response),
}
