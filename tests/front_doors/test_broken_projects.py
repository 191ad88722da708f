"""A Django project that is broken when the server starts: who waits for it to be mended, and who ends."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from live import eventually
from projects import copy_of, edit, run

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("django"), reason="Django is not installed")

MODULE = [sys.executable, "-m", "django_serve"]
ANYWHERE = ("--bind", "127.0.0.1:0")


@pytest.fixture
def shop(tmp_path):
    return copy_of("django_shop", tmp_path)


@pytest.fixture(params=["python -m django_serve", "manage.py"])
def command(request, shop):
    """Both ways in: the module, and a manage.py that calls ours instead of Django's."""
    if request.param != "manage.py":
        return MODULE
    edit(shop / "manage.py", "from django.core.management import", "from django_serve.manage import")
    return [sys.executable, "manage.py", "serve"]


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("shop_site/settings.py", "DEBUG = = True", "SyntaxError"),
        ("shop_site/settings.py", "import nowhere_at_all", "ModuleNotFoundError"),
        ("shop/models.py", "not_defined", "NameError"),
        ("shop/urls.py", "1 / 0", "ZeroDivisionError"),
    ],
)
def test_in_development_the_browser_shows_what_is_wrong_until_it_is_mended(shop, serve, command, file, line, fault):
    good = (shop / file).read_text()
    (shop / file).write_text(good + "\n" + line + "\n")
    server = serve(*ANYWHERE, "--profile", "development", command=command, cwd=shop, wait=False)
    server.read_until(rf"was not loaded, .*{fault}.*\. Waiting for a change")
    server.wait_until_serving()
    server.read_until("The browser shows why")
    answer = server.get("/healthz/", accept="application/json")
    assert answer.status == 500
    assert fault in answer.text
    assert server.text.count("Traceback") == 1, "the console shows it once"
    (shop / file).write_text(good)
    eventually(lambda: server.get("/healthz/").text == "ok\n")


def test_in_production_it_ends_with_the_traceback_and_says_what_would_wait(shop, command):
    with (shop / "shop_site" / "settings.py").open("a") as file:
        file.write("\n1 / 0\n")
    status, text = run([*command, *ANYWHERE], shop)
    assert status == 1
    assert text.startswith("In development (--profile development) the server would wait for this to be mended:\n")
    assert text.rstrip().endswith("ZeroDivisionError: division by zero")


def test_debug_in_settings_that_can_be_read_means_development(shop, serve, command):
    with (shop / "shop" / "models.py").open("a") as file:
        file.write("\n1 / 0\n")
    server = serve(*ANYWHERE, command=command, cwd=shop, env={"DJANGO_DEBUG": "1"})
    assert "Profile development, because of DEBUG in shop_site.settings" in server.text
    assert "2 workers" in server.text, "SERVE in the settings counts"
    assert "not known" not in server.text
    assert server.get("/").status == 500


def test_settings_that_cannot_be_read_are_told_to_be_unknown(shop, serve, command):
    with (shop / "shop_site" / "settings.py").open("a") as file:
        file.write("\n1 / 0\n")
    server = serve(*ANYWHERE, "--profile", "development", command=command, cwd=shop)
    assert server.text.startswith("The settings cannot be imported, so SERVE and DEBUG in them are not known.\n")
    assert "1 worker " in server.text


def test_a_wrong_name_in_the_settings_of_a_broken_project_is_told(shop, command):
    with (shop / "shop_site" / "settings.py").open("a") as file:
        file.write("\nSERVE = {'wokers': 3}\n")
    (shop / "shop" / "models.py").write_text("1 / 0\n")
    status, text = run([*command, *ANYWHERE], shop, DJANGO_DEBUG="1")
    assert status == 2
    assert 'SERVE["wokers"] in shop_site.settings is no setting; did you mean "workers"?' in text


def test_a_sound_project_is_served_as_by_manage_py(shop, serve, command):
    server = serve(*ANYWHERE, "--no-checks", command=command, cwd=shop)
    assert server.get("/healthz/").text == "ok\n"
    assert "2 workers" in server.text, "SERVE in the settings counts"


def test_options_of_every_command_are_still_understood(shop, serve):
    (shop / "shop" / "models.py").write_text("1 / 0\n")
    arguments = ["--settings", "shop_site.settings", "-v", "2", "--no-color", "--skip-checks", "127.0.0.1:0"]
    server = serve(*arguments, command=MODULE, cwd=shop, env={"DJANGO_DEBUG": "1"})
    assert server.get("/").status == 500
    assert "[DEBUG]" in server.text, "-v 2"


def test_the_inspection_can_be_skipped_for_when_it_is_mended(shop, serve, command):
    good = (shop / "shop" / "models.py").read_text()
    (shop / "shop" / "models.py").write_text("1 / 0\n")
    server = serve(*ANYWHERE, "--skip-checks", command=command, cwd=shop, env={"DJANGO_DEBUG": "1"})
    (shop / "shop" / "models.py").write_text(good)
    eventually(lambda: server.get("/healthz/").text == "ok\n")
    assert "The inspection" not in server.text, "nothing has been migrated"


def test_a_wrong_option_of_a_broken_project_is_told(shop, command):
    (shop / "shop" / "models.py").write_text("1 / 0\n")
    status, text = run([*command, "--wokers", "3"], shop)
    assert status == 2
    assert "--wokers" in text
