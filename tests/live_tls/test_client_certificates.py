"""Knows who is let in by a certificate, and what the application is told of it, by nobody but TLS."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from certificates import Authority
from cryptography import x509
from cryptography.x509.oid import NameOID
from live import LiveServer
from tls_client import TlsClient, trusting
from wire import Wire

from server_core.engine.peer import name_in_words

Start = Callable[..., LiveServer]
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

ADA = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "GB"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Engines, Ltd."),
        x509.NameAttribute(NameOID.COMMON_NAME, "Ada Lövelace"),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "ada@example.org"),
    ]
)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that vouches for clients."""
    return Authority(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def ada(clients: Authority) -> tuple[Path, Path]:
    """The certificate of a client, and its key."""
    return clients.make("ada", subject=ADA)


@pytest.fixture
def trust(authority: Authority) -> Callable[..., ssl.SSLContext]:
    """``trust(pair)`` is the context of a client that shows a certificate."""

    def trust(pair: tuple[Path, Path] | None = None, **options: object) -> ssl.SSLContext:
        context = trusting(str(authority.path), **options)
        if pair is not None:
            context.load_cert_chain(*pair)
        return context

    return trust


@pytest.fixture
def asking(serve: Start, options: list[str], clients: Authority) -> Callable[..., LiveServer]:
    """``asking("required")`` is a server that asks for certificates; further options may follow."""

    def asking(how: str, *more: str) -> LiveServer:
        return serve("contract:app", *options, "--ca-certs", str(clients.path), "--cert-reqs", how, *more)

    return asking


def told(server: LiveServer, context: ssl.SSLContext, *fields: str) -> dict[str, str]:
    """The environ of a request."""
    server.secure = context
    with Wire(server) as wire:
        return json.loads(wire.get("/told", *fields).reply().body)  # type: ignore[no-any-return]


class TestWhoIsLetIn:
    @pytest.mark.parametrize("how", ["required", "2"])
    def test_who_has_none_is_not_when_it_is_required(
        self, asking: Callable, ada: tuple[Path, Path], trust: Callable, how: str
    ):
        server = asking(how)
        with server.connect_plain() as sock, pytest.raises(ssl.SSLError, match="certificate required"):
            TlsClient(sock, trust()).recv(1)  # in TLS 1.3 the client's handshake has ended before the server's
        with server.connect_plain() as sock, pytest.raises(ssl.SSLError, match="handshake failure"):
            TlsClient(sock, trust(maximum_version=ssl.TLSVersion.TLSv1_2))
        assert told(server, trust(ada))["SSL_CLIENT_VERIFY"] == "SUCCESS"

    def test_one_of_another_authority_is_not(self, asking: Callable, authority: Authority, trust: Callable):
        stranger = authority.make("stranger")
        for how in ("required", "optional"):
            server = asking(how)
            with server.connect_plain() as sock, pytest.raises(ssl.SSLError, match="unknown ca"):
                TlsClient(sock, trust(stranger)).recv(1)

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
    def test_the_log_says_why_with_log_level_debug(
        self, asking: Callable, ada: tuple[Path, Path], authority: Authority, clients: Authority, trust: Callable
    ):
        server = asking("required", "--log-level", "debug")
        old = trust(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        for context, why in (
            (trust(), "peer did not return a certificate"),
            (
                trust(authority.make("stranger")),
                "certificate verify failed: self[- ]signed certificate in certificate chain",
            ),
            (old, "unsupported protocol"),
            (trusting(str(clients.path)), "tlsv1 alert unknown ca"),
        ):
            with server.connect_plain() as sock, pytest.raises(ssl.SSLError):
                TlsClient(sock, context).recv(1)
            server.read_until(rf"\[DEBUG\] TLS with 127\.0\.0\.1 has failed: {why}\n")
        assert told(server, trust(ada))["SSL_CLIENT_VERIFY"] == "SUCCESS"
        assert server.text.count("has failed") == 4

    def test_without_one_it_is_told_that_there_is_none(self, asking: Callable, trust: Callable, server: LiveServer):
        for each in (asking("optional"), asking("1"), server):
            found = told(each, trust())
            assert {name: value for name, value in found.items() if name.startswith("SSL_")} == {
                "SSL_PROTOCOL": "TLSv1.3",
                "SSL_CIPHER": "TLS_AES_256_GCM_SHA384",
                "SSL_CLIENT_VERIFY": "NONE",
            }

    @needs_curl
    def test_curl_is_let_in(self, asking: Callable, ada: tuple[Path, Path], authority: Authority):
        url = asking("required").url.replace("127.0.0.1", "localhost")
        command = ["curl", "-sS", "--cacert", str(authority.path), f"{url}/told"]
        shown = [*command, "--cert", str(ada[0]), "--key", str(ada[1])]
        done = subprocess.run(shown, capture_output=True, timeout=30, check=True)
        assert json.loads(done.stdout)["SSL_CLIENT_VERIFY"] == "SUCCESS"
        done = subprocess.run(command, capture_output=True, timeout=30)
        assert b"certificate required" in done.stderr


class TestWhatTheApplicationIsTold:
    def test_all_that_mod_ssl_would_say(self, asking: Callable, ada: tuple[Path, Path], trust: Callable):
        found = told(asking("optional"), trust(ada))
        pem = ada[0].read_text()
        certificate = x509.load_pem_x509_certificate(pem.encode())
        assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
        assert found["SSL_CLIENT_CERT"] == pem
        assert int(found["SSL_CLIENT_M_SERIAL"], 16) == certificate.serial_number
        assert found["SSL_CLIENT_S_DN"] == r"emailAddress=ada@example.org,CN=Ada L\C3\B6velace,O=Engines\, Ltd.,C=GB"
        assert found["SSL_CLIENT_I_DN"] == "CN=authority"
        assert found["SSL_CLIENT_V_START"] == as_openssl_has_it(certificate.not_valid_before_utc)
        assert found["SSL_CLIENT_V_END"] == as_openssl_has_it(certificate.not_valid_after_utc)

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
    def test_openssl_writes_the_names_in_the_same_way(self, asking: Callable, ada: tuple[Path, Path], trust: Callable):
        command = ["openssl", "x509", "-noout", "-subject", "-issuer", "-nameopt", "RFC2253", "-in", str(ada[0])]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        found = told(asking("optional"), trust(ada))
        assert said == f"subject={found['SSL_CLIENT_S_DN']}\nissuer={found['SSL_CLIENT_I_DN']}\n"

    def test_each_client_is_told_of_itself_on_all_of_its_requests(
        self, asking: Callable, ada: tuple[Path, Path], clients: Authority, trust: Callable
    ):
        server = asking("optional")
        server.secure = trust(ada)
        with Wire(server) as wire:
            server.secure = trust(clients.make("bob", title="Bob"))
            with Wire(server) as other:
                for _ in range(3):
                    assert "CN=Ada" in json.loads(wire.get("/told").reply().body)["SSL_CLIENT_S_DN"]
                    assert json.loads(other.get("/told").reply().body)["SSL_CLIENT_S_DN"] == "CN=Bob"
                    assert told(server, trust())["SSL_CLIENT_VERIFY"] == "NONE"

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_session_that_is_resumed_knows_whose_it_is(
        self, asking: Callable, ada: tuple[Path, Path], trust: Callable, version: ssl.TLSVersion
    ):
        server = asking("required")
        context = server.secure = trust(ada, maximum_version=version)
        with Wire(server) as wire:
            first = json.loads(wire.get("/told").reply().body)
            session = wire.sock.tls.session
        with server.connect_plain() as sock, TlsClient(sock, context, session=session) as client:
            client.sendall(b"GET /told HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            again = json.loads(client.makefile().read().partition(b"\r\n\r\n")[2])
            assert client.tls.session_reused
        assert again["SSL_CLIENT_CERT"] == first["SSL_CLIENT_CERT"]

    def test_no_header_field_can_say_it(self, asking: Callable, trust: Callable):
        lies = ["SSL-Client-Verify: SUCCESS", "SSL_CLIENT_VERIFY: SUCCESS", "SSL_CLIENT_S_DN: CN=root"]
        found = told(asking("optional"), trust(), *lies)
        assert found["SSL_CLIENT_VERIFY"] == "NONE"
        assert "SSL_CLIENT_S_DN" not in found


def as_openssl_has_it(moment: datetime) -> str:
    return f"{moment:%b} {moment.day:2} {moment:%H:%M:%S %Y} GMT"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a+b=c;d<e>", r"a\+b=c\;d\<e\>"),
        (" #x ", r"\ #x\ "),
        ("#x", r"\#x"),
        (" ", "\\ "),
        ('say "\\"', r"say \"\\\""),
        ("a\nb\0", r"a\0Ab\00"),
        ("名", r"\E5\90\8D"),
    ],
)
def test_names_are_written_so_that_their_parts_can_be_told_apart(value: str, written: str):
    assert name_in_words(((("commonName", value),),)) == f"CN={written}"


def test_names_with_several_parts_begin_with_the_last():
    name = ((("countryName", "DE"),), (("commonName", "a"), ("userId", "b")), (("1.2.3.4", "c"),))
    assert name_in_words(name) == "1.2.3.4=c,CN=a+UID=b,C=DE"
