"""The manual's reference pages are what the declarations say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import django_serve.translations
import flask_serve.translations
from server_core.config.schema import SETTINGS
from server_core.reference import PAGES
from server_core.workers import WORKER_CLASSES

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"

#: the core does not know the front doors, so each of these draws its own page
ALL_PAGES = {
    **PAGES,
    "django-settings.md": django_serve.translations.page,
    "flask-settings.md": flask_serve.translations.page,
}


@pytest.mark.parametrize("name", ALL_PAGES)
def test_a_page_in_the_repository_is_fresh(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == ALL_PAGES[name](), "run: make docs"


def test_no_page_in_the_repository_is_left_over() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(ALL_PAGES)


def test_make_docs_writes_all_pages(tmp_path: Path) -> None:
    recipe = subprocess.run(["make", "--dry-run", "--always-make", "docs"], cwd=ROOT, capture_output=True, text=True)
    drawing = [line.split()[2] for line in recipe.stdout.splitlines() if line.endswith(" docs/reference")]
    for module in drawing:
        subprocess.run([sys.executable, "-m", module, str(tmp_path)], check=True, cwd=ROOT)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        name: draw() for name, draw in ALL_PAGES.items()
    }


@pytest.mark.parametrize("name", ALL_PAGES)
def test_what_a_page_links_to_is_there(name: str) -> None:
    for page, _, heading in re.findall(r"\]\(([\w-]+\.md)(#(\w+))?\)", ALL_PAGES[name]()):
        assert page in ALL_PAGES
        assert not heading or f"\n### `{heading}`\n" in ALL_PAGES[page]()


def test_the_help_of_worker_class_names_every_worker_class() -> None:
    for name in WORKER_CLASSES:
        assert name in SETTINGS["worker_class"].help
