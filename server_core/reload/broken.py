"""The application that stands in while the real one is broken: answers every request with what is wrong, and 500.

Runs in the forkserver and its workers like any other application; ``load`` is named as the loader of its generation.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from server_core.gateway.loader import Application, Loaded
from server_core.http.pages import liked_best
from server_core.http.policy import host_is_allowed
from server_core.reload.broken_page import ASKED_AT, POLICY, draw
from server_core.reload.broken_report import Report, report_of, seen
from server_core.settings import Settings

_STATUS = "500 Internal Server Error"
_PHRASE = _STATUS[4:]
_ELSEWHERE = (
    "the application cannot be loaded. What is wrong is shown at localhost, at an IP address, and at a host of "
    "allowed_hosts (for Django ALLOWED_HOSTS); this request is for another host"
)


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
    bound = (binding.host for binding in settings.sockets.bind if binding.kind == "tcp")
    hosts = ("localhost", ".localhost", *bound, *settings.paths.allowed_hosts)
    shown, hidden = _application(report), _application(replace(report, sentence=_ELSEWHERE, told=[]))

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        is_meant = _is_meant(environ.get("HTTP_HOST", ""), hosts)
        return (shown if is_meant else hidden)(environ, start_response)

    return Loaded(application)


def _is_meant(host: str, hosts: tuple[str, ...]) -> bool:
    """Is ``host``, a Host field or "", the name that a person uses?  Any page of the web can have its own name point
    to this machine, and would then read what is here (DNS rebinding); what it cannot have is an address for a name."""
    if not host or host_is_allowed(host, hosts):
        return True
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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
