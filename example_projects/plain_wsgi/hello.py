"""Is a WSGI application without any framework: what a server must be able to do, in one page.

    /                    a greeting
    /stream?lines=5      lines, made one at a time
    /file                this file, sent through wsgi.file_wrapper
    /echo                the body of the request
    /sleep?seconds=0.5   an answer that lets you wait, ten seconds at most
    /environ             what the server tells the application, as JSON

Serve `hello:app`, or make your own: `hello:create_app("Good morning")`.
"""

import json
import os
import time
from urllib.parse import parse_qs
from wsgiref.util import FileWrapper

LONGEST_SLEEP = 10.0
MOST_LINES = 100_000


def create_app(greeting="Hello"):
    """Make the application.  A page is a function of the environ; it returns content type, length and body."""
    pages = {
        "/": lambda environ: text(f"{greeting}, world!\n"),
        "/stream": stream,
        "/file": this_file,
        "/echo": echo,
        "/sleep": sleep,
        "/environ": show_environ,
    }

    def app(environ, start_response):
        page = pages.get(environ.get("PATH_INFO") or "/")
        if page is None:
            status, (kind, length, body) = "404 Not Found", text("There is nothing here.\n")
        else:
            status, (kind, length, body) = "200 OK", page(environ)
        headers = [("Content-Type", kind)]
        if length is not None:
            headers.append(("Content-Length", str(length)))
        start_response(status, headers)
        return body

    return app


def text(content, kind="text/plain; charset=utf-8"):
    body = content.encode()
    return kind, len(body), [body]


def stream(environ):
    count = int(min(number(environ, "lines", 5), MOST_LINES))
    return "text/plain; charset=utf-8", None, (f"line {i}\n".encode() for i in range(1, count + 1))


def this_file(environ):
    wrap = environ.get("wsgi.file_wrapper", FileWrapper)
    file = open(__file__, "rb")  # noqa: SIM115 - the server closes it, when it has sent it
    return "text/x-python; charset=utf-8", os.path.getsize(__file__), wrap(file, 65536)


def echo(environ):
    """Send back what came; a body of unknown length is read only where the server promises that it ends."""
    length = environ.get("CONTENT_LENGTH") or (-1 if environ.get("wsgi.input_terminated") else 0)
    body = environ["wsgi.input"].read(int(length))
    return "application/octet-stream", len(body), [body]


def sleep(environ):
    seconds = min(number(environ, "seconds", 0.5), LONGEST_SLEEP)
    time.sleep(seconds)
    return text(f"slept {seconds:g} seconds\n")


def show_environ(environ):
    """Show the environ; some servers put the process's own environment into it, and that is nobody's business."""
    told = {key: value for key, value in environ.items() if key not in os.environ}
    return text(json.dumps(told, indent=2, sort_keys=True, default=repr) + "\n", "application/json")


def number(environ, name, default):
    """The number given in the query, never below zero; the default when there is none that can be read."""
    try:
        return max(0.0, float(parse_qs(environ.get("QUERY_STRING", ""))[name][0]))
    except (KeyError, ValueError):
        return default


app = create_app()
