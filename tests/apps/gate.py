"""Applications that tests hold in the middle of a request: they knock at a unix socket and wait to be let through."""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time


def through_the_gate():
    """Knock, say who is here, go on when somebody says so (or has gone away)."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(os.environ["GATE"])
        gate.sendall(b"%d\n" % os.getpid())
        gate.recv(1)


def app(environ, start_response):
    """/gate waits in the application, /stream sends a block first and waits then, /nap takes 10 ms, /long_nap
    1.5 s after it has said so in the log; all tell which process answered."""
    kind = environ["PATH_INFO"].strip("/")
    if kind == "stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _in_two_parts()
    if kind == "gate":
        through_the_gate()
    elif kind == "nap":
        time.sleep(0.01)
    elif kind == "long_nap":
        print("a long nap", file=sys.stderr, flush=True)
        time.sleep(1.5)
    body = b"%d" % os.getpid()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _in_two_parts():
    yield b"%d" % os.getpid()
    through_the_gate()
    yield b" to the end"


def says_goodbye():
    """A factory whose application writes a line when its process ends in an orderly way."""
    atexit.register(lambda: sys.stderr.write(f"goodbye from {os.getpid()}\n"))
    return app
