"""Each finding of the inspection in a Django project that deserves it, and in none that does not."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from live import eventually
from projects import MANAGE_SERVE, run

pytest.importorskip("django")

ANYWHERE = ("--bind", "127.0.0.1:0")

MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_of_mine.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

#: a project about which nothing has to be said, also not by check --deploy
SETTINGS = """
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "kT3hV9qLm2xZ8wRb5nYc7pGd4sFj6aHe1uQo0iEtXrWvBzNMlK-_"
DEBUG = False
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "site_of_mine.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_serve"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
SECURE_HSTS_SECONDS = 31536000
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
"""

URLS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("one"))]
"""

#: SQLite under the name of PostgreSQL: it tells with which options it was asked, and has pools of its own
POSTGRESQL = """
from django.db.backends.sqlite3 import base

def tell(what):
    with open("told", "a") as file:
        file.write(f"{what}\\n")

class Cursor(base.SQLiteCursorWrapper):
    def execute(self, query, params=None):
        return super().execute("SELECT 17" if query == "SHOW max_connections" else query, params)

class DatabaseWrapper(base.DatabaseWrapper):
    vendor = "postgresql"
    _connection_pools = {}

    def get_connection_params(self):
        options = self.settings_dict["OPTIONS"]
        tell(sorted(options))
        if "pool" in options:
            self._connection_pools[self.alias] = "a pool"
        self.settings_dict["OPTIONS"] = {}
        try:
            return super().get_connection_params()
        finally:
            self.settings_dict["OPTIONS"] = options

    def close_pool(self):
        del self._connection_pools[self.alias]
        tell("pool closed")

    def create_cursor(self, name=None):
        return self.connection.cursor(factory=Cursor)
"""


@pytest.fixture
def project(tmp_path: Path, migrated: bytes) -> Path:
    """A small project whose database is migrated."""
    write(tmp_path)
    (tmp_path / "db.sqlite3").write_bytes(migrated)
    return tmp_path


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The database, made once."""
    folder = tmp_path_factory.mktemp("migrated")
    write(folder)
    migrate(folder)
    return (folder / "db.sqlite3").read_bytes()


def write(folder: Path) -> None:
    site = folder / "site_of_mine"
    site.mkdir()
    (folder / "manage.py").write_text(MANAGE)
    (site / "__init__.py").write_text("")
    (site / "settings.py").write_text(SETTINGS)
    (site / "urls.py").write_text(URLS)


def migrate(project: Path, *arguments: str) -> None:
    status, text = run([sys.executable, "manage.py", "migrate", "--verbosity", "0", *arguments], project)
    assert status == 0, text


def configure(project: Path, *lines: str) -> None:
    """Add lines to the settings."""
    with (project / "site_of_mine" / "settings.py").open("a") as file:
        file.write("\n".join([*map(dedent, lines), ""]))


def add(project: Path, file: str, text: str) -> None:
    """Add a text to a module."""
    with (project / "site_of_mine" / file).open("a") as out:
        out.write(dedent(text))


def check(project: Path, *arguments: str, **env: str) -> tuple[int, str]:
    return run([*MANAGE_SERVE, "--check-config", *arguments], project, **env)


def found(project: Path, *arguments: str, **env: str) -> dict[str, str]:
    """The findings of a project that may be served, by name."""
    status, text = check(project, *arguments, **env)
    assert status == 0, text
    assert "Traceback" not in text
    assert text.endswith("The settings are right and the application can be imported.\n")
    return dict(re.findall(r"^    ([\w.]+): (.*)$", text, re.MULTILINE))


# --- the findings


def test_nothing_is_said_of_a_project_that_is_as_it_should_be(project):
    assert check(project) == (0, "The settings are right and the application can be imported.\n")
    assert check(project, "--strict")[0] == 0


def test_debug_that_the_network_can_reach(project):
    configure(project, "DEBUG = True")
    text = found(project, "--bind", "0.0.0.0:80", "--bind", "127.0.0.1:81")["serve.W001"]
    assert text.startswith("DEBUG is on, and 0.0.0.0:80 (bind) can be reached from the network")
    assert "serve.W001" in found(project, "--bind", "0.0.0.0:80", "--profile", "production")
    assert found(project) == {}


def test_the_warnings_of_check_deploy_are_for_production(project):
    configure(project, "SECURE_HSTS_SECONDS = 0")
    assert found(project) == {"security.W004": "You have not set a value for the SECURE_HSTS_SECONDS setting."}
    assert found(project, "--profile", "development") == {}


def test_a_database_that_cannot_be_reached(project):
    configure(project, 'DATABASES["default"]["NAME"] = "/nowhere/db.sqlite3"')
    assert found(project) == {
        "serve.W002": "Whether all migrations of the database 'default' are applied could not be found out: "
        "OperationalError: unable to open database file"
    }


def test_a_database_whose_driver_is_not_there(project):
    configure(project, 'DATABASES["other"] = {"ENGINE": "no.such.driver"}')
    text = found(project)["serve.W002"]
    assert text.startswith("The database 'other' cannot be used: ImproperlyConfigured: 'no.such.driver' isn't an avail")


def test_migrations_that_are_not_applied(project):
    (project / "db.sqlite3").unlink()
    text = found(project)["serve.W003"]
    assert re.fullmatch(
        r"\d\d migrations of the database 'default' are not applied \(contenttypes\.0001_initial, .* and \d+ more\): "
        r"run manage\.py migrate\.",
        text,
    )
    migrate(project, "contenttypes")
    migrate(project, "auth", "0011")
    text = "1 migration of the database 'default' is not applied (auth.0012_alter_user_first_name_max_length): run "
    assert found(project, "--profile", "development")["serve.W003"] == text + "manage.py migrate."


def test_a_second_database_is_looked_at_when_somebody_migrates_it(project):
    configure(project, 'DATABASES["other"] = {**DATABASES["default"], "NAME": BASE_DIR / "other.sqlite3"}')
    sqlite3.connect(project / "other.sqlite3").execute("CREATE TABLE somebody_elses (id)").connection.close()
    assert found(project) == {}
    migrate(project, "--database", "other", "contenttypes")
    text = found(project)["serve.W003"]
    assert "migrations of the database 'other' are not applied (auth.0001_initial, " in text
    assert text.endswith("run manage.py migrate --database other.")


def test_a_project_without_a_database_has_nothing_to_migrate(project):
    configure(project, "DATABASES = {}", 'INSTALLED_APPS = ["django_serve"]')
    assert found(project) == {}


STATIC = ('INSTALLED_APPS.append("django.contrib.staticfiles")', 'STATIC_URL = "static/"')


def test_no_place_for_static_files(project):
    configure(project, *STATIC)
    assert found(project)["serve.W004"].startswith("STATIC_ROOT is not set, so there are no style sheets or scripts")
    assert found(project, "--no-static") == {}
    assert found(project, "--profile", "development") == {}
    (project / "files").mkdir()
    assert found(project, "--static-mount", "/static/=files") == {}
    configure(project, 'MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")')
    assert found(project) == {}


def test_static_files_of_somebody_else(project):
    configure(project, *STATIC, 'STATIC_URL = "https://cdn.example/"')
    assert found(project) == {}
    configure(project, 'STATIC_URL = "//cdn.example/"')
    assert found(project) == {}


def test_nothing_has_been_collected(project):
    pytest.importorskip("whitenoise")
    configure(project, *STATIC, 'STATIC_ROOT = BASE_DIR / "collected"')
    nothing = {"serve.W005": f"There is nothing in STATIC_ROOT ({project}/collected): run manage.py collectstatic."}
    assert found(project) == nothing
    (project / "collected").mkdir()
    assert found(project) == nothing
    (project / "collected" / "a.css").write_text("")
    assert found(project) == {}


def test_the_manifest_is_missing(project):
    configure(
        project,
        *STATIC,
        'STATIC_ROOT = BASE_DIR / "collected"',
        'STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}',
    )
    (project / "collected").mkdir()
    (project / "collected" / "a.css").write_text("")
    assert found(project)["serve.W005"] == "The static storage has no manifest yet: run manage.py collectstatic."
    (project / "collected" / "staticfiles.json").write_text("no JSON")
    text = "The static storage cannot be read: ValueError: Couldn't load manifest"
    assert found(project)["serve.W005"].startswith(text)


def test_a_storage_that_cannot_be_made(project):
    configure(project, *STATIC, 'STATIC_ROOT = BASE_DIR / "collected"')
    configure(project, 'STORAGES = {"staticfiles": {"BACKEND": "nowhere.Storage"}}')
    (project / "collected").mkdir()
    (project / "collected" / "a.css").write_text("")
    assert "InvalidStorageError: Could not find backend 'nowhere.Storage'" in found(project)["serve.W005"]


def test_nobody_serves_static_files(project, tmp_path):
    pytest.importorskip("whitenoise")
    configure(project, *STATIC, 'STATIC_ROOT = BASE_DIR / "collected"')
    (project / "collected").mkdir()
    (project / "collected" / "a.css").write_text("")
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text('import sys\nsys.modules["whitenoise"] = None\n')
    text = (
        f'Nobody serves STATIC_ROOT ({project}/collected): pip install "prefork-serve[static]", or switch static off '
    )
    assert found(project, PYTHONPATH=str(tmp_path / "without"))["serve.W006"].startswith(text)
    text = (
        f"Nobody serves STATIC_ROOT ({project}/collected): add {{'/static/': '{project}/collected'}} to static_mounts"
    )
    assert found(project, "--static-mount", f"/other/={project}")["serve.W006"].startswith(text)


def test_a_static_root_with_the_projects_own_code(project):
    configure(project, *STATIC, "STATIC_ROOT = BASE_DIR")
    text = (
        f"STATIC_ROOT ({project}) holds the project's own code and settings, which nobody should be served: choose a "
    )
    assert found(project) == {"serve.W012": text + "directory of its own, and run manage.py collectstatic."}


def test_proxies_that_nobody_trusts(project):
    configure(project, 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")')
    text = "SECURE_PROXY_SSL_HEADER has no effect: no proxy is trusted. Name the one in front of this server in "
    assert found(project) == {"serve.W007": text + "forwarded_allow_ips."}
    configure(project, "USE_X_FORWARDED_HOST = USE_X_FORWARDED_PORT = True")
    text = "SECURE_PROXY_SSL_HEADER, USE_X_FORWARDED_HOST, USE_X_FORWARDED_PORT have no effect"
    assert found(project)["serve.W007"].startswith(text)
    assert found(project, "--forwarded-allow-ips", "10.0.0.1") == {}


def test_a_mount_without_a_directory(project):
    text = "There is no directory nowhere (static_mounts), so nothing is served below /files/: make it, or leave the "
    assert found(project, "--static-mount", "/files/=nowhere") == {"serve.W011": text + "mount out."}
    assert found(project, "--static-mount", "/files/=nowhere", "--no-static") == {}


# --- databases that are no file


@pytest.fixture
def postgresql(project: Path) -> Path:
    """The project on what calls itself PostgreSQL."""
    (project / "standin").mkdir()
    (project / "standin" / "__init__.py").write_text("")
    (project / "standin" / "base.py").write_text(POSTGRESQL)
    configure(project, 'DATABASES["default"]["ENGINE"] = "standin"')
    return project


def test_more_connections_than_the_database_says_that_it_allows(postgresql):
    assert found(postgresql, "-w", "17") == {}
    assert found(postgresql, "-w", "9", "--threads", "2") == {
        "serve.W009": "9 workers × 2 connections = 18 connections to the database 'default' can be opened at the same "
        "time, and it allows 17: lower workers or threads, or use a pool."
    }
    assert found(postgresql, "-w", "18", "--profile", "development") == {}


def test_a_database_is_asked_without_its_pool_and_without_patience(postgresql):
    configure(postgresql, 'DATABASES["default"]["OPTIONS"] = {"pool": {"max_size": 4}}')
    assert found(postgresql, "-w", "4") == {}
    assert (postgresql / "told").read_text().splitlines() == ["['connect_timeout']"]


def test_a_project_may_have_more_patience(postgresql):
    configure(postgresql, 'DATABASES["default"]["OPTIONS"] = {"connect_timeout": 60}')
    assert found(postgresql) == {}
    assert (postgresql / "told").read_text().splitlines() == ["['connect_timeout']"]


def test_a_pool_that_was_opened_while_importing_is_not_shared(postgresql, serve):
    configure(postgresql, 'DATABASES["default"]["OPTIONS"] = {"pool": True}', 'SERVE = {"threads": 2}')
    add(
        postgresql,
        "urls.py",
        """
        import json
        from django.contrib.contenttypes.models import ContentType
        from django.db import connection
        ContentType.objects.count()
        IMPORTED = dict(connection._connection_pools)

        def now(request):
            before = dict(connection._connection_pools)
            ContentType.objects.count()
            return HttpResponse(json.dumps([IMPORTED, before, connection._connection_pools]))

        urlpatterns = [path("", now)]
        """,
    )
    configure(postgresql, "SECURE_SSL_REDIRECT = False", 'SILENCED_SYSTEM_CHECKS = ["security.W008"]')
    server = serve(*ANYWHERE, "-w", "1", command=MANAGE_SERVE, cwd=postgresql)
    assert json.loads(server.get("/").text) == [{"default": "a pool"}, {}, {"default": "a pool"}]
    told = (postgresql / "told").read_text().splitlines()
    assert told == ["['pool']", "pool closed", "['connect_timeout']", "['pool']"]


Options = dict[str, Any]


def connections(options: Options, workers: int, threads: int, most: int | None = 100, **database: object) -> list[str]:
    """The findings about the connections of a PostgreSQL."""
    from django_serve.inspection import connection_findings

    entry = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options, "CONN_MAX_AGE": 0, **database}
    return [
        f"{each.name}: {each.text}" for each in connection_findings("main", entry, workers, threads, most, "allows")
    ]


@pytest.mark.parametrize(
    ("options", "workers", "threads", "needed"),
    [
        ({}, 25, 4, 0),
        ({}, 25, 5, 125),
        ({"pool": True}, 25, 4, 0),
        ({"pool": True}, 26, 1, 104),  # a pool keeps four at least
        ({"pool": {"min_size": 1, "max_size": 2}}, 100, 1, 0),
        ({"pool": {"min_size": 1, "max_size": 2}}, 51, 2, 102),
        ({"pool": {"min_size": 10}}, 11, 4, 110),
        ({"pool": {"max_size": None, "min_size": 2}}, 50, 2, 0),
        ({"pool": {}}, 100, 1, 0),
        ({"pool": False}, 100, 1, 0),
        (None, 101, 1, 101),
    ],
)
def test_connections_are_workers_times_threads_or_the_pools(
    options: Options, workers: int, threads: int, needed: int
) -> None:
    said = connections(options, workers, threads)
    assert len(said) == bool(needed)
    if needed:
        assert f" = {needed} connections to the database 'main' can be " in said[0]


@pytest.mark.parametrize(
    ("age", "why"),
    [(0, "opened at the same time"), (60, "kept open (CONN_MAX_AGE)"), (None, "kept open (CONN_MAX_AGE)")],
)
def test_it_is_said_why_there_may_be_so_many_connections(age: object, why: str) -> None:
    assert f"can be {why}, and it allows 100: " in connections({}, 101, 1, CONN_MAX_AGE=age)[0]


def test_a_pool_that_is_smaller_than_the_threads_makes_them_wait() -> None:
    said = connections({"pool": {"min_size": 1, "max_size": 2}}, 1, 3)
    text = "serve.W008: The pool of the database 'main' has 2 connections for the 3 threads of a worker: requests will "
    assert said == [text + "wait for one. Raise max_size, or lower threads."]
    assert connections({"pool": {"min_size": 1, "max_size": 3}}, 1, 3) == []


def test_a_database_without_a_known_limit_has_none() -> None:
    assert connections({}, 1000, 10, most=None) == []


# --- what follows from them


def test_findings_can_be_silenced_as_checks_are(project):
    configure(project, "SECURE_HSTS_SECONDS = 0", 'DATABASES["default"]["NAME"] = "/nowhere/db.sqlite3"')
    configure(project, 'SILENCED_SYSTEM_CHECKS = ["security.W004"]')
    assert list(found(project)) == ["serve.W002"]
    configure(project, 'SILENCED_SYSTEM_CHECKS.append("serve.W002")')
    assert found(project, "--strict") == {}


def test_strict_refuses_in_production_only(project):
    (project / "db.sqlite3").unlink()
    status, text = check(project, "--strict")
    assert status == 4
    assert text.startswith("Error: the inspection (checks) found 1 thing, and strict is set\n    serve.W003: ")
    assert "serve.W003" in found(project, "--strict", "--profile", "development")
    status, text = run([*MANAGE_SERVE, *ANYWHERE, "--strict"], project)
    assert status == 4
    assert "Error: the inspection (checks) found 1 thing, and strict is set\n    serve.W003: " in text


@pytest.mark.parametrize("option", ["--no-checks", "--skip-checks"])
def test_the_inspection_can_be_switched_off(project, option):
    (project / "db.sqlite3").unlink()
    configure(project, *STATIC, "SECURE_HSTS_SECONDS = 0")
    assert found(project, option, "--strict") == {}


RAISING_CHECK = """
from django.core import checks

@checks.register
def look(app_configs, **kwargs):
    raise RuntimeError("half a thought")
"""


@pytest.mark.parametrize("how", [(), ("--no-preload", "--workers", "2")])
def test_a_check_that_raises_is_told_and_the_project_is_served(project, serve, how):
    add(project, "urls.py", RAISING_CHECK)
    configure(project, "SECURE_SSL_REDIRECT = False")
    server = serve(*ANYWHERE, *how, command=MANAGE_SERVE, cwd=project)
    assert server.get("/").text == "one"
    words = (
        rf"serve\.W010: The inspection could not be finished: RuntimeError: half a thought \({project}/site_of_mine/"
    )
    assert len(re.findall(words + r"urls\.py, line \d+\)\.$", server.text, re.MULTILINE)) == 1


def test_a_check_that_raises_hides_nothing_that_the_server_finds_itself(project):
    add(project, "urls.py", RAISING_CHECK)
    (project / "db.sqlite3").unlink()
    assert {"serve.W003", "serve.W010"} <= found(project).keys()


FAILING_CHECK = """
from django.core import checks

@checks.register
def look(app_configs, **kwargs):
    return [checks.Error("There is no door.", hint="Make one.", obj="the house", id="shop.E001")]
"""


def test_a_check_may_have_any_name(project):
    checks = "[checks.Warning('One.', id=7), checks.Warning('Two.', id='shop.W002'), checks.Warning('Three.')]"
    add(project, "urls.py", FAILING_CHECK[: FAILING_CHECK.index("return")] + f"return {checks}\n")
    names = found(project)
    assert (names["7"], names["shop.W002"], names["check"]) == ("One.", "Two.", "Three.")


@pytest.mark.parametrize("how", [(), ("--no-preload", "--workers", "2")])
def test_an_error_of_a_check_refuses_the_start(project, how):
    add(project, "urls.py", FAILING_CHECK)
    status, text = run([*MANAGE_SERVE, *ANYWHERE, *how], project)
    assert status == 4
    assert (
        "Error: the inspection (checks) found 1 error\n    shop.E001: the house: There is no door. Make one.\n" in text
    )
    assert "Traceback" not in text


def test_a_model_is_named_as_manage_py_names_it(project):
    add(
        project,
        "models.py",
        """
        from django.db import models
        class House(models.Model):
            class Meta:
                ordering = ["door"]
        """,
    )
    configure(project, 'INSTALLED_APPS.append("site_of_mine")')
    status, text = check(project)
    assert status == 4
    assert "\n    models.E015: site_of_mine.House: 'ordering' refers to the nonexistent field" in text


@pytest.mark.parametrize("how", [(), ("--no-preload",)])
def test_an_error_refuses_a_reload_and_the_old_code_serves_on(project, serve, how):
    configure(project, "SECURE_SSL_REDIRECT = False")
    server = serve(*ANYWHERE, "--workers", "2", *how, command=MANAGE_SERVE, cwd=project)
    urls = project / "site_of_mine" / "urls.py"
    urls.write_text(URLS.replace('"one"', '"two"') + FAILING_CHECK)
    server.signal(signal.SIGHUP)
    server.read_until(
        r"The application was not reloaded, .*generation 2 failed: the inspection \(checks\) found 1 error\. "
        r"Generation 1 serves on\.\n +shop\.E001: the house: There is no door\. Make one\."
    )
    assert {server.get("/").text for _ in range(10)} == {"one"}
    urls.write_text(URLS.replace('"one"', '"two"'))
    server.signal(signal.SIGHUP)
    server.read_until("Generation 3 has taken over")
    eventually(lambda: server.get("/").text == "two")


@pytest.mark.parametrize("how", [(), ("--no-preload",)])
def test_what_is_found_is_told_once_however_many_workers_and_reloads(project, serve, how):
    (project / "db.sqlite3").unlink()
    server = serve(*ANYWHERE, "--workers", "3", *how, command=MANAGE_SERVE, cwd=project)
    for generation in (2, 3):
        server.signal(signal.SIGHUP)
        server.read_until(f"Generation {generation} has taken over")
    assert server.text.count("serve.W003") == 1
    assert server.text.count("security.W008") == 0
    configure(project, "SECURE_SSL_REDIRECT = False")
    server.signal(signal.SIGHUP)
    server.read_until("Generation 4 has taken over")
    assert server.text.count("serve.W003") == 2, "something else has come to it"
    assert server.text.count("security.W008") == 1


COUNTING_CHECK = """
import os
from django.core import checks

@checks.register
def look(app_configs, **kwargs):
    with open("looks", "a") as file:
        file.write(f"{os.getpid()} ")
    return []
"""


def test_where_each_worker_imports_for_itself_the_first_of_a_generation_looks_for_all(project, serve):
    add(project, "urls.py", COUNTING_CHECK)
    configure(project, "SECURE_SSL_REDIRECT = False")
    server = serve(*ANYWHERE, "--workers", "3", "--no-preload", command=MANAGE_SERVE, cwd=project)
    eventually(lambda: len(server.processes()) == 3)
    looks = (project / "looks").read_text().split()
    assert len(looks) == 1
    first = min(server.processes())
    assert looks == [str(first)]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: first not in server.processes() and len(server.processes()) == 3)
    server.signal(signal.SIGHUP)
    server.read_until("Generation 2 has taken over")
    assert len((project / "looks").read_text().split()) == 2, "the successor of the dead one has not looked again"


START = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "site_of_mine.settings"
import django
django.setup()
from django.core.management import call_command
call_command("serve", check_config=True, {})
"""


@pytest.mark.parametrize(
    ("options", "is_told"),
    [("", True), ("skip_checks=True", False), ("no_checks=True", False), ("checks=False", False)],
)
def test_a_command_that_calls_ours_skips_the_inspection_only_when_it_says_so(project, options, is_told):
    (project / "db.sqlite3").unlink()
    (project / "start.py").write_text(START.format(options))
    status, text = run([sys.executable, "start.py"], project)
    assert status == 0, text
    assert ("serve.W003" in text) is is_told
