"""The manual's reference pages are what the declarations say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from server_core.config.schema import SETTINGS
from server_core.reference import PAGES
from server_core.workers import WORKER_CLASSES

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_in_the_repository_is_fresh(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name](), "run: make docs"


def test_no_page_in_the_repository_is_left_over() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


def test_the_module_writes_all_pages(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "server_core.reference", str(tmp_path)], check=True)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        name: draw() for name, draw in PAGES.items()
    }


def test_the_help_of_worker_class_names_every_worker_class() -> None:
    for name in WORKER_CLASSES:
        assert name in SETTINGS["worker_class"].help
