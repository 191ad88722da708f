"""Applications that do what they should not, or what few do."""

from __future__ import annotations

import time


def app(environ, start_response):
    kind, _, argument = environ["PATH_INFO"].strip("/").partition("/")
    text = [("Content-Type", "text/plain")]
    if kind == "endless":
        start_response("200 OK", text)
        return iter(lambda: time.sleep(0.001) or b"and so on, ", None)
    if kind == "spoil":
        environ.clear()
        raise RuntimeError("nothing is left of the environ")
    if kind == "iterator":
        start_response("200 OK", iter([("X-User", "alice"), ("Content-Length", "2")]))
        return [b"hi"]
    if kind == "bare":
        start_response("200 OK", [])
        return [b"yo"]
    if kind == "two":
        start_response("200 OK", [("Content-Length", "9100000")])
        return iter([b"x" * 9_000_000, b"y" * 100_000])
    if kind == "nap":
        time.sleep(float(argument))
    body = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [*text, ("Content-Length", str(len(body)))])
    return [body]
