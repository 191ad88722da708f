"""A real browser without a window for the tests of this folder, which fail where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The browser, for all tests; each begins on an empty page."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert program, "these tests need a browser: apt install chromium chromium-driver"
    assert driver, "these tests need the browser's driver: apt install chromium-driver"
    options = ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",  # root has none
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1000,900",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture
def browser(chromium: object) -> object:
    """The same, with what it remembers of earlier tests forgotten."""
    chromium.delete_all_cookies()  # type: ignore[attr-defined]
    chromium.get("about:blank")  # type: ignore[attr-defined]
    chromium.get_log("browser")  # type: ignore[attr-defined]
    return chromium


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    """So large that its upload takes a while."""
    file = tmp_path / "drawing.bin"
    with file.open("wb") as out:
        for number in range(40):
            out.write(bytes([number]) * (1 << 20))
    return file
