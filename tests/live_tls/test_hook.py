"""Knows that the project has the last word on TLS (``ssl_context``), and that its errors are told as its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Authority
from live import Answer, LiveServer, eventually
from tls_client import TlsClient, trusting

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "https.md"

Start = Callable[..., LiveServer]

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""
GOOD = """
import os, ssl
def context(settings, default_ssl_context_factory):
    context = default_ssl_context_factory()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with open("told", "a") as file:
        print(os.geteuid(), settings.tls.cert_reqs, len(context.get_ciphers()) > 0, file=file)
    return context
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an application and a hook, in files of their own."""
    tmp_path.chmod(0o777)
    (tmp_path / "here.py").write_text(APP)
    (tmp_path / "hook.py").write_text(GOOD)
    return tmp_path


@pytest.fixture
def hooked(serve: Start, with_certificate: list[str], project: Path) -> Callable[..., LiveServer]:
    """``hooked("hook:context")`` starts it."""

    def hooked(name: str = "hook:context", *more: str, wait: bool = True) -> LiveServer:
        return serve("here:app", "-w", "1", *with_certificate, "--ssl-context", name, *more, cwd=project, wait=wait)

    return hooked


def is_error(answer: Answer) -> bool:
    return answer.status == 500


def version_for(server: LiveServer, **options: object) -> str | None:
    with server.connect_plain() as sock, TlsClient(sock, trusting(**options)) as client:  # type: ignore[arg-type]
        return client.tls.version()  # type: ignore[no-any-return]


@pytest.mark.parametrize("more", [[], ["--no-preload"], ["--chdir", "."]])
def test_it_changes_the_context(hooked: Callable, project: Path, more: list[str]):
    server = hooked("hook:context", *more)
    assert version_for(server) == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        version_for(server, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert (project / "told").read_text() == f"{os.geteuid()} none True\n"
    assert server.get("/").status == 200


def test_it_is_called_for_each_certificate(hooked: Callable, project: Path, authority: Authority):
    certfile, keyfile = authority.make("hooked", title="hooked", names=("a.example",))
    server = hooked("hook:context", "--sni-certificate", f"a.example={certfile}:{keyfile}")
    context = trusting(str(authority.path))
    with server.connect_plain() as sock, TlsClient(sock, context, name="a.example") as client:
        assert client.tls.version() == "TLSv1.3"
    assert len((project / "told").read_text().splitlines()) == 2


def test_one_that_chooses_by_name_itself_is_left_alone(hooked: Callable, project: Path, authority: Authority):
    certfile, keyfile = authority.make("chosen", title="chosen")
    (project / "hook.py").write_text(f"""
def context(settings, default_ssl_context_factory):
    outer, inner = default_ssl_context_factory(), default_ssl_context_factory()
    inner.load_cert_chain({str(certfile)!r}, {str(keyfile)!r})
    outer.sni_callback = lambda connection, name, context: setattr(connection, "context", inner)
    return outer
""")
    server = hooked()
    with server.connect_plain() as sock, TlsClient(sock, trusting(str(authority.path))) as client:
        assert client.tls.getpeercert()["subject"] == ((("commonName", "chosen"),),)


def test_the_example_of_the_manual_refuses_who_has_been_revoked(
    hooked: Callable, project: Path, authority: Authority, tmp_path: Path
):
    (example,) = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    (project / "hook.py").write_text(example)
    good, bad = authority.make("good-client"), authority.make("bad-client")
    shutil.copy(authority.revoke(bad[0]), project)
    server = hooked("hook:context", "--ca-certs", str(authority.path), "--cert-reqs", "required")
    server.secure = trusting()
    server.secure.load_cert_chain(*good)
    assert server.get("/").status == 200
    server.secure.load_cert_chain(*bad)
    with server.connect_plain() as sock, pytest.raises(ssl.SSLError, match="certificate revoked"):
        TlsClient(sock, server.secure).recv(1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_never_runs_as_root_although_the_key_is_roots(serve: Start, project: Path, authority: Authority):
    certfile, keyfile = authority.make("of-root")
    keyfile.chmod(0o600)
    for directory in project.parents:  # those of pytest are closed
        if directory == Path(tempfile.gettempdir()):
            break
        directory.chmod(0o755)
    files = ["--certfile", str(certfile), "--keyfile", str(keyfile)]
    server = serve(
        "here:app", "-w", "1", *files, "--ssl-context", "hook:context", "-u", "65534", "-g", "65534", cwd=project
    )
    assert version_for(server) == "TLSv1.3"
    assert (project / "told").read_text() == "65534 none True\n"


class TestErrors:
    def test_what_it_raises_is_told_with_its_traceback_and_refuses_the_start(self, hooked: Callable, project: Path):
        (project / "hook.py").write_text("def context(settings, factory):\n    return 1 / 0\n")
        server = hooked(wait=False)
        assert server.wait() == 4
        assert "ssl_context: hook:context (--ssl-context) raised ZeroDivisionError: division by zero" in server.text
        assert f'File "{project}/hook.py", line 2, in context\n' in server.text
        assert "server_core" not in server.text

    def test_a_reload_is_refused_and_the_old_one_serves_on(self, hooked: Callable, project: Path):
        server = hooked()
        (project / "hook.py").write_text("import nowhere\n")
        server.signal(signal.SIGHUP)
        server.read_until("hook:context .* raised ModuleNotFoundError: No module named 'nowhere' on import")
        server.read_until('hook.py", line 1, in <module>')
        assert server.get("/").status == 200
        (project / "hook.py").write_text(GOOD)
        server.signal(signal.SIGHUP)
        server.read_until("Generation 3 has taken over")

    @pytest.mark.parametrize(
        ("name", "status", "sentence"),
        [
            ("hook", 2, 'ssl_context: "hook" (--ssl-context) is no function: write module:function.'),
            ("nowhere:f", 4, "ssl_context: nowhere:f (--ssl-context) cannot be found: there is no module 'nowhere'"),
            ("hook:f", 4, "ssl_context: hook:f (--ssl-context) cannot be found: the module has no such function"),
            ("here:APP", 4, "ssl_context: here:APP (--ssl-context) cannot be found: the module has no such function"),
            ("here:none", 4, "ssl_context: here:none (--ssl-context) returned a NoneType, and not an ssl.SSLContext"),
        ],
    )
    @pytest.mark.parametrize("check", [[], ["--check-config"]])
    def test_a_slip_of_the_pen_is_one_sentence(
        self, hooked: Callable, project: Path, name: str, status: int, sentence: str, check: list[str]
    ):
        (project / "here.py").write_text(APP + "APP = 1\ndef none(settings, factory): ...\n")
        server = hooked(name, *check, wait=False)
        assert server.wait() == status
        assert sentence in server.text
        assert "Traceback" not in server.text

    def test_it_needs_a_certificate(self, serve: Start):
        server = serve("simple:app", "--ssl-context", "hook:context", wait=False)
        assert server.wait() == 2
        assert "ssl_context is given (--ssl-context) but certfile is not (default)" in server.text

    def test_in_development_the_page_about_its_failure_is_shown(self, hooked: Callable, project: Path):
        server = hooked("hook:context", "--profile", "development", "--no-open", "-w", "1")
        (project / "hook.py").write_text("import nowhere\n")
        server.read_until("The browser shows why")
        answer = eventually(lambda: next(filter(is_error, [server.get("/", accept="text/html")]), None))
        assert "nowhere" in answer.text
