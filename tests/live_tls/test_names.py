"""Knows which certificate is shown to whom: by the name that a client says it comes for (SNI)."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Authority
from live import LiveServer, receive_all
from tls_client import TlsClient, trusting

Start = Callable[..., LiveServer]
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def title_for(server: LiveServer, context: ssl.SSLContext, name: str | None, **options: object) -> str:
    """Whose certificate is shown to a client that comes for ``name``."""
    with server.connect_plain() as sock, TlsClient(sock, context, name=name, **options) as client:  # type: ignore[arg-type]
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        subject = client.tls.getpeercert()["subject"]  # type: ignore[index]
        return str(subject[0][0][1])


@pytest.fixture
def anybody(authority: Authority) -> ssl.SSLContext:
    """Trusts the authority, whatever the name."""
    return trusting(str(authority.path), check_hostname=False)


@pytest.fixture(scope="session")
def by_name(authority: Authority) -> list[str]:
    """Options for certificates of several names, the last in one file with its key."""
    shop = authority.make("shop", title="shop", names=("shop.example", "www.shop.example"), kind="rsa")
    below = authority.make("below", title="below", names=("*.shop.example",))
    both = authority.directory / "both.pem"
    certfile, keyfile = authority.make("one-file", title="one file", names=("other.example",))
    both.write_bytes(keyfile.read_bytes() + certfile.read_bytes())
    return [
        *("--sni-certificate", f"shop.example={shop[0]}:{shop[1]}"),
        *("--sni-certificate", f"*.Shop.example={below[0]}:{below[1]},other.example={both}"),
    ]


@pytest.fixture(scope="session")
def names(options: list[str], by_name: list[str], authority: Authority):
    """A server with certificates for several names."""
    server = LiveServer("contract:app", *options, *by_name)
    server.secure = trusting(str(authority.path))
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("shop.example", "shop"),
        ("SHOP.example", "shop"),
        ("www.shop.example", "below"),
        ("a.www.shop.example", "localhost"),
        ("other.example", "one file"),
        ("www.other.example", "localhost"),
        ("elsewhere.example", "localhost"),
        ("example", "localhost"),
        (None, "localhost"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_decides_and_who_has_no_known_one_gets_the_default(
    names: LiveServer, anybody: ssl.SSLContext, name: str | None, title: str, version: ssl.TLSVersion
):
    anybody.maximum_version = version
    assert title_for(names, anybody, name) == title


def test_alpn_and_ciphers_are_the_same_for_all_names(names: LiveServer, anybody: ssl.SSLContext):
    anybody.set_alpn_protocols(["http/1.1"])
    anybody.maximum_version = ssl.TLSVersion.TLSv1_2
    for name, cipher in {"shop.example": "ECDHE-RSA-AES256-GCM-SHA384", "x": "ECDHE-ECDSA-AES256-GCM-SHA384"}.items():
        with names.connect_plain() as sock, TlsClient(sock, anybody, name=name) as client:
            assert client.tls.selected_alpn_protocol() == "http/1.1"
            assert client.tls.cipher()[0] == cipher  # type: ignore[index]


def test_sessions_are_resumed_for_every_name(names: LiveServer, anybody: ssl.SSLContext):
    for name in ("shop.example", "elsewhere.example"):
        with names.connect_plain() as sock, TlsClient(sock, anybody, name=name) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            client.recv(65536)
            session = client.tls.session
        with names.connect_plain() as sock, TlsClient(sock, anybody, name=name, session=session) as client:
            assert client.tls.session_reused


@needs_curl
def test_curl_finds_the_right_ones(names: LiveServer, authority: Authority):
    host, port = names.address
    for name in ("shop.example", "www.shop.example", "other.example"):
        command = ["curl", "-sSf", "--cacert", str(authority.path), "--resolve", f"{name}:{port}:{host}"]
        done = subprocess.run([*command, f"https://{name}:{port}/x"], capture_output=True, text=True, timeout=30)
        assert (done.stdout, done.stderr) == ("hello GET /x", "")


@pytest.mark.parametrize("name", [b"\xff\xfe\x80", b"a..b.c", b"x" * 200, b".", b"-", b"a_b", b"\r\nError"])
def test_nonsense_instead_of_a_name_does_no_harm_and_is_not_logged(
    names: LiveServer, anybody: ssl.SSLContext, name: bytes
):
    before = names.text
    with names.connect_plain() as sock:
        client = TlsClient(sock, anybody, name="n" * len(name) if len(name) < 60 else "n" * 50 + ".n" * 75, shake=False)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        hello = client.wire_bytes()
        sock.sendall(re.sub(b"[n.]{%d}" % len(name), lambda _: name, hello, count=1))
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) != b""
    assert title_for(names, anybody, "shop.example") == "shop"
    assert names.text == before


class TestRefusals:
    @pytest.mark.parametrize(
        ("value", "phrase"),
        [
            ("shop.example", "names no certificate: write example.org=CERTIFICATE"),
            ("shop.example=", "names no certificate"),
            ("shop.example=x:", "names no certificate"),
            ("shop.*=x", "begins with no name of a host"),
            ("bücher.example=x", "begins with no name of a host"),
            ("a.example=x,b.example=y,A.example=z", "has two certificates for a.example"),
            ("a.example=gone.pem", "sni_certificates: cannot read 'gone.pem' (--sni-certificate): No such file"),
            ("a.example={good}", "(--sni-certificate) holds no private key: name the file of the key too (NAME=CERT"),
            ("a.example={good}:{other}", "(--sni-certificate) is not that of the certificate in '"),
        ],
    )
    def test_what_cannot_be_used_is_one_sentence(
        self, serve: Start, authority: Authority, with_certificate: list[str], value: str, phrase: str
    ):
        good, other = authority.make("good")[0], authority.make("bad")[1]
        option = value.replace("{good}", str(good)).replace("{other}", str(other))
        server = serve("contract:app", *with_certificate, "--sni-certificate", option, wait=False)
        assert server.wait() == 2
        assert phrase in server.text
        assert server.text.count("\n") == 1

    def test_they_need_a_default(self, serve: Start):
        server = serve("contract:app", "--sni-certificate", "a.example=x", wait=False)
        assert server.wait() == 2
        assert "sni_certificates is given (--sni-certificate) but certfile is not" in server.text


def test_a_file_may_have_a_table_of_them(
    serve: Start, authority: Authority, with_certificate: list[str], anybody: ssl.SSLContext, tmp_path: Path
):
    certfile, keyfile = authority.make("table", title="table", names=("a.example",))
    toml = tmp_path / "serve.toml"
    toml.write_text(f'[sni_certificates]\n"a.example" = "{certfile}:{keyfile}"\n')
    server = serve("contract:app", *with_certificate, "-w", "1", "-c", str(toml))
    assert title_for(server, anybody, "a.example") == "table"
