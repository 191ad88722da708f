"""Knows what may be chosen of the protocol: its oldest version, its ciphers, the password of a key; and what is not."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable

import pytest
from certificates import Authority
from live import LiveServer
from tls_client import TlsClient, trusting

from server_core.settings import Tls

Start = Callable[..., LiveServer]


@pytest.fixture
def shake(authority: Authority) -> Callable[..., ssl.SSLObject]:
    """``shake(server, maximum_version=...)`` shakes hands, asks for a page, and returns the client's view of TLS."""

    def shake(server: LiveServer, *, alpn: tuple[str, ...] = (), ciphers: str = "", **options: object) -> ssl.SSLObject:
        context = trusting(str(authority.path), **options)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if ciphers:
            context.set_ciphers(ciphers)
        with server.connect_plain() as sock, TlsClient(sock, context) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
            return client.tls

    return shake


class TestVersions:
    def test_the_oldest_version_can_be_the_newest(self, serve: Start, with_certificate: list[str], shake: Callable):
        server = serve("simple:app", "-w", "1", *with_certificate, "--ssl-minimum-version", "TLSv1.3")
        assert shake(server).version() == "TLSv1.3"
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            shake(server, maximum_version=ssl.TLSVersion.TLSv1_2)


class TestCiphers:
    def test_those_for_tls_1_2_have_forward_secrecy_unless_told_otherwise(self, server: LiveServer, shake: Callable):
        old = {"maximum_version": ssl.TLSVersion.TLSv1_2}
        assert shake(server, **old).cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        assert shake(server, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305", **old).cipher()[2] == 256
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            shake(server, ciphers="ECDHE-ECDSA-AES128-SHA256", **old)  # CBC

    def test_they_can_be_chosen(self, serve: Start, with_certificate: list[str], shake: Callable):
        server = serve("simple:app", "-w", "1", *with_certificate, "--ciphers", "ECDHE-ECDSA-AES128-SHA256")
        assert shake(server, maximum_version=ssl.TLSVersion.TLSv1_2).cipher()[0] == "ECDHE-ECDSA-AES128-SHA256"
        assert shake(server).version() == "TLSv1.3", "which has ciphers of its own"


class TestAlpn:
    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [((), None), (("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "http/1.1"), (("h2",), None)],
    )
    def test_http_1_1_is_chosen_when_it_is_offered(
        self, server: LiveServer, shake: Callable, offered: tuple[str, ...], chosen: str | None
    ):
        assert shake(server, alpn=offered).selected_alpn_protocol() == chosen


class TestPasswords:
    def test_the_key_may_be_encrypted(self, serve: Start, authority: Authority, shake: Callable):
        certfile, keyfile = authority.make("encrypted", password="geheimer als ä".encode())
        files = ["--certfile", str(certfile), "--keyfile", str(keyfile)]
        server = serve("simple:app", "-w", "1", *files, env={"SERVE_KEYFILE_PASSWORD": "geheimer als ä"})
        assert shake(server).version() == "TLSv1.3"

    def test_nobody_is_shown_the_password(self, with_certificate: list[str]):
        command = [sys.executable, "-m", "server_core", "simple:app", *with_certificate, "--show-config"]
        done = subprocess.run(
            [*command, "--keyfile-password", "geheim"], capture_output=True, text=True, timeout=30, check=True
        )
        assert "geheim" not in done.stdout
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("keyfile_password"))
        assert line.split() == ["keyfile_password", "***", "--keyfile-password"]
        assert "geheim" not in repr(Tls(keyfile_password="geheim"))
