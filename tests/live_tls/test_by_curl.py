"""Lets curl judge: what it trusts, which version and protocol it gets, and what it does not accept."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest
from certificates import Authority
from live import LiveServer

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

Curl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def curl(server: LiveServer, authority: Authority) -> Curl:
    """``curl("--tlsv1.3")`` asks for /x by the name localhost, and tells the versions of HTTP and what was answered."""

    def curl(*options: str, trusts: bool = True, target: str = "/x") -> subprocess.CompletedProcess[str]:
        command = ["curl", "-sS", "--noproxy", "*", "-w", " by %{http_version}", *options]
        if trusts:
            command += ["--cacert", str(authority.path)]
        url = f"https://localhost:{server.address[1]}{target}"
        return subprocess.run([*command, "--ipv4", url], capture_output=True, text=True, timeout=30)

    return curl


@pytest.mark.parametrize("asked", [[], ["--http1.1"], ["--http2"], ["--no-alpn"], ["--tlsv1.3"], ["--tls-max", "1.2"]])
def test_it_gets_http_1_1_by_every_version(curl: Curl, asked: list[str]):
    done = curl(*asked)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello GET /x by 1.1", "")


def test_it_finds_the_protocol_agreed_on(curl: Curl):
    said = curl("-v").stderr
    assert re.search("ALPN.* server accepted (to use )?http/1.1", said)
    assert "SSL certificate verify ok" in said


@pytest.mark.parametrize("most", ["1.0", "1.1"])
def test_old_versions_are_refused_with_the_reason(curl: Curl, most: str):
    done = curl("--tls-max", most, "--tlsv1.0", "--ciphers", "DEFAULT:@SECLEVEL=0")
    assert done.returncode == 35
    assert "alert protocol version" in done.stderr


def test_who_does_not_know_the_authority_does_not_trust(curl: Curl):
    assert curl(trusts=False).returncode == 60


def test_a_body_arrives_both_ways(curl: Curl):
    assert curl("--data", "all of it", target="/echo").stdout == "all of it by 1.1"
