"""Starlette (and with it FastAPI) and Django under the worker class asgi, and what the front doors say of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import APPS, LiveServer, eventually
from projects import FLASK, MANAGE_SERVE, Browser, copy_of, edit, manage, run, shop_with_goods
from websockets.sync.client import connect
from wire import Wire

Start = Callable[..., LiveServer]
Serve = Callable[..., LiveServer]


@pytest.fixture(scope="module")
def site(options: list[str]) -> Iterator[LiveServer]:
    server = LiveServer("starlette_pages:app", *options)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.end()


class TestStarlette:
    def test_a_page_has_the_state_of_the_lifespan(self, site: LiveServer):
        answer = site.get("/?a=b")
        assert json.loads(answer.body) == {"database": "connected", "url": "http://localhost/?a=b", "root": ""}
        assert answer.headers["x-middleware"] == "yes"

    def test_bodies(self, site: LiveServer):
        assert json.loads(site.get("/echo", "POST", b'{"a": [1, 2]}').body) == {"a": [1, 2]}
        assert site.get("/upload", "POST", b"x" * 3_000_000).text == "3000000"

    def test_functions_files_and_mounts(self, site: LiveServer):
        assert site.get("/blocking").text == "from a thread"
        assert site.get("/file").body == (APPS / "starlette_pages.py").read_bytes()
        assert site.get("/files/simple.py").body == (APPS / "simple.py").read_bytes()
        assert site.get("/nowhere").status == 404
        assert site.get("/fail").status == 500

    def test_a_task_after_the_answer(self, site: LiveServer, tmp_path: Path):
        assert site.get(f"/later?path={tmp_path}/done").text == "soon"
        eventually(lambda: (tmp_path / "done").exists())

    def test_events_end_when_their_client_is_gone(self, site: LiveServer, tmp_path: Path):
        with Wire(site) as wire:
            wire.get(f"/events?path={tmp_path}/ended")
            assert wire.head().headers["content-type"].startswith("text/event-stream")
            assert wire.chunk() == b"data: 0\n\n"
        eventually(lambda: (tmp_path / "ended").exists())

    def test_a_websocket(self, site: LiveServer):
        with connect(site.url.replace("http", "ws") + "/socket", proxy=None) as socket:
            socket.send("hello")
            assert socket.recv() == "connected hello"

    def test_it_can_be_mounted(self, start: Start):
        server = start("--script-name", "/shop", app="starlette_pages:app")
        assert json.loads(server.get("/shop/").body)["root"] == "/shop"
        assert server.get("/blocking").text == "from a thread"

    def test_files_beside_it(self, start: Start, tmp_path: Path):
        (tmp_path / "a.txt").write_text("a file")
        server = start("--static-mount", f"/static/={tmp_path}", app="starlette_pages:app")
        answer = server.get("/static/a.txt")
        assert (answer.text, answer.headers["content-type"]) == ("a file", 'text/plain; charset="utf-8"')
        assert server.get("/static/a.txt", "HEAD").headers["content-length"] == "6"
        assert server.get("/static/b.txt").status == 404
        assert server.get("/static/b.txt").headers["x-middleware"] == "yes"  # the application's own answer
        assert server.get("/static/a.txt", Range="bytes=2-3").text == "fi"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with an ASGI application of its own."""
    project = shop_with_goods(tmp_path_factory.mktemp("shop"))
    (project / "shop_site/asgi.py").write_text(
        "import os\n"
        "from django.core.asgi import get_asgi_application\n"
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_site.settings")\n'
        "django = get_asgi_application()\n"
        "async def application(scope, receive, send):\n"
        "    async def marked(message):\n"
        '        if message["type"] == "http.response.start":\n'
        '            message["headers"] = [*message["headers"], (b"x-asgi", b"yes")]\n'
        "        await send(message)\n"
        "    await django(scope, receive, marked)\n"
    )
    edit(
        project / "shop_site/settings.py",
        "WSGI_APPLICATION",
        'ASGI_APPLICATION = "shop_site.asgi.application"\nWSGI_APPLICATION',
    )
    return project


class TestDjango:
    @pytest.fixture
    def serve_shop(self, serve: Serve, shop: Path) -> Serve:
        def start(*arguments: str, project: Path = shop, **more: object) -> LiveServer:
            return serve("127.0.0.1:0", *arguments, command=MANAGE_SERVE, cwd=project, **more)

        return start

    def test_the_project_is_served_by_its_asgi_application(self, serve_shop: Serve):
        server = serve_shop("--asgi")
        assert "serves shop_site.asgi:application" in server.text
        assert "worker class asgi," in server.text
        browser = Browser(server)
        answer = browser.get("/")
        assert (answer.status, answer.headers["x-asgi"]) == (200, "yes")
        page = browser.submit("/admin/login/", "/admin/login/", username="nobody", password="wrong")
        assert "correct username" in page.text

    def test_the_settings_can_say_the_same(self, serve_shop: Serve, tmp_path: Path):
        project = shop_with_goods(tmp_path)
        edit(project / "shop_site/settings.py", 'SERVE = {"workers": 2}', 'SERVE = {"worker_class": "asgi"}')
        server = serve_shop(project=project)
        assert "serves django.core.asgi:get_asgi_application()" in server.text
        assert server.get("/").status == 200

    def test_in_development_its_files_are_served(self, serve_shop: Serve, shop: Path):
        (shop / "media").mkdir(exist_ok=True)
        (shop / "media/note.txt").write_text("uploaded")
        edit(shop / "shop_site/settings.py", "USE_TZ", 'MEDIA_URL = "/media/"\nUSE_TZ')
        server = serve_shop("--asgi", env={"DJANGO_DEBUG": "1"})
        assert server.get("/static/admin/css/base.css").status == 200
        assert server.get("/static/admin/css/nothing.css").status == 404
        assert server.get("/media/note.txt").text == "uploaded"
        assert server.get("/").headers["x-asgi"] == "yes"

    def test_in_production_what_was_collected(self, serve_shop: Serve, shop: Path):
        status, text = manage(shop, "collectstatic", "--noinput")
        assert status == 0, text
        answer = serve_shop("--asgi").get("/static/admin/css/base.css")
        assert (answer.status, answer.headers["content-type"]) == (200, 'text/css; charset="utf-8"')

    def test_what_is_broken_is_shown(self, serve_shop: Serve, tmp_path: Path):
        project = copy_of("django_shop", tmp_path)
        (project / "shop/views.py").write_text("1 / 0\n")
        server = serve_shop("--asgi", project=project, env={"DJANGO_DEBUG": "1"})
        assert "ZeroDivisionError" in server.get("/", accept="text/html").text

    def test_another_class_beside_it_is_refused(self, shop: Path):
        status, text = manage(shop, "serve", "--asgi", "--worker-class", "gthread")
        assert status == 2
        assert "--asgi means the worker class asgi, but --worker-class is gthread: leave one of them out." in text

    def test_a_setting_with_a_colon_is_refused(self, tmp_path: Path):
        project = copy_of("django_shop", tmp_path)
        settings = project / "shop_site/settings.py"
        edit(settings, "WSGI_APPLICATION", 'ASGI_APPLICATION = "shop_site.asgi:application"\nWSGI_APPLICATION')
        status, text = manage(project, "serve", "--asgi")
        assert status == 2
        assert "ASGI_APPLICATION in shop_site.settings is 'shop_site.asgi:application'" in text

    def test_one_that_is_missing_is_named(self, serve_shop: Serve, tmp_path: Path):
        project = copy_of("django_shop", tmp_path)
        settings = project / "shop_site/settings.py"
        edit(settings, "WSGI_APPLICATION", 'ASGI_APPLICATION = "shop_site.asgi.application"\nWSGI_APPLICATION')
        server = serve_shop("--asgi", project=project, wait=False)
        assert server.wait() == 4
        assert "no module named 'shop_site.asgi'" in server.text
        assert "(ASGI_APPLICATION in shop_site.settings)" in server.text


def test_flask_is_refused(tmp_path: Path):
    project = copy_of("flask_notes", tmp_path)
    status, text = run([*FLASK, "serve", "--worker-class", "asgi"], project)
    assert status == 2
    assert "worker_class asgi (--worker-class) calls ASGI applications, and those of Flask are WSGI" in text


def test_the_arbiter_imports_neither_uvicorn_nor_asyncio():
    code = "import sys, server_core.server, server_core.workers.post; print({'uvicorn', 'asyncio'} & {*sys.modules})"
    status, text = run([sys.executable, "-c", code], APPS)
    assert (status, text) == (0, "set()\n")
