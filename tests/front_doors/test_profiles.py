"""Both profiles of real servers, behind each front door: what the banner says, and what follows from it."""

from __future__ import annotations

import json

import pytest
from live import COMMAND, eventually
from projects import FLASK, MANAGE_SERVE, copy_of, edit, manage, run

ANYWHERE = ("--bind", "127.0.0.1:0")
COUNT = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"one"]
"""


@pytest.fixture
def plain(tmp_path):
    """A WSGI application that nobody's framework knows."""
    (tmp_path / "mine.py").write_text(COUNT)
    return tmp_path


def test_a_plain_application_is_developed_when_asked_for(plain, serve):
    server = serve("--profile", "development", "mine:app", cwd=plain)
    assert "1 worker × 8 threads, worker class gthread (because threads > 1)" in server.text
    assert (
        "Profile development, because of --profile. The application is loaded anew when one of its files changes "
        "(reload)." in server.text
    )
    assert server.get("/cart?size=2").text == "one"
    server.read_until(r"^\d\d:\d\d:\d\d GET /cart\?size=2 200 [\d.]+ ms$")
    edit(plain / "mine.py", 'b"one"', 'b"two"')
    server.read_until("Generation 2 has taken over")
    eventually(lambda: server.get("/").text == "two")


def test_choices_on_the_command_line_win_in_development(plain, serve):
    arguments = ("--profile", "development", "-w", "2", "-k", "sync", "--no-reload", "--access-logfile", "access.log")
    server = serve(*arguments, "mine:app", cwd=plain)
    assert "2 workers × 1 thread, worker class sync, generation 1" in server.text
    assert "Profile development, because of --profile.\n" in server.text
    assert not server.processes("watcher")
    server.get("/cart")
    eventually(lambda: '"GET /cart HTTP/1.1" 200' in (plain / "access.log").read_text())


def test_nobody_has_to_know_of_profiles(plain, serve):
    server = serve("mine:app", cwd=plain)
    assert "Profile production.\n" in server.text
    assert not server.processes("watcher")


def test_choices_in_a_file_and_in_the_environment_win_in_development(plain, serve):
    (plain / "serve.toml").write_text('profile = "development"\nthreads = 2\n')
    server = serve("-c", "serve.toml", "mine:app", cwd=plain, env={"SERVE_WORKERS": "3", "SERVE_RELOAD": "no"})
    assert "3 workers × 2 threads, worker class gthread" in server.text
    assert "Profile development, because of profile in serve.toml.\n" in server.text


def test_a_django_project_in_debug_mode_can_be_served_as_in_production(tmp_path, serve):
    pytest.importorskip("django")
    shop = copy_of("django_shop", tmp_path)
    command = [*MANAGE_SERVE, *ANYWHERE, "--profile", "production"]
    server = serve(command=command, cwd=shop, env={"DJANGO_DEBUG": "1"})
    assert "2 workers × 1 thread, worker class sync" in server.text
    assert "Profile production, because of --profile.\n" in server.text
    assert "security.W018: You should not have DEBUG set to True in deployment." in server.text
    assert not server.processes("watcher")


@pytest.mark.parametrize("asked", [["--profile", "production"], []], ids=["command line", "SERVE"])
def test_a_django_project_in_debug_mode_serves_in_production_what_was_collected(tmp_path, serve, asked):
    pytest.importorskip("django")
    pytest.importorskip("whitenoise")
    shop = copy_of("django_shop", tmp_path)
    if not asked:
        with (shop / "shop_site" / "settings.py").open("a") as file:
            file.write('SERVE["profile"] = "production"\n')
    assert manage(shop, "collectstatic", "--no-input", "--verbosity", "0")[0] == 0
    (shop / "shop" / "static" / "shop" / "shop.css").write_text("what no finder should find")
    server = serve(command=[*MANAGE_SERVE, *ANYWHERE, *asked], cwd=shop, env={"DJANGO_DEBUG": "1"})
    assert "Dresses the whole shop" in server.get("/static/shop/shop.css").text
    assert "serve.W006" not in server.text
    edit(shop / "shop_site" / "settings.py", "STATIC_ROOT =", "OTHER_ROOT =")
    server = serve(command=[*MANAGE_SERVE, *ANYWHERE, *asked], cwd=shop, env={"DJANGO_DEBUG": "1"})
    assert "serve.W004: STATIC_ROOT is not set" in server.text
    assert server.get("/static/shop/shop.css").status == 404


def test_a_django_project_in_debug_mode_serves_in_development_what_the_finders_find(tmp_path, serve):
    pytest.importorskip("django")
    shop = copy_of("django_shop", tmp_path)
    assert manage(shop, "collectstatic", "--no-input", "--verbosity", "0")[0] == 0
    edit(shop / "shop" / "static" / "shop" / "shop.css", "Dresses", "Adorns")
    server = serve(command=[*MANAGE_SERVE, *ANYWHERE], cwd=shop, env={"DJANGO_DEBUG": "1"})
    assert "Adorns the whole shop" in server.get("/static/shop/shop.css").text


def test_a_django_project_can_be_developed_without_debug_mode(tmp_path, serve):
    pytest.importorskip("django")
    shop = copy_of("django_shop", tmp_path)
    server = serve(command=[*MANAGE_SERVE, *ANYWHERE], cwd=shop, env={"SERVE_PROFILE": "development"})
    assert "2 workers × 8 threads, worker class gthread" in server.text, "the project has chosen its workers"
    assert "Profile development, because of SERVE_PROFILE. The application is loaded anew" in server.text
    assert server.get("/healthz/").text == "ok\n"


def test_flask_in_debug_mode_is_developed_and_can_be_served_as_in_production(tmp_path, serve):
    pytest.importorskip("flask")
    notes = copy_of("flask_notes", tmp_path)
    command = [*FLASK, "--app", "notes", "--debug", "serve", *ANYWHERE]
    assert "Profile development, because of Flask's debug mode. The app" in serve(command=command, cwd=notes).text
    server = serve(command=[*command, "--profile", "production"], cwd=notes)
    assert "Profile production, because of --profile.\n" in server.text
    assert "serve.W014: Debug mode is on in production (profile): leave --debug out." in server.text
    assert json.loads(server.get("/whoami").body)


def test_where_each_implied_value_is_from_can_be_shown(plain):
    status, text = run([*COMMAND, "--profile", "development", "-w", "4", "--show-config", "mine:app"], plain)
    assert status == 0
    shown = {name: (value, origin) for name, value, origin in (line.split(maxsplit=2) for line in text.splitlines())}
    implied = "profile development (--profile)"
    assert shown["profile"] == ("development", "--profile")
    assert shown["workers"] == ("4", "--workers")
    assert shown["threads"] == ("8", implied)
    assert shown["worker_class"] == ("gthread", "threads > 1")
    assert shown["reload"] == ("true", implied)
    assert shown["accesslog"] == ("-", implied)
    assert shown["access_log_format"] == ("dev", implied)
