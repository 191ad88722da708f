"""Knows that probes are answered by TLS, and where everything else is sent to https: a probe is content with a 308."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Authority
from live import WORKER_CLASSES, LiveServer
from tls_client import trusting
from wire import Wire

Start = Callable[..., LiveServer]
COMMAND = [sys.executable, "-m", "server_core", "-b", "127.0.0.1:0", "--redirect-bind", "127.0.0.1:0"]
KINDS = {
    "sync": ["probed:wsgi"],
    "gevent": ["probed:wsgi", *WORKER_CLASSES["gevent"]],
    "asgi": ["probed:asgi", "--worker-class", "asgi"],
    "tornado": ["probed:tornado()", "--worker-class", "tornado"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_probes_are_answered_by_tls_and_where_everything_else_is_sent_to_https(
    serve: Start, with_certificate: list[str], authority: Authority, kind: str, tmp_path: Path
):
    server = serve(
        *KINDS[kind],
        *with_certificate,
        "--workers",
        "1",
        "--health-path",
        "/-/live,/-/ready",
        command=COMMAND,
        wait=False,
    )
    server.secure = trusting(str(authority.path))
    server.wait_until_serving()
    with Wire(server) as wire:
        texts = [wire.get(path).reply().text for path in ("/-/live", "/-/ready", "/other")]
        assert texts == ["live\n", "ready\n", "hello /other"]
    (line,) = (line for line in server.text.splitlines() if "Redirects to https: " in line)
    server.url, server.secure = line.rpartition(" ")[2], None
    with Wire(server) as wire:
        assert [wire.get(path).reply().text for path in ("/-/live", "/-/ready")] == ["live\n", "ready\n"]
        assert wire.get("/other").reply().status == 308
