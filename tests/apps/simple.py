"""Small WSGI applications for tests."""

from __future__ import annotations

import os
import time


def app(environ, start_response):
    """Says which process answered; /sleep/S sleeps, /stream/N yields N blocks slowly, /boom raises, /exit dies."""
    path = environ["PATH_INFO"]
    kind, _, argument = path.strip("/").partition("/")
    if kind == "sleep":
        time.sleep(float(argument))
    elif kind == "boom":
        raise RuntimeError("this page always fails")
    elif kind == "exit":
        os._exit(int(argument or 1))
    elif kind == "kill":
        os.kill(os.getpid(), int(argument or 9))
    elif kind == "stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _slowly(int(argument))
    elif kind == "echo":
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
        return [body]
    elif kind == "big":
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", argument)])
        return _big(int(argument))
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _slowly(count):
    for number in range(count):
        yield b"block %d\n" % number
        time.sleep(0.05)


def _big(size):
    while size > 0:
        yield b"x" * min(size, 65536)
        size -= 65536
