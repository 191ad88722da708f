"""Each finding of the inspection of a Flask application, and what follows from it."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from live import eventually
from projects import FLASK, copy_of, run

from server_core.config.layers import COMMAND_LINE, layer_from_mapping, resolve
from server_core.settings import Settings

flask = pytest.importorskip("flask")

SERVE = [*FLASK, "serve", "--bind", "127.0.0.1:0"]
GOOD_SECRET = "7d1f4c2a9be05368d7c14fa2b09e8c35"


def found(app: Any, **settings: object) -> dict[str, str]:
    """The findings by name."""
    from flask_serve.inspection import inspect

    resolved: Settings = resolve([layer_from_mapping(COMMAND_LINE, settings, str)]).settings
    return {finding.name: finding.text for finding in inspect(app, resolved)}


@pytest.fixture
def app() -> Any:
    return flask.Flask("notes")


def test_nothing_is_said_of_an_application_that_is_as_it_should_be(app):
    assert found(app) == {}
    app.secret_key = GOOD_SECRET
    assert found(app, bind="0.0.0.0:80") == {}


def test_debug_mode_that_the_network_can_reach(app):
    app.debug = True
    for profile in ("development", "production"):
        text = found(app, profile=profile, bind="0.0.0.0:80,127.0.0.1:81")["serve.W001"]
        assert text.startswith("Debug mode is on, and 0.0.0.0:80 (bind) can be reached from the network")
    assert found(app, profile="development") == {}


def test_debug_mode_in_production(app):
    app.debug = True
    assert found(app) == {"serve.W014": "Debug mode is on in production (profile): leave --debug out."}


@pytest.mark.parametrize(
    "secret", ["dev", b"dev", "x" * 15, "change-me-before-you-deploy", "Your secret, please", b"x"]
)
def test_a_secret_that_can_be_guessed(app, secret):
    app.secret_key = secret
    assert found(app)["serve.W015"].startswith("SECRET_KEY can be guessed")
    assert found(app, profile="development") == {}


@pytest.mark.parametrize("secret", [None, "", b"", GOOD_SECRET, GOOD_SECRET.encode(), b"\xff" * 16, 7, ["dev"]])
def test_a_secret_that_nobody_guesses_or_uses(app, secret):
    app.secret_key = secret
    assert found(app) == {}


def test_a_scheme_that_no_proxy_is_trusted_to_tell(app):
    app.config["PREFERRED_URL_SCHEME"] = "https"
    assert found(app)["serve.W007"].startswith("PREFERRED_URL_SCHEME is https, but no proxy is trusted")
    assert found(app, forwarded_allow_ips="10.0.0.1") == {}
    assert found(app, profile="development") == {}
    assert found(app, certfile="fullchain.pem") == {}  # and this server speaks https itself


HELLO = """
from flask import Flask

app = Flask(__name__)
app.secret_key = "dev"

@app.get("/")
def hello():
    return "one"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(HELLO)
    return tmp_path


def test_what_is_found_is_told_and_strict_refuses_it(project):
    status, text = run([*FLASK, "serve", "--check-config"], project)
    assert status == 0
    assert re.fullmatch(
        r"The inspection \(checks; strict would refuse to serve\) found 1 thing:\n    serve\.W015: SECRET_KEY .*\n"
        r"The settings are right and the application can be imported\.\n",
        text,
    )
    status, text = run([*SERVE, "--strict"], project)
    assert status == 4
    assert "Error: the inspection (checks) found 1 thing, and strict is set\n    serve.W015: SECRET_KEY can be" in text
    status, text = run([*FLASK, "serve", "--strict", "--no-checks", "--check-config"], project)
    assert (status, text) == (0, "The settings are right and the application can be imported.\n")
    assert run([*FLASK, "--debug", "serve", "--strict", "--check-config"], project)[0] == 0


@pytest.mark.parametrize("way", ["command line", "SERVE"])
def test_findings_can_be_silenced_by_name(project, way):
    with (project / "app.py").open("a") as file:
        file.write('\napp.config["PREFERRED_URL_SCHEME"] = "https"\n')
        if way == "SERVE":
            file.write('app.config["SERVE"] = {"silenced_checks": ["serve.W015", "serve.W007"]}\n')
    options = ["--silence-check", "serve.W015", "--silence-check", "serve.W007"] if way == "command line" else []
    done = (0, "The settings are right and the application can be imported.\n")
    assert run([*SERVE, "--strict", "--check-config", *options], project) == done
    status, text = run([*SERVE, "--check-config", "--silence-check", "serve.W007"], project)
    assert (status, "found 1 thing:\n    serve.W015" in text) == (0, True), text


def test_with_strict_a_reload_is_refused_too(project, serve):
    code = project / "app.py"
    code.write_text(HELLO.replace('"dev"', repr(GOOD_SECRET)))
    server = serve("--strict", command=SERVE, cwd=project)
    code.write_text(HELLO.replace('"one"', '"two"'))
    server.signal(signal.SIGHUP)
    server.read_until(
        r"generation 2 failed: the inspection \(checks\) found 1 thing, and strict is set\. Generation 1 serves on\.\n"
        r" +serve\.W015: SECRET_KEY"
    )
    assert server.get("/").text == "one"
    code.write_text(HELLO.replace('"one"', '"three"').replace('"dev"', repr(GOOD_SECRET)))
    server.signal(signal.SIGHUP)
    server.read_until("Generation 3 has taken over")
    eventually(lambda: server.get("/").text == "three")


def test_the_example_is_as_it_should_be(tmp_path):
    notes = copy_of("flask_notes", tmp_path)
    status, text = run([*FLASK, "--app", "notes", "serve", "--strict", "--check-config"], notes)
    assert (status, text) == (0, "The settings are right and the application can be imported.\n")
