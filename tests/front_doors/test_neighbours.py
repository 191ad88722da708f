"""``manage.py serve`` in projects that use what many projects use: each package alone and all together.

tests/versions.py runs them in an environment that has these packages (make test-all).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from live import eventually
from projects import MANAGE_SERVE, edit, manage, run, shop_with_goods

NEIGHBOURS = ("daphne", "whitenoise", "django_extensions", "debug_toolbar")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, NEIGHBOURS)), reason="run by tests/versions.py, with its packages"
    ),
]

ASGI = """
from django.core.asgi import get_asgi_application

application = get_asgi_application()
"""


@pytest.fixture(params=[*NEIGHBOURS, "all"])
def project(request, tmp_path) -> Path:
    """The shop with one of them, or all, set up as their own manuals say."""
    chosen = NEIGHBOURS if request.param == "all" else (request.param,)
    shop = shop_with_goods(tmp_path)
    lines = []
    if "daphne" in chosen:
        (shop / "shop_site" / "asgi.py").write_text(ASGI)
        lines += ['INSTALLED_APPS = ["daphne", *INSTALLED_APPS]', 'ASGI_APPLICATION = "shop_site.asgi.application"']
    if "whitenoise" in chosen:
        lines += [
            'INSTALLED_APPS = ["whitenoise.runserver_nostatic", *INSTALLED_APPS]',
            'MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")',
        ]
    if "django_extensions" in chosen:
        lines += ['INSTALLED_APPS += ["django_extensions"]']
    if "debug_toolbar" in chosen:
        lines += [
            'INSTALLED_APPS += ["debug_toolbar"]',
            'MIDDLEWARE.insert(1, "debug_toolbar.middleware.DebugToolbarMiddleware")',
            'INTERNAL_IPS = ["127.0.0.1"]',
        ]
        with (shop / "shop_site" / "urls.py").open("a") as file:
            file.write('\nurlpatterns += [path("__debug__/", include("debug_toolbar.urls"))]\n')
    with (shop / "shop_site" / "settings.py").open("a") as file:
        file.write("\n" + "\n".join(lines) + "\n")
    return shop


def test_it_serves_pages_and_files_in_development(project, serve):
    server = serve("--bind", "127.0.0.1:0", command=MANAGE_SERVE, cwd=project, env={"DJANGO_DEBUG": "1"})
    page = server.get("/")
    assert "Fountain pen" in page.text
    assert ("djDebug" in page.text) == ("debug_toolbar" in (project / "shop_site" / "settings.py").read_text())
    assert server.get("/static/shop/shop.css").headers["content-type"].startswith("text/css")
    edit(project / "shop" / "views.py", 'VERSION = "1"', 'VERSION = "2"')
    server.read_until("Generation 2 has taken over")
    eventually(lambda: '"version": "2"' in server.get("/whoami/").text)  # the old one may take a last request


def test_it_serves_pages_and_files_in_production(project, serve):
    assert manage(project, "collectstatic", "--noinput")[0] == 0
    server = serve("--bind", "127.0.0.1:0", command=MANAGE_SERVE, cwd=project)
    assert "Fountain pen" in server.get("/").text
    assert server.get("/static/shop/shop.css").headers["content-type"].startswith("text/css")


def test_other_commands_are_left_alone(project):
    for command in ("serve", "runserver"):
        status, text = run([sys.executable, "manage.py", command, "--help"], project)
        assert status == 0, text
    for line in ("runserver_plus", "check"):
        status, text = manage(project, line, "--help")
        assert (status == 0) == (
            line == "check" or "django_extensions" in (project / "shop_site/settings.py").read_text()
        )
