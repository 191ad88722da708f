"""A WSGI application with a page for each promise that a server makes; its tests are in live_http."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.validate import validator

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

BLOCK = bytes(range(256)) * 256
TEXT = ("Content-Type", "text/plain")


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """/NAME/ARGUMENT?key=value calls the page NAME; any other path says hello."""
    name, _, argument = environ["PATH_INFO"].strip("/").partition("/")
    page = PAGES.get(name, hello)
    return page(environ, start_response, argument, dict(parse_qsl(environ["QUERY_STRING"])))


def _answer(start_response: StartResponse, body: bytes, status: str = "200 OK") -> list[bytes]:
    start_response(status, [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def hello(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    return _answer(start_response, f"hello {environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode("latin-1"))


def told(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """The environ as JSON; then the application spoils it, as it may."""
    body = json.dumps({key: value for key, value in environ.items() if isinstance(value, (str, bool))}).encode()
    environ.clear()
    environ["REQUEST_METHOD"] = environ["RAW_URI"] = environ["SERVER_PROTOCOL"] = "spoilt"
    return _answer(start_response, body)


def account(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What was understood of a request: for the corpus, whose targets name no pages."""
    told = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "body": environ["wsgi.input"].read().decode("latin-1"),
    }
    return _answer(start_response, json.dumps(told).encode())


def echo(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    return _answer(start_response, environ["wsgi.input"].read())


def mark(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """Leaves a mark on its input, and tells whether there was one already."""
    stream = environ["wsgi.input"]
    found = hasattr(stream, "mark")
    stream.mark = True  # type: ignore[attr-defined]
    return _answer(start_response, str(found).encode())


def unread(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    return _answer(start_response, b"I did not look")


def digest(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """Length and hash of the request body, and whether it was kept in a file."""
    stream = environ["wsgi.input"]
    try:
        stream.fileno()
        kept = "file"
    except OSError:
        kept = "memory"
    total, found = 0, hashlib.sha256()
    while block := stream.read(100_000):
        total += len(block)
        found.update(block)
    return _answer(start_response, f"{total} {found.hexdigest()} {kept}".encode())


def _blocks(size: int) -> Iterator[bytes]:
    while size > 0:
        yield BLOCK[:size]
        size -= len(BLOCK)


def big(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "a/b"), ("Content-Length", argument)])
    return _blocks(int(argument))


_inside: list[int] = []
_most_inside = 0


def crowd(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """A stream whose blocks take a moment; how many threads are in there at once is what /crowded tells."""
    global _most_inside
    start_response("200 OK", [("Content-Type", "a/b"), ("Content-Length", argument)])
    for block in _blocks(int(argument)):
        _inside.append(1)
        time.sleep(float(query.get("pause", 0.0002)))
        _most_inside = max(_most_inside, len(_inside))
        _inside.pop()
        yield block


def crowded(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    return _answer(start_response, str(_most_inside).encode())


def chunked(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "a/b")])
    return _blocks(int(argument))


def whole(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "a/b")])
    return [b"".join(_blocks(int(argument)))]


def tardy(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """The same after a moment."""
    time.sleep(0.1)
    return whole(environ, start_response, argument, query)


def file(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "a/b")])
    return environ["wsgi.file_wrapper"](open(query["path"], "rb"))


def status(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    start_response(f"{argument} Whatever", [])
    return [b"a body ", b"nevertheless"] if query.get("as") == "list" else iter([b"a body ", b"nevertheless"])


def gate(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """Waits until somebody opens the gate."""
    _wait_at(query["path"])
    return _answer(start_response, b"through the gate")


def blocks(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """A block, then the gate, then another block, and perhaps once more; also with a length.  With ``unbuffered``
    no proxy shall keep them."""
    length = [("Content-Length", query["length"])] if "length" in query else []
    start_response("200 OK", [TEXT, *length, *([("X-Accel-Buffering", "no")] if "unbuffered" in query else [])])
    yield b"first"
    _wait_at(query["path"])
    yield b"second"
    if "again" in query:
        _wait_at(query["again"])
        yield b"third"


def hints(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """Early hints before an answer of so many bytes, perhaps a gate between them; and once more when it is too late."""
    send = environ["wsgi.early_hints"]
    send([("Link", "</style.css>; rel=preload; as=style"), ("X-Hint", environ["RAW_URI"])])
    if "path" in query:
        _wait_at(query["path"])
    for _ in range(int(query.get("more", 0))):
        send([("X-Hint", "x" * 60_000)])
    size = int(argument or 5)
    start_response("200 OK", [TEXT, ("Content-Length", str(size))])
    if query.get("as") == "stream":
        return _hinted(send, size)
    return [BLOCK[:size] if size <= len(BLOCK) else b"".join(_blocks(size))]


def _hinted(send: Callable[..., None], size: int) -> Iterator[bytes]:
    send([("X-Hint", "before the first block")])
    for block in _blocks(size):
        yield block
        send([("X-Hint", "too late")])


def nap(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    time.sleep(int(argument) / 1000)
    return _answer(start_response, f"slept {argument} ms".encode())


def busy(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """Like ``nap``, but lets nobody else go on who is not another thread."""
    until = time.perf_counter() + int(argument) / 1000
    while time.perf_counter() < until:
        pass
    return _answer(start_response, f"slept {argument} ms".encode())


def _wait_at(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as gate:  # which lets other greenlets go on, where there are any
        gate.connect(path)
        gate.recv(1)


class endless:
    """Blocks without an end; a letter in a file for each close()."""

    def __init__(self, environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> None:
        self.path = query["path"]
        start_response("200 OK", [TEXT])

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield BLOCK

    def close(self) -> None:
        with open(self.path, "a") as log:
            log.write("x")


def head(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """An answer whose head has so many cookies of 1,000 bytes."""
    start_response("200 OK", [TEXT, *(("Set-Cookie", f"c{number}={'x' * 1000}") for number in range(int(argument)))])
    return [b"a large head"]


def fail(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    raise RuntimeError("this page always fails")


def late(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    yield b"so far so good"
    raise RuntimeError("this page always fails too late")


def leave(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    raise SystemExit(1)


def cramp(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    """From now on this process gets no memory for the stack of another thread."""
    with open("/proc/self/statm") as file:
        most = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (512 << 20)  # malloc takes 64 for a thread
    threading.stack_size(1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return _answer(start_response, b"")


class closes:
    """Takes its time in close(), and leaves a word when that is done."""

    def __init__(self, environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> None:
        self.path = query["path"]
        start_response("200 OK", [TEXT, ("Content-Length", "3")])

    def __iter__(self) -> Iterator[bytes]:
        yield b"bye"

    def close(self) -> None:
        time.sleep(1)
        with open(self.path, "w") as log:
            log.write("closed")


def pid(environ: Environ, start_response: StartResponse, argument: str, query: dict[str, str]) -> Iterable[bytes]:
    return _answer(start_response, str(os.getpid()).encode())


PAGES: dict[str, Callable[..., Iterable[bytes]]] = {
    page.__name__: page
    for page in (
        *(
            told,
            echo,
            unread,
            digest,
            big,
            crowd,
            crowded,
            chunked,
            whole,
            tardy,
            mark,
            file,
            status,
            gate,
            busy,
            blocks,
            hints,
            head,
            nap,
            endless,
            cramp,
            closes,
            fail,
            late,
            leave,
            pid,
        ),
    )
}


PAGES |= {"events": blocks, "upload": digest}  # the paths for which a proxy has lines of its own


def _polite(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    stream = environ["wsgi.input"]
    body = stream.readline() + stream.read(3) + b"".join(stream.readlines()) + stream.read(-1)
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].flush()
    environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    start_response("200 OK", [TEXT])
    return [b"valid ", body]


validated = validator(_polite)
