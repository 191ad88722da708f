"""Applications that are mounted on a path, behind proxies that take it away and proxies that pass it on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import LiveServer
from projects import FLASK, MANAGE_SERVE, copy_of, edit, manage, shop_with_goods

from server_core.gateway.mount import inside, mounted

ANYWHERE = ("--bind", "127.0.0.1:0")


def seen(path: str, script_name: str) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO of a request for ``path``, as a mounted application sees them."""
    environ = {"SCRIPT_NAME": "", "PATH_INFO": path}
    told: list[tuple[str, str]] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        told.append((environ["SCRIPT_NAME"], environ["PATH_INFO"]))
        return []

    mounted(app, script_name)(environ, lambda *_: None)
    return told[0]


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/shop", ""),
        ("/shop/", "/"),
        ("/shop/cart", "/cart"),
        ("/shop/shop/cart", "/shop/cart"),
        ("/", "/"),  # the proxy has taken the mount away
        ("/cart", "/cart"),
        ("/shopping/", "/shopping/"),
        ("/shop.css", "/shop.css"),
        ("", ""),  # OPTIONS *
    ],
)
def test_the_mount_is_taken_off_a_path_that_has_it(path: str, rest: str) -> None:
    assert seen(path, "/shop") == ("/shop", rest)
    assert inside(path, "/shop") == rest


def test_at_the_root_nothing_changes_and_nothing_is_called_in_between() -> None:
    def app(environ: object, start_response: object) -> list[bytes]:
        return []

    assert mounted(app, "") is app
    assert inside("/shop/", "") == "/shop/"


@given(st.sampled_from(["", "/a", "/a/b"]), st.text("ab/.", max_size=8).map(lambda text: "/" + text))
def test_whether_the_proxy_takes_the_mount_away_makes_no_difference(script_name: str, path: str) -> None:
    if inside(path, script_name) == path:  # otherwise nobody could tell
        assert inside(script_name + path, script_name) == path
        assert seen(script_name + path, script_name or "/x")[1] == seen(path, script_name or "/x")[1]


# --- real servers

TELLING = """
import json

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["RAW_URI"]]).encode()]
"""


def test_a_plain_application_and_its_files_are_mounted(tmp_path: Path, serve: Any) -> None:
    pytest.importorskip("whitenoise")
    (tmp_path / "telling.py").write_text(TELLING)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.txt").write_text("a file")
    mounts = ("--static-mount", "/static/=public", "--static-mount", "/shop/more/=public")
    mounts += ("--static-mount", "/shopping/=public")
    server = serve("--script-name", "/shop", *mounts, "telling:app", cwd=tmp_path)
    assert json.loads(server.get("/shop/cart?a=b").body) == ["/shop", "/cart", "/shop/cart?a=b"]
    assert json.loads(server.get("/sh%6fp/c%20t").body) == ["/shop", "/c t", "/sh%6fp/c%20t"]
    assert json.loads(server.get("/cart").body) == ["/shop", "/cart", "/cart"]
    for path in ("/static/a.txt", "/shop/static/a.txt", "/more/a.txt", "/shop/more/a.txt", "/shop/shopping/a.txt"):
        assert server.get(path).text == "a file", path
    assert json.loads(server.get("/ping/a.txt").body)[1] == "/ping/a.txt", "not /shopping/ without /shop"


def links(server: LiveServer, path: str) -> tuple[str, list[str]]:
    """The style sheet of a page, and where its links lead."""
    answer = server.get(path)
    assert answer.status == 200, answer.text
    sheet = re.search(r'<link rel="stylesheet" href="([^"]+)"', answer.text)
    assert sheet is not None
    return sheet[1], re.findall(r'<a[^>]* href="([^"]+)"', answer.text)


#: each way to say where a Django project is mounted
DJANGO = {
    "FORCE_SCRIPT_NAME": ('FORCE_SCRIPT_NAME = "/shop"', 'STATIC_URL = "static/"'),
    "script_name": ('SERVE = {"script_name": "/shop"}', 'STATIC_URL = "static/"'),
    "with an absolute URL": ('FORCE_SCRIPT_NAME = "/shop/"', 'STATIC_URL = "/shop/static/"'),
    "with a foreign URL": ('FORCE_SCRIPT_NAME = "/shop"', 'STATIC_URL = "/shopfiles/"'),
}


@pytest.mark.parametrize("debug", ["0", "1"], ids=["production", "development"])
@pytest.mark.parametrize("way", DJANGO)
def test_a_django_project_is_mounted_with_its_static_files(tmp_path: Path, serve: Any, way: str, debug: str) -> None:
    pytest.importorskip("django")
    pytest.importorskip("whitenoise")
    shop = shop_with_goods(tmp_path)
    with (shop / "shop_site" / "settings.py").open("a") as file:
        file.write("\n".join([*DJANGO[way], ""]))
    if debug == "0":
        status, text = manage(shop, "collectstatic", "--no-input", "--verbosity", "0")
        assert status == 0, text
    server = serve(*ANYWHERE, "--no-reload", command=MANAGE_SERVE, cwd=shop, env={"DJANGO_DEBUG": debug})
    static = "/shopfiles/" if way == "with a foreign URL" else "/shop/static/"
    for page in ("/shop/", "/"):  # the proxy passes the mount on, or takes it away
        sheet, all_links = links(server, page)
        assert sheet == f"{static}shop/shop.css"
        assert all(link.startswith("/shop/") for link in all_links), all_links
    for path in (sheet, sheet.replace("/shop/static/", "/static/")):
        assert "Dresses the whole shop" in server.get(path).text
    admin = server.get("/shop/admin/login/")
    assert f'href="{static}admin/css/base.css"' in admin.text
    assert server.get(f"{static}admin/css/base.css").status == 200
    assert server.get(f"{static}admin/css/nothing.css").status == 404


@pytest.mark.parametrize("debug", ["--no-debug", "--debug"], ids=["production", "development"])
def test_a_flask_application_is_mounted_with_its_static_files(tmp_path: Path, serve: Any, debug: str) -> None:
    pytest.importorskip("flask")
    notes = copy_of("flask_notes", tmp_path)
    edit(notes / "notes" / "__init__.py", "TITLE=title,", 'TITLE=title, APPLICATION_ROOT="/notes-of-mine",')
    command = [*FLASK, "--app", "notes", debug, "serve", *ANYWHERE, "--no-reload"]
    status, text = _flask(notes, "init-db")
    assert status == 0, text
    server = serve(command=command, cwd=notes)
    for page in ("/notes-of-mine/", "/"):
        sheet, all_links = links(server, page)
        assert sheet == "/notes-of-mine/static/notes.css"
        assert "/notes-of-mine/" in all_links
    for path in (sheet, "/static/notes.css"):
        answer = server.get(path)
        assert answer.status == 200
        assert ("public" in answer.headers["cache-control"]) is (debug == "--no-debug"), "Flask serves it in debug mode"


def _flask(project: Path, *arguments: str) -> tuple[int, str]:
    from projects import run

    return run([*FLASK, "--app", "notes", *arguments], project)


def test_flasks_own_middleware_may_mount_it(tmp_path: Path, serve: Any) -> None:
    pytest.importorskip("flask")
    (tmp_path / "app.py").write_text(
        "from flask import Flask, url_for\n"
        "from werkzeug.middleware.dispatcher import DispatcherMiddleware\n"
        "app = Flask(__name__)\n"
        'app.config["APPLICATION_ROOT"] = "/notes"\n'
        '@app.get("/page")\ndef page():\n    return url_for("page")\n'
        'app.wsgi_app = DispatcherMiddleware(lambda environ, start: [start("404 Nowhere", [])] and [], '
        '{"/notes": app.wsgi_app})\n'
    )
    server = serve(command=[*FLASK, "serve", *ANYWHERE], cwd=tmp_path)
    assert server.get("/notes/page").text == "/notes/page"
    assert server.get("/page").status == 404
