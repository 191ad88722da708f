"""Both example projects, in development and in production, as a person with a browser meets them."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from live import LiveServer, eventually
from projects import MANAGE_SERVE, copy_of, edit, manage, shop_with_goods

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("selenium"), reason="selenium is not installed (make test-all)"),
]

ANYWHERE = ("--bind", "127.0.0.1:0")


@dataclass
class Example:
    """What the tests need to know of a project."""

    name: str
    folder: Path
    server: LiveServer
    style: str
    script: str
    upload: str
    events: str
    source: Path
    version: tuple[str, str]
    words: str  # on its first page

    def url(self, path: str = "/") -> str:
        return self.server.url + path


def start_shop(serve, folder: Path, debug: bool) -> Example:
    project = shop_with_goods(folder)
    if not debug:
        assert manage(project, "collectstatic", "--noinput")[0] == 0
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=project, env={"DJANGO_DEBUG": "1" if debug else "0"})
    return Example(
        name="shop",
        folder=project,
        server=server,
        style="/static/shop/shop.css",
        script="/static/shop/upload.js",
        upload="/products/fountain-pen/upload/",
        events="/stock/",
        source=project / "shop" / "views.py",
        version=('VERSION = "1"', 'VERSION = "2"'),
        words="Fountain pen",
    )


def start_notes(serve, folder: Path, debug: bool) -> Example:
    project = copy_of("flask_notes", folder)
    command = [sys.executable, "-m", "flask", "--app", "notes", *(["--debug"] if debug else []), "serve"]
    # An event source holds a place for as long as it lasts.
    server = serve(*ANYWHERE, "--threads", "8", command=command, cwd=project)
    return Example(
        name="notes",
        folder=project,
        server=server,
        style="/static/notes.css",
        script="/static/upload.js",
        upload="/",
        events="/",
        source=project / "notes" / "views.py",
        version=('VERSION = "1"', 'VERSION = "2"'),
        words="Write it down",
    )


STARTS = {"shop": start_shop, "notes": start_notes}


@pytest.fixture(params=["shop", "notes"])
def developed(request, serve, tmp_path):
    """An example in development."""
    return STARTS[request.param](serve, tmp_path, True)


@pytest.fixture(params=["shop-development", "shop-production", "notes-development", "notes-production"])
def example(request, serve, tmp_path):
    name, _, profile = request.param.partition("-")
    return STARTS[name](serve, tmp_path, profile == "development")


def text_of(browser) -> str:
    return browser.execute_script("return document.body ? document.body.innerText : ''")


def complaints(browser) -> list[str]:
    """What the browser's console has to say against the page, but for a missing favicon."""
    entries = browser.get_log("browser")
    return [entry["message"] for entry in entries if entry["level"] == "SEVERE" and "favicon" not in entry["message"]]


@pytest.mark.parametrize("fault", ["def half(:", "import nowhere_at_all", "1 / 0"])
def test_broken_code_is_shown_with_its_source_and_the_page_comes_back_when_it_is_mended(browser, developed, fault):
    browser.get(developed.url())
    assert developed.words in text_of(browser)
    source = developed.source.read_text()
    developed.source.write_text(source + "\nAPI_TOKEN = 'never-to-be-seen'\n" + fault + "\n")
    developed.server.read_until(r"The browser shows why")
    eventually(lambda: (browser.get(developed.url()), fault in text_of(browser))[1])
    page = browser.page_source
    assert developed.source.name in page
    assert "never-to-be-seen" not in page
    assert not [each for each in complaints(browser) if "Content Security Policy" in each], "its script may run"
    # Another mistake is shown by itself, and so is the page when there is none any more.
    developed.source.write_text(source + "\nraise RuntimeError('the second mistake')\n")
    eventually(lambda: "the second mistake" in text_of(browser))
    developed.source.write_text(source)
    eventually(lambda: developed.words in text_of(browser))


def test_a_project_that_is_broken_from_the_start_comes_up_by_itself(browser, serve, tmp_path):
    project = copy_of("flask_notes", tmp_path)
    source = (project / "notes" / "__init__.py").read_text()
    (project / "notes" / "__init__.py").write_text("import this_is_nowhere\n")
    command = [sys.executable, "-m", "flask", "--app", "notes", "--debug", "serve"]
    server = serve(*ANYWHERE, command=command, cwd=project)
    browser.get(server.url)
    assert "this_is_nowhere" in text_of(browser)
    (project / "notes" / "__init__.py").write_text(source)
    eventually(lambda: "Write it down" in text_of(browser))


def test_an_upload_shows_how_far_it_is_and_arrives(browser, example, large_file):
    browser.get(example.url(example.upload))
    browser.execute_script(
        """
        window.seen = [];
        const bar = document.querySelector("form[enctype] progress");
        new MutationObserver(() => window.seen.push(bar.value)).observe(bar, {attributes: true});
        """
    )
    from selenium.webdriver.common.by import By

    browser.find_element(By.CSS_SELECTOR, "form[enctype] input[type=file]").send_keys(str(large_file))
    browser.find_element(By.CSS_SELECTOR, "form[enctype] button").click()
    eventually(lambda: large_file.name in text_of(browser))
    seen = [float(value) for value in browser.execute_script("return window.seen")]
    assert seen == sorted(seen)
    assert len({value for value in seen if value > 0}) >= 2, "it moved"
    assert seen[-1] >= large_file.stat().st_size
    stored = [path for path in example.folder.rglob(large_file.name) if path.is_file()]
    assert [path.read_bytes() for path in stored] == [large_file.read_bytes()]


def test_events_arrive_one_by_one(browser, example):
    browser.get(example.url(example.events))
    for number in (1, 2, 3):
        eventually(lambda number=number: f"Event {number} from process" in text_of(browser))
    browser.get("about:blank")


def test_style_sheets_and_scripts_are_there(browser, example):
    browser.get(example.url(example.upload))
    rules = "return [...document.styleSheets].map(sheet => [new URL(sheet.href).pathname, sheet.cssRules.length])"
    assert dict(browser.execute_script(rules))[example.style] > 5
    assert example.script in browser.page_source
    assert not complaints(browser)
    answer = example.server.get(example.style)
    assert answer.headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("debug", [True, False])
def test_the_admin_logs_in_and_looks_as_it_should(browser, serve, tmp_path, debug):
    from selenium.webdriver.common.by import By

    shop = start_shop(serve, tmp_path, debug)
    browser.get(shop.url("/admin/"))
    browser.find_element(By.NAME, "username").send_keys("admin")
    browser.find_element(By.NAME, "password").send_keys("admin")
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    eventually(lambda: "Site administration" in text_of(browser))
    color = browser.execute_script("return getComputedStyle(document.getElementById('header')).backgroundColor")
    assert color not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"), "the admin has its style sheets"
    assert not complaints(browser)


def test_a_saved_change_is_seen_on_the_next_visit(browser, developed):
    path = "/whoami/" if developed.name == "shop" else "/whoami"
    browser.get(developed.url(path))
    assert '"version": "1"' in text_of(browser) or '"version":"1"' in text_of(browser)
    edit(developed.source, *developed.version)
    developed.server.read_until("Generation 2 has taken over")
    eventually(lambda: (browser.get(developed.url(path)), '"2"' in text_of(browser))[1])
