"""Checks the Django example without a server: its own tests, and the commands of its README.

Django can be set up once in a process, so each test is a process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHOP = REPOSITORY / "example_projects" / "django_shop"

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("django"), reason="Django is not installed")


@pytest.fixture
def manage(tmp_path):
    """Run `manage.py` with a database and a folder for uploads that nobody else sees."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "DJANGO_SETTINGS_MODULE": "shop_site.settings",
        "DJANGO_DEBUG": "0",
        "SHOP_DB": str(tmp_path / "shop.sqlite3"),
        "SHOP_MEDIA": str(tmp_path / "media"),
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=SHOP, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_the_shop_keeps_its_own_promises(manage):
    assert "\nOK\n" in manage("test", "--noinput")


def test_a_fresh_checkout_is_migrated_and_seeded_by_two_commands(manage):
    manage("migrate")
    assert "The shop has 12 products." in manage("seed")


def test_the_shop_lives_where_the_environment_says(manage, tmp_path):
    manage("migrate")
    assert (tmp_path / "shop.sqlite3").stat().st_size > 0


def test_the_shop_has_nothing_to_complain_about_at_start(manage):
    assert "no issues" in manage("check")
