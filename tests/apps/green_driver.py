"""An application whose database driver waits in C unless it is told how, as psycopg 2 does; this one is played."""

from __future__ import annotations

import socket
import sys
import types

extensions = types.ModuleType("psycopg2.extensions")
extensions.POLL_OK, extensions.POLL_READ, extensions.POLL_WRITE = 0, 1, 2
extensions.callback = None
extensions.set_wait_callback = lambda callback: setattr(extensions, "callback", callback)
extensions.get_wait_callback = lambda: extensions.callback
sys.modules["psycopg2.extensions"] = extensions


class Connection:
    """Can be written to at once, then waits for a byte."""

    OperationalError = OSError

    def __init__(self, sock):
        self.sock = sock
        self.fileno = sock.fileno
        self.states = [extensions.POLL_WRITE, extensions.POLL_READ, extensions.POLL_OK]

    def poll(self):
        return self.states.pop(0)


WAITING = []


def app(environ, start_response):
    """/wait waits by the driver until /go has been asked for."""
    text = b"nothing"
    if environ["PATH_INFO"] == "/wait":
        here, there = socket.socketpair()
        WAITING.append(there)
        extensions.callback(Connection(here))
        text = here.recv(1)
    elif environ["PATH_INFO"] == "/go" and WAITING:
        WAITING.pop().send(b"!")
        text = b"gone"
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]
