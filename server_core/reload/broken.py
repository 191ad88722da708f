"""The application that stands in while the real one is broken: answers every request with what is wrong, and 500.

Runs in the forkserver and its workers like any other application; ``load`` is named as the loader of its generation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from server_core.gateway.loader import Application, Loaded
from server_core.http.pages import liked_best
from server_core.reload.broken_page import ASKED_AT, POLICY, draw
from server_core.reload.broken_report import Report, report_of, seen
from server_core.settings import Settings

_STATUS = "500 Internal Server Error"
_PHRASE = _STATUS[4:]


def load(target: str, settings: Settings) -> Loaded:
    """``target`` is JSON, an object of "title" (what people call the application), "sentence" (what is wrong),
    "details" (a traceback as text, or "") and "number" (an int, another for each failure).

    The source files are read now: what the page says is what was wrong then.
    """
    told = json.loads(target)
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # deleted, and that may be what is wrong
        folder = ""
    report = report_of(told["title"], told["sentence"], told["details"], told["number"], os.environ, folder)
    return Loaded(_application(report))


def _application(report: Report) -> Application:
    number = json.dumps({"number": report.number}).encode("ascii")
    pages = {method: draw(report, method).encode("utf-8") for method in ("GET", "POST")}
    problem = {"status": 500, "title": _PHRASE, "error": report.sentence, "traceback": report.lines}
    forms = {
        "text/plain": seen("\n".join((_STATUS, "", report.sentence, "", *report.lines)).rstrip("\n") + "\n").encode(),
        "application/json": (json.dumps(problem) + "\n").encode("ascii"),
    }

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        method = environ["REQUEST_METHOD"]
        headers = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
        if environ.get("PATH_INFO") == ASKED_AT:
            status, media_type, body = "200 OK", "application/json", number
        else:
            status, media_type = _STATUS, liked_best(environ.get("HTTP_ACCEPT", ""))
            if media_type == "text/html":
                body = pages["GET" if method in ("GET", "HEAD") else "POST"]
                headers.append(("Content-Security-Policy", POLICY))
            else:
                body = forms["application/json" if media_type.endswith("json") else "text/plain"]
        if media_type.startswith("text/"):
            media_type += "; charset=utf-8"
        headers += [("Content-Type", media_type), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [] if method == "HEAD" else [body]

    return application
