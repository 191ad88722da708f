"""Knows where a certificate comes from, how long it stays the same, and what is said of one that cannot be used."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from certificates import Authority
from cryptography import x509
from live import APPS, LiveServer, eventually
from tls_client import TlsClient, trusting

from server_core import adhoc

Start = Callable[..., LiveServer]
COMMAND = [sys.executable, "-m", "server_core"]
ADHOC = ["--certfile", "adhoc", "--profile", "development", "--no-reload", "-w", "1"]


def certificate_of(server: LiveServer) -> bytes:
    """What a new client is shown, in DER."""
    with TlsClient(server.connect_plain(), trusting()) as client:
        return client.tls.getpeercert(binary_form=True) or b""


def reload(server: LiveServer, generation: int) -> None:
    server.signal(signal.SIGHUP)
    server.read_until(f"Generation {generation} has taken over")


class TestAdhoc:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> dict[str, str]:
        """A cache directory of its own."""
        return {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def test_it_is_for_this_machine_and_the_hosts_of_bind(self, serve: Start, cache: dict[str, str]):
        command = [*COMMAND, "-b", "127.0.0.1:0", "-b", "127.0.0.3:0", "-b", "0.0.0.0:0"]
        server = serve("simple:app", *ADHOC, command=command, env=cache)
        found = x509.load_der_x509_certificate(certificate_of(server))
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost"]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [
            *("127.0.0.1", "::1", "127.0.0.3")
        ]
        assert (found.not_valid_after_utc - datetime.now(timezone.utc)).days in (28, 29)

    def test_who_trusts_the_file_that_the_banner_names_trusts_the_server(self, serve: Start, cache: dict[str, str]):
        server = LiveServer("simple:app", *ADHOC, env=cache)
        try:
            server.read_until(r"serves")
            path = server.read_until(r"certfile adhoc\), until \d{4}-\d\d-\d\d, kept in (\S+): a browser asks")[1]
            url = re.search(r"on (https://127\.0\.0\.1:\d+)$", server.text, re.MULTILINE)
            assert url is not None
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            for one in (url[1], url[1].replace("127.0.0.1", "localhost")):
                subprocess.run(["curl", "-sSf", "--cacert", path, one], check=True, capture_output=True, timeout=30)
        finally:
            server.end()

    def test_reloads_and_new_starts_have_the_same(self, serve: Start, cache: dict[str, str]):
        server = serve("simple:app", *ADHOC, env=cache)
        first = certificate_of(server)
        reload(server, 2)
        assert certificate_of(server) == first
        again = serve("simple:app", *ADHOC, env=cache)
        assert certificate_of(again) == first

    def test_where_nothing_can_be_kept_it_is_the_same_over_reloads(self, serve: Start, tmp_path: Path):
        (tmp_path / "cache").write_text("this is no directory")
        server = serve("simple:app", *ADHOC, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
        first = certificate_of(server)
        reload(server, 2)
        assert certificate_of(server) == first
        assert "kept in" not in server.text
        again = serve("simple:app", *ADHOC, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
        assert certificate_of(again) != first

    @pytest.mark.parametrize("cache_home", ["relative", ""])
    def test_without_a_place_of_the_account_it_is_not_kept_in_the_project(
        self, serve: Start, tmp_path: Path, cache_home: str
    ):
        shutil.copy(APPS / "simple.py", tmp_path)
        server = serve("simple:app", *ADHOC, cwd=tmp_path, env={"XDG_CACHE_HOME": cache_home, "HOME": "~"})
        assert server.get("/").status == 200
        assert "kept in" not in server.text
        assert not [path for path in tmp_path.rglob("*") if "prefork-serve" in path.name]

    def test_one_of_a_clock_that_was_ahead_is_replaced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        now = adhoc._now()
        monkeypatch.setattr(adhoc, "_now", lambda: now + timedelta(days=3))
        ahead = adhoc.certificate_for(["localhost"])
        assert adhoc.certificate_for(["localhost"]) == ahead
        monkeypatch.setattr(adhoc, "_now", lambda: now)
        assert adhoc.certificate_for(["localhost"]) != ahead

    @pytest.mark.parametrize("spoil", ["mode", "link", "text", "end", "key", "no key", "encrypted key"])
    def test_a_file_that_is_not_to_be_trusted_is_replaced(
        self, serve: Start, cache: dict[str, str], authority: Authority, tmp_path: Path, spoil: str
    ):
        server = serve("simple:app", *ADHOC, env=cache)
        first = certificate_of(server)
        server.end()
        (path,) = (tmp_path / "cache").rglob("*.pem")
        if spoil == "mode":
            path.chmod(0o640)
        elif spoil == "link":
            path.rename(tmp_path / "elsewhere.pem")
            path.symlink_to(tmp_path / "elsewhere.pem")
        elif "key" in spoil:
            key = authority.make("other", password=b"x" if spoil.startswith("enc") else b"")[1].read_text()
            path.write_text(("" if spoil == "no key" else key) + ssl.DER_cert_to_PEM_cert(first))
        else:
            text = path.read_text()
            path.write_text("nothing" if spoil == "text" else text[: len(text) // 2])
        again = serve("simple:app", *ADHOC, env=cache)
        assert certificate_of(again) != first
        assert not path.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_nothing_of_the_key_is_left_in_temporary_files(self, serve: Start, cache: dict[str, str], tmp_path: Path):
        (tmp_path / "tmp").mkdir()
        serve("simple:app", *ADHOC, env=cache | {"TMPDIR": str(tmp_path / "tmp")})
        assert list((tmp_path / "tmp").iterdir()) == []


class TestFiles:
    def test_certificate_and_key_may_be_one_file(self, serve: Start, authority: Authority, tmp_path: Path):
        certfile, keyfile = authority.make("both", "rsa")
        both = tmp_path / "both.pem"
        both.write_bytes(keyfile.read_bytes() + certfile.read_bytes())
        server = serve("simple:app", "-w", "1", "--cert", str(both))
        server.secure = trusting(str(authority.path))
        assert server.get("/").status == 200

    def test_a_renewed_certificate_is_there_after_a_reload(self, serve: Start, authority: Authority, tmp_path: Path):
        certfile, keyfile = authority.make("renewed")
        server = serve("simple:app", "-w", "1", "--certfile", str(certfile), "--keyfile", str(keyfile))
        first = certificate_of(server)
        authority.make("renewed")
        assert certificate_of(server) == first
        reload(server, 2)
        eventually(lambda: certificate_of(server) != first)  # the old worker takes those who had connected

    def test_a_reload_with_a_broken_one_leaves_the_old_one_serving(
        self, serve: Start, authority: Authority, tmp_path: Path
    ):
        certfile, keyfile = authority.make("broken")
        server = serve("simple:app", "-w", "1", "--certfile", str(certfile), "--keyfile", str(keyfile))
        first = certificate_of(server)
        shutil.copy(authority.make("other")[1], keyfile)
        server.signal(signal.SIGHUP)
        server.read_until(
            r"\(--keyfile\) is not that of the certificate in .*broken\.crt' \(--certfile\)\. Generation 1 serves on\."
        )
        assert certificate_of(server) == first
        authority.make("broken")
        reload(server, 3)
        eventually(lambda: certificate_of(server) != first)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    def test_the_key_may_belong_to_root_alone(self, serve: Start, authority: Authority):
        certfile, keyfile = authority.make("root")
        keyfile.chmod(0o600)
        files = ("--certfile", str(certfile), "--keyfile", str(keyfile))
        server = serve("simple:app", "-w", "1", *files, "-u", "65534", "-g", "65534")
        (worker,) = server.processes()
        assert Path(f"/proc/{worker}").stat().st_uid == 65534
        assert server.get("/").status == 200
        reload(server, 2)
        assert server.get("/").status == 200


class TestRefusals:
    @pytest.fixture
    def files(self, authority: Authority, tmp_path: Path) -> Path:
        """A directory of certificates and keys, right ones and wrong ones."""
        for name, options in {"good": {}, "second": {}, "rsa": {"kind": "rsa"}, "secret": {"password": b"x"}}.items():
            for path in authority.make(name, **options):  # type: ignore[arg-type]
                shutil.copy(path, tmp_path)
        good = (tmp_path / "good.crt").read_text()
        (tmp_path / "spoilt.crt").write_text(good.replace("MII", "M!!"))
        (tmp_path / "spoilt.pem").write_text(good.replace("MII", "M!!") + (tmp_path / "good.key").read_text())
        (tmp_path / "text").write_text("Dear authority, please sign this.\n")
        der = ssl.PEM_cert_to_DER_cert(good)
        (tmp_path / "good.der").write_bytes(der)
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "huge").touch()
        os.truncate(tmp_path / "huge", 5 << 20)
        return tmp_path

    NO_PEM = "holds no certificate: it has to be in PEM form, which begins with -----BEGIN CERTIFICATE-----."
    EMPTY = "names no file: leave it out where there is none."
    CASES = {
        "--cert gone.crt": "certfile: cannot read 'gone.crt' (--certfile): No such file or directory.",
        "--cert .": "certfile: '.' (--certfile) is no file.",
        "--cert good.crt --key pipe": "keyfile: 'pipe' (--keyfile) is no file.",
        "--cert huge": "certfile: 'huge' (--certfile) has more than 4 MB: no certificate does.",
        "--cert text": f"certfile: 'text' (--certfile) {NO_PEM}",
        "--cert good.der": f"certfile: 'good.der' (--certfile) {NO_PEM}",
        "--cert good.key": f"certfile: 'good.key' (--certfile) {NO_PEM}",
        "--cert good.crt": "certfile: 'good.crt' (--certfile) holds no private key: name the file of the key too "
        "(keyfile).",
        "--cert good.crt --key gone.key": "keyfile: cannot read 'gone.key' (--keyfile): No such file or directory.",
        "--cert good.crt --key good.crt": "keyfile: 'good.crt' (--keyfile) holds no private key: it has to be in PEM "
        "form.",
        "--cert good.crt --key second.key": "keyfile: the key in 'second.key' (--keyfile) is not that of the "
        "certificate in 'good.crt' (--certfile).",
        "--certfile good.crt --keyfile rsa.key": "keyfile: the key in 'rsa.key' (--keyfile) is not that of the "
        "certificate in 'good.crt' (--certfile).",
        "--cert good.crt --key secret.key": "keyfile: the key in 'secret.key' (--keyfile) is encrypted: set "
        "SERVE_KEYFILE_PASSWORD in the environment (keyfile_password), or give one that is not (openssl pkey -in KEY "
        "-out PLAIN), in a file that nobody else may read.",
        "--cert secret.crt --key secret.key --keyfile-password wrong": "keyfile: the key in 'secret.key' (--keyfile) "
        "cannot be decrypted: keyfile_password (--keyfile-password) is not its password, or the file is damaged.",
        f"--cert secret.crt --key secret.key --keyfile-password {'x' * 1025}": "keyfile_password: *** "
        "(--keyfile-password) is longer than 1024 bytes.",
        "--cert good.crt --key good.key --ciphers ECDHE+AESGMC:ECDHE+CHACHA20": "ciphers: "
        "'ECDHE+AESGMC:ECDHE+CHACHA20' (--ciphers) names 'ECDHE+AESGMC', which is no cipher for TLS 1.2 that OpenSSL "
        "has here: openssl ciphers -v lists them.",
        "--cert good.crt --key good.key --ciphers AESGCM:!AES": "ciphers: 'AESGCM:!AES' (--ciphers) leaves no cipher: "
        "name some that are strong enough.",
        **{
            f"--cert good.crt --key good.key --ciphers {ciphers}": f"ciphers: '{ciphers}' (--ciphers) leaves none for "
            "TLS 1.2 that encrypts and proves by the certificate whose server it is: name some that do."
            for ciphers in ("aNULL", "eNULL:@SECLEVEL=0", "aNULL:PSK", "SRP")
        },
        "--ciphers ECDHE+AESGCM": "ciphers is given (--ciphers) but certfile is not (default): without a certificate "
        "the server does not speak TLS; name its file, or leave the setting out.",
        "--ssl-minimum-version TLSv1.3": "ssl_minimum_version is given (--ssl-minimum-version) but certfile is not "
        "(default): without a certificate the server does not speak TLS; name its file, or leave the setting out.",
        "--cert=": f'certfile: "" (--certfile) {EMPTY}',
        "--cert good.crt --key=": f'keyfile: "" (--keyfile) {EMPTY}',
        "--cert good.crt --key good.key --ca-certs=": f'ca_certs: "" (--ca-certs) {EMPTY}',
        "--cert good.crt --key good.key --sni-certificate 127.0.0.1=good.crt:good.key": "sni_certificates: 127.0.0.1 "
        "(--sni-certificate) is an address, and clients that come for an address are shown certfile: let that be the "
        "certificate for it.",
        "--cert good.crt --key good.key --ssl-minimum-version TLSv1.1": 'ssl_minimum_version: "TLSv1.1" '
        "(--ssl-minimum-version) is none of TLSv1.2, TLSv1.3.",
        "-b https://127.0.0.1:0": "bind: https://127.0.0.1:0 (--bind) is to speak TLS but certfile is not given "
        "(default): name the file of its certificate.",
        "--cert good.crt --key good.key -b http://127.0.0.1:0 -b http://unix:x": "certfile is given (--certfile) but "
        "all addresses of bind (--bind) begin with http://: let one begin with https://, or leave the certificate out.",
        "--cert good.crt --key good.key --ca-certs good.crt": "ca_certs is given (--ca-certs) but cert_reqs is none "
        "(default): set it to required or optional, or leave the authorities out; those that vouch for the server's "
        "own certificate belong into certfile.",
        "--cert good.crt --key good.key --cert-reqs 2": "cert_reqs is required (--cert-reqs) but ca_certs is not given "
        "(default): name the file of the authorities that vouch for clients.",
        "--cert good.crt --key good.key --cert-reqs 1 --ca-certs text": f"ca_certs: 'text' (--ca-certs) {NO_PEM}",
        "--cert good.crt --key good.key --cert-reqs 1 --ca-certs spoilt.crt": "ca_certs: 'spoilt.crt' (--ca-certs) "
        "cannot be used: what is between its lines is damaged.",
        "--cert adhoc --profile development --cert-reqs 1 --ca-certs text": f"ca_certs: 'text' (--ca-certs) {NO_PEM}",
        "--cert-reqs optional --ca-certs good.crt": "ca_certs is given (--ca-certs) but certfile is not (default): "
        "without a certificate the server does not speak TLS; name its file, or leave the setting out.",
        "--keyfile-password x": "keyfile_password is given (--keyfile-password) but certfile is not "
        "(default): without a certificate the server does not speak TLS; name its file, or leave the setting out.",
        "--cert spoilt.pem": "certfile: 'spoilt.pem' (--certfile) cannot be used: what is between its lines is "
        "damaged.",
        "--cert spoilt.crt --key good.key": "certfile: 'spoilt.crt' (--certfile) with keyfile 'good.key' (--keyfile) "
        "cannot be used: what is between its lines is damaged.",
        "--key good.key": "keyfile is given (--keyfile) but certfile is not (default): name the file of its "
        "certificate too.",
        "--cert adhoc": "certfile is adhoc (--certfile) but profile is production (default): no client can know whose "
        "certificate that is; name the files of one that a certificate authority has signed, or set profile to "
        "development.",
        "--cert adhoc --key good.key --profile development": "keyfile is given (--keyfile) but certfile is adhoc "
        "(--certfile), which has a key of its own: leave keyfile out, or name the file of its certificate.",
        "--cert adhoc --keyfile-password x --profile development": "keyfile_password is given (--keyfile-password) "
        "but certfile is adhoc (--certfile), which has a key of its own: leave keyfile_password out, or name the file "
        "of its certificate.",
    }

    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize("check", [[], ["--check-config"]])
    def test_what_cannot_be_used_is_one_sentence(self, serve: Start, files: Path, case: str, check: list[str]):
        (files / "here.py").write_text("def app(*_): ...\n")
        bind = [] if "-b" in case.split() else ["-b", "127.0.0.1:0"]
        arguments = ["here:app", *bind, *case.split(), *check]
        server = serve(*arguments, command=COMMAND, cwd=files, wait=False)
        assert server.wait() == 2
        assert server.text == f"Error: {self.CASES[case]}\n"

    def test_the_origin_may_be_a_file(self, serve: Start, files: Path):
        (files / "here.py").write_text("def app(*_): ...\n")
        (files / "serve.toml").write_text('certfile = "gone.crt"\n')
        server = serve("here:app", "-c", "serve.toml", command=COMMAND, cwd=files, wait=False)
        assert server.wait() == 2
        assert "certfile: cannot read 'gone.crt' (certfile in serve.toml): No such file" in server.text

    def test_ciphers_of_the_environment_may_be_no_text(self, serve: Start, files: Path):
        (files / "here.py").write_text("def app(*_): ...\n")
        env = {"SERVE_CIPHERS": os.fsdecode(b"ECDHE\xff")}
        options = ["--cert", "good.crt", "--key", "good.key"]
        server = serve("here:app", *options, command=COMMAND, cwd=files, wait=False, env=env)
        assert server.wait() == 2
        assert "(SERVE_CIPHERS) names 'ECDHE\\udcff', which is no cipher" in server.text
        assert "Traceback" not in server.text

    @pytest.mark.parametrize("check", [[], ["--check-config"]])
    def test_adhoc_needs_a_library(self, serve: Start, check: list[str]):
        pretend = "import sys; sys.modules['cryptography'] = None; from server_core.cli import main; main()"
        server = serve("simple:app", *ADHOC, *check, command=[sys.executable, "-c", pretend], wait=False)
        assert server.wait() == 2
        assert server.text == (
            'Error: certfile adhoc (--certfile) needs cryptography: pip install "prefork-serve[tls]"\n'
        )

    def test_what_is_right_passes_the_check(self, serve: Start, files: Path, tmp_path: Path):
        (files / "here.py").write_text("def app(*_): ...\n")
        for options in (["--cert", "good.crt", "--key", "good.key"], ["--cert", "adhoc", "--profile", "development"]):
            env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
            server = serve("here:app", "--check-config", *options, command=COMMAND, cwd=files, wait=False, env=env)
            assert server.wait() == 0
        assert not (tmp_path / "cache").exists(), "a check makes nothing"


def test_without_a_certificate_nobody_pays_for_tls(serve: Start):
    """The library of ssl is not in the memory of any process of the family."""
    server = serve("simple:app", "-w", "1")
    assert server.get("/").status == 200
    for role in ("arbiter", "forkserver", "worker"):
        (pid,) = server.processes(role)
        assert "libssl" not in Path(f"/proc/{pid}/maps").read_text()
    secure = serve("simple:app", *ADHOC)
    (pid,) = eventually(secure.processes)
    assert "libssl" in Path(f"/proc/{pid}/maps").read_text(), "else this test would see nothing"
