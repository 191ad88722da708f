"""Clients and applications that do what is not expected of them: the worker class asgi serves the others as before."""

from __future__ import annotations

from live import LiveServer


def test_an_application_that_changes_what_it_said_last_is_heard_anew(server: LiveServer):
    for size in ("5", "7"):
        answer = server.get(f"/same_list/{size}")
        assert (answer.headers["content-length"], len(answer.body)) == (size, int(size))
