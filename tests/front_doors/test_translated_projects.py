"""The tables of translated settings in real projects: what --show-config says of each row, and that SERVE wins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from projects import FLASK, MANAGE_SERVE, copy_of, run

NOTHING = "(none)"


def show(command: list[str], folder: Path, *arguments: str, **env: str) -> dict[str, tuple[str, str]]:
    """What --show-config prints: value and origin by name."""
    status, text = run([*command, "--show-config", *arguments], folder, **env)
    assert status == 0, text
    return {name: (value, origin) for name, value, origin in (re.split(" {2,}", line) for line in text.splitlines())}


# --- Django


@pytest.fixture
def shop(tmp_path):
    pytest.importorskip("django")
    return copy_of("django_shop", tmp_path)


def configure(project: Path, *lines: str) -> None:
    """Add lines to the project's settings."""
    with (project / "shop_site" / "settings.py").open("a") as file:
        file.write("\n".join([*lines, ""]))


def test_every_row_of_djangos_table_can_be_seen(shop):
    pytest.importorskip("whitenoise")
    configure(
        shop,
        'FORCE_SCRIPT_NAME = "/shop/"',
        'STATIC_URL = "static/"',
        'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_SSL", "on")',
        'ALLOWED_HOSTS = ("shop.example", "")',
        "DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024**2",
        "FILE_UPLOAD_MAX_MEMORY_SIZE = 7 * 1024**2",
        "FILE_UPLOAD_TEMP_DIR = BASE_DIR",
        'TIME_ZONE = "Asia/Tokyo"',
    )
    settings = show(MANAGE_SERVE, shop)
    assert settings["profile"] == ("production", "default")
    assert settings["script_name"] == ("/shop", "FORCE_SCRIPT_NAME in shop_site.settings")
    mounts = f"/shop/static/={shop}/staticfiles"
    assert settings["static_mounts"] == (mounts, "STATIC_ROOT in shop_site.settings"), "Django has put the mount first"
    origin = "SECURE_PROXY_SSL_HEADER in shop_site.settings"
    assert settings["secure_scheme_headers"] == ("x-forwarded-ssl: on", origin)
    assert settings["allowed_hosts"] == ("shop.example", "ALLOWED_HOSTS in shop_site.settings")
    sizes = "DATA_UPLOAD_MAX_MEMORY_SIZE, FILE_UPLOAD_MAX_MEMORY_SIZE in shop_site.settings"
    assert settings["body_buffer_size"] == ("7MB", sizes)
    assert settings["tmp_upload_dir"] == (str(shop), "FILE_UPLOAD_TEMP_DIR in shop_site.settings")
    assert settings["log_timezone"] == ("Asia/Tokyo", "TIME_ZONE in shop_site.settings")


def test_the_shop_as_it_is_shows_only_what_it_says(shop):
    settings = show(MANAGE_SERVE, shop, DJANGO_DEBUG="1")
    theirs = {name: origin for name, (_, origin) in settings.items() if origin.endswith("in shop_site.settings")}
    assert theirs == {
        "profile": "DEBUG in shop_site.settings",
        "workers": 'SERVE["workers"] in shop_site.settings',
        "allowed_hosts": "ALLOWED_HOSTS in shop_site.settings",
        "log_timezone": "TIME_ZONE in shop_site.settings",
    }


#: Django's setting, a value for it, and what SERVE says of ours
AGAINST_DJANGO = {
    "profile": ("DEBUG = True", "production"),
    "script_name": ('FORCE_SCRIPT_NAME = "/shop"', "/other"),
    "static_mounts": ('STATIC_ROOT = "/srv/static"', "/files/=/srv/files"),
    "secure_scheme_headers": ('SECURE_PROXY_SSL_HEADER = ("HTTP_X_SSL", "on")', "x-scheme: https"),
    "allowed_hosts": ('ALLOWED_HOSTS = ["shop.example"]', "other.example"),
    "body_buffer_size": ("FILE_UPLOAD_MAX_MEMORY_SIZE = 10", "1MB"),
    "tmp_upload_dir": ('FILE_UPLOAD_TEMP_DIR = "/var/a"', "/var/b"),
    "log_timezone": ('TIME_ZONE = "Asia/Tokyo"', "Europe/Berlin"),
}


def test_serve_wins_over_all_of_djangos(shop):
    import django_serve.translations

    assert AGAINST_DJANGO.keys() == {row.ours for row in django_serve.translations.TABLE if row.read is not None}
    said = {name: value for name, (_, value) in AGAINST_DJANGO.items()}
    configure(shop, *(line for line, _ in AGAINST_DJANGO.values()), f"SERVE = {said!r}")
    settings = show(MANAGE_SERVE, shop)
    for name, value in said.items():
        assert settings[name] == (value, f'SERVE["{name}"] in shop_site.settings')


def test_what_serve_does_not_know_and_serve_overrides_is_not_judged(shop):
    configure(shop, 'FORCE_SCRIPT_NAME = "shop"')
    status, text = run([*MANAGE_SERVE, "--show-config"], shop)
    assert status == 2
    assert '"shop" (FORCE_SCRIPT_NAME in shop_site.settings) is no path to mount on: write /shop.' in text
    assert text.count("\n") == 1
    configure(shop, 'SERVE = {"script_name": "/shop"}')
    assert show(MANAGE_SERVE, shop)["script_name"][0] == "/shop"


def test_a_broken_value_does_not_break_other_commands(shop):
    configure(shop, "from django.urls import reverse_lazy", 'ALLOWED_HOSTS = [reverse_lazy("nowhere")]')
    status, text = run([*MANAGE_SERVE[:2], "check"], shop)
    assert status == 1
    assert "(serve.E001) allowed_hosts: ALLOWED_HOSTS in shop_site.settings cannot be read: NoReverseMatch" in text
    assert "Traceback" not in text


def test_a_project_without_staticfiles_and_without_databases_is_served(tmp_path, serve):
    pytest.importorskip("django")
    (tmp_path / "bare.py").write_text(
        'SECRET_KEY = "x"\nDEBUG = False\nALLOWED_HOSTS = ["*"]\nROOT_URLCONF = "bare_urls"\n'
        'INSTALLED_APPS = ["django_serve"]\nSTATIC_ROOT = "/srv/static"\nTIME_ZONE = None\n'
    )
    (tmp_path / "bare_urls.py").write_text(
        "from django.http import HttpResponse\nfrom django.urls import path\n"
        'urlpatterns = [path("", lambda request: HttpResponse("bare"))]\n'
    )
    (tmp_path / "manage.py").write_text(
        "import os, sys\n"
        'os.environ["DJANGO_SETTINGS_MODULE"] = "bare"\n'
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(sys.argv)\n"
    )
    settings = show(MANAGE_SERVE, tmp_path)
    assert settings["static_mounts"] == (NOTHING, "default")
    assert settings["log_timezone"] == (NOTHING, "default")
    server = serve("--bind", "127.0.0.1:0", command=MANAGE_SERVE, cwd=tmp_path)
    assert server.get("/").text == "bare"
    assert "serve.W" not in server.text


# --- Flask


HELLO = """
from flask import Flask

app = Flask(__name__)
"""


@pytest.fixture
def notes(tmp_path):
    pytest.importorskip("flask")
    (tmp_path / "static").mkdir()
    (tmp_path / "app.py").write_text(HELLO)
    return tmp_path


def write(project: Path, **config: object) -> None:
    (project / "app.py").write_text(f"{HELLO}app.config.update({config!r})\n")


SERVE = [*FLASK, "serve"]


def test_every_row_of_flasks_table_can_be_seen(notes):
    pytest.importorskip("whitenoise")
    write(
        notes,
        MAX_CONTENT_LENGTH=16e6,
        MAX_FORM_MEMORY_SIZE=1000,
        APPLICATION_ROOT="/notes/",
        TRUSTED_HOSTS=("notes.example:443",),
        SERVER_NAME="notes.test:5001",
    )
    settings = show(SERVE, notes)
    assert settings["profile"] == ("production", "default")
    assert settings["limit_request_body"] == ("15625KB", 'app.config["MAX_CONTENT_LENGTH"]')
    assert settings["body_buffer_size"] == ("1000", 'app.config["MAX_FORM_MEMORY_SIZE"]')
    assert settings["script_name"] == ("/notes", 'app.config["APPLICATION_ROOT"]')
    assert settings["allowed_hosts"] == ("notes.example", 'app.config["TRUSTED_HOSTS"]')
    assert settings["static_mounts"] == (f"/static/={notes}/static", "static_folder of the application")
    assert settings["bind"] == ("127.0.0.1:8000", "default")
    settings = show(SERVE, notes, FLASK_DEBUG="1")
    assert settings["profile"] == ("development", "Flask's debug mode")
    assert settings["static_mounts"] == (NOTHING, "default"), "Flask serves them itself"
    assert settings["bind"] == ("127.0.0.1:5001", 'app.config["SERVER_NAME"]')


AGAINST_FLASK = {
    "profile": (("DEBUG", True), "production"),
    "limit_request_body": (("MAX_CONTENT_LENGTH", 1000), "2000"),
    "body_buffer_size": (("MAX_FORM_MEMORY_SIZE", 1000), "2000"),
    "script_name": (("APPLICATION_ROOT", "/notes"), "/other"),
    "allowed_hosts": (("TRUSTED_HOSTS", ["notes.example"]), "other.example"),
    "bind": (("SERVER_NAME", "notes.test:5001"), "127.0.0.1:5002"),
    "static_mounts": (("STATIC", None), "/files/=/srv/files"),
}


def test_serve_wins_over_all_of_flasks(notes):
    import flask_serve.translations

    assert AGAINST_FLASK.keys() == {row.ours for row in flask_serve.translations.TABLE if row.read is not None}
    said = {name: value for name, (_, value) in AGAINST_FLASK.items()}
    write(notes, **dict(pair for pair, _ in AGAINST_FLASK.values()), SERVE=said)
    settings = show(SERVE, notes)
    for name, value in said.items():
        assert settings[name] == (value, f'app.config["SERVE"]["{name}"]')
