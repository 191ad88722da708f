"""``manage.py serve`` on copies of the Django example: its settings, its refusals, its reload."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from live import eventually
from projects import MANAGE_SERVE, copy_of, edit, manage, run, shop_with_goods

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("django"), reason="Django is not installed")

ANYWHERE = ("--bind", "127.0.0.1:0")

# A view that shows one thing from each kind of module: settings, models, views.
PROBE = """

def probe(request):
    from django.conf import settings

    return JsonResponse({"settings": settings.COLOUR, "models": str(Product(name="pen")), "views": VERSION})
"""
PROBE_URL = 'urlpatterns += [path("probe/", views.probe)]\n'

# Tells which processes import Django, as "start PID" for each new interpreter and "django PID" for each import.
SPY = """
import os, sys

def tell(word):
    with open(os.environ["SPY_FILE"], "a") as file:
        file.write(f"{word} {os.getpid()}\\n")

tell("start")
sys.addaudithook(lambda event, arguments: tell("django") if event == "import" and arguments[0] == "django" else None)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A copy of the shop for tests that change nothing in it."""
    return copy_of("django_shop", tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own_shop(tmp_path):
    """A copy of the shop for one test."""
    return copy_of("django_shop", tmp_path)


def settings_of(project: Path) -> Path:
    return project / "shop_site" / "settings.py"


def configure(project: Path, line: str) -> None:
    """Add a line to the project's settings."""
    with settings_of(project).open("a") as file:
        file.write(line + "\n")


def shown(text: str) -> dict[str, tuple[str, str]]:
    """What --show-config printed: value and origin by name."""
    lines = [line.split(maxsplit=2) for line in text.splitlines()]
    return {name: (value, origin) for name, value, origin in lines}


# --- settings


def test_the_dict_in_the_settings_counts_and_every_value_says_where_it_is_from(own_shop):
    configure(own_shop, 'SERVE = {"workers": 3, "threads": 4, "timeout": "20s", "keepalive": 5, "backlog": 10}')
    (own_shop / "pyproject.toml").write_text('[tool.prefork-serve]\nworkers = 5\nthreads = 6\ntimeout = "21s"\n')
    environ = {"SERVE_WORKERS": "7", "SERVE_THREADS": "8", "SERVE_KEEPALIVE": "6"}
    status, text = manage(own_shop, "serve", "--show-config", "--workers", "9", **environ)
    assert status == 0
    settings = shown(text)
    assert settings["workers"] == ("9", "--workers")
    assert settings["threads"] == ("8", "SERVE_THREADS")
    assert settings["keepalive"] == ("6s", "SERVE_KEEPALIVE")
    assert settings["timeout"] == ("21s", "timeout in pyproject.toml")
    assert settings["backlog"] == ("10", 'SERVE["backlog"] in shop_site.settings')
    assert settings["head_timeout"] == ("10s", "default")
    assert settings["reload"] == ("false", "default")


def test_the_application_that_is_served_is_shown_and_who_has_found_it(shop):
    assert shown(manage(shop, "serve", "--show-config")[1])["wsgi_app"] == (
        "shop_site.wsgi:application",
        "found by manage.py serve",
    )
    named = manage(shop, "serve", "--show-config", SERVE_WSGI_APP="shop_site.wsgi")[1]
    assert shown(named)["wsgi_app"] == ("shop_site.wsgi", "SERVE_WSGI_APP")


def test_debug_switches_reload_on_and_says_so(shop):
    _, text = manage(shop, "serve", "--show-config", DJANGO_DEBUG="1")
    settings = shown(text)
    assert settings["profile"] == ("development", "DEBUG in shop_site.settings")
    assert settings["reload"] == ("true", "profile development (DEBUG in shop_site.settings)")


def test_reload_can_be_switched_off_in_debug(shop):
    _, text = manage(shop, "serve", "--show-config", "--no-reload", DJANGO_DEBUG="1")
    assert shown(text)["reload"] == ("false", "--no-reload")


def test_an_address_can_be_given_as_runserver_takes_it(shop):
    _, text = manage(shop, "serve", "0.0.0.0:8080", "--show-config")
    assert shown(text)["bind"] == ("0.0.0.0:8080", "the argument ADDRESS")
    status, text = refused(shop, "127.0.0.1:99999")
    assert (status, text) == (
        2,
        'CommandError: bind: "127.0.0.1:99999" (the argument ADDRESS) has a port above 65535.\n',
    )


def test_two_ways_to_give_the_address_are_one_too_many(shop):
    status, text = manage(shop, "serve", "8080", "--bind", "8081")
    assert (status, text) == (2, "CommandError: the address is given twice: as an argument and with --bind.\n")


def test_another_settings_module_can_be_named(own_shop):
    (own_shop / "elsewhere").mkdir()
    (own_shop / "elsewhere" / "night.py").write_text('from shop_site.settings import *\nSERVE = {"workers": 6}\n')
    status, text = manage(own_shop, "serve", "--settings", "night", "--pythonpath", "elsewhere", "--show-config")
    assert shown(text)["workers"] == ("6", 'SERVE["workers"] in night')
    night = ("--settings", "night", "--pythonpath", "elsewhere")
    status, text = manage(own_shop, "serve", *night, "--no-checks", "--check-config")
    assert (status, text) == (0, "The settings are right and the application can be imported.\n")


def test_the_help_has_a_usage_line_and_every_chapter(shop):
    status, text = manage(shop, "serve", "--help")
    assert status == 0
    assert text.startswith("usage: manage.py serve [OPTIONS] [ADDRESS]\n")
    for chapter in ("Application", "Sockets", "Workers", "Timeouts", "Limits", "Proxy", "Process", "Logs"):
        assert f"\n{chapter}:\n" in text


def test_the_version_is_djangos_as_for_every_command(shop):
    import django

    assert manage(shop, "serve", "--version") == (0, f"{django.get_version()}\n")


# --- refusals


def refused(project: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """Exit status and sentence of a refusal: one line, no traceback."""
    status, text = manage(project, "serve", *arguments, **env)
    assert text.count("\n") == 1, text
    assert status != 0
    return status, text


def test_an_unknown_name_in_the_dict_is_reported_by_the_checks(own_shop):
    configure(own_shop, 'SERVE = {"wrokers": 2}')
    status, text = manage(own_shop, "check")
    assert status == 1
    assert '(serve.E001) SERVE["wrokers"] in shop_site.settings is no setting; did you mean "workers"?' in text


def test_a_setting_that_is_written_as_flask_has_it_is_reported_by_the_checks(own_shop):
    configure(own_shop, "SERVE_WORKERS = 4\nSERVE_MEDIA = True")
    status, text = manage(own_shop, "check")
    assert status == 0
    sentence = 'SERVE_WORKERS in shop_site.settings is not read: in Django\'s settings it is SERVE = {"workers": ...}.'
    assert f"(serve.W016) {sentence}" in text
    assert "SERVE_MEDIA" not in text, "that is the project's own"


def test_the_checks_are_content_with_a_right_dict(shop):
    assert manage(shop, "check") == (0, "System check identified no issues (0 silenced).\n")


@pytest.mark.parametrize("arguments", [(), ("--skip-checks",)])
def test_an_unknown_name_in_the_dict_is_refused_in_one_sentence(own_shop, arguments):
    configure(own_shop, 'SERVE = {"wrokers": 2}')
    status, text = refused(own_shop, *arguments)
    assert status == 2
    assert 'SERVE["wrokers"] in shop_site.settings is no setting; did you mean "workers"?' in text


def test_a_wrong_value_in_the_dict_is_refused_in_one_sentence(own_shop):
    configure(own_shop, 'SERVE = {"timeout": "soon"}')
    status, text = refused(own_shop)
    assert status == 2
    assert 'timeout: "soon" (SERVE["timeout"] in shop_site.settings) is not a duration' in text


def test_what_is_no_dict_is_refused_with_an_example(own_shop):
    configure(own_shop, 'SERVE = ["workers", 2]')
    status, text = refused(own_shop)
    assert status == 2
    assert 'SERVE in shop_site.settings is a list: write a dict such as SERVE = {"workers": 4,' in text


def test_an_option_that_does_not_exist_is_refused_below_a_short_usage(shop):
    status, text = manage(shop, "serve", "--wokers=3")
    assert status == 2
    assert text.splitlines() == [
        "usage: manage.py serve [OPTIONS] [ADDRESS]",
        "manage.py serve: error: unrecognized arguments: --wokers=3. Did you mean --workers?",
    ]


def test_the_help_says_by_which_names_the_settings_go(shop):
    text = " ".join(manage(shop, "serve", "--help")[1].split())
    assert "SERVE = {'workers': 4, 'accesslog': '-'}, by the names that --show-config lists." in text
    assert "accesslog" in shown(manage(shop, "serve", "--show-config")[1])


def test_an_option_of_runserver_that_is_called_otherwise_here_is_refused_with_ours(shop):
    assert manage(shop, "serve", "--noreload")[1].endswith("unrecognized arguments: --noreload. Write --no-reload.\n")


def test_a_wrong_value_for_an_option_that_exists_brings_no_hint(shop):
    text = manage(shop, "serve", "--workers")[1]
    assert text.endswith("manage.py serve: error: argument -w/--workers: expected one argument\n")


def test_a_wrong_value_on_the_command_line_is_refused_in_one_sentence(shop):
    assert refused(shop, "--workers", "many") == (
        2,
        'CommandError: workers: "many" (--workers) is not a whole number.\n',
    )


def test_an_unknown_variable_is_refused_in_one_sentence(shop):
    status, text = refused(shop, SERVE_WOKERS="3")
    assert status == 2
    assert 'SERVE_WOKERS is no setting; did you mean "SERVE_WORKERS"?' in text


@pytest.mark.parametrize(
    ("named", "status", "sentence"),
    [
        ("application", 2, "write the module too"),
        ("shop_site.wsgi:application", 2, "a dot for the colon: write 'shop_site.wsgi.application'."),
        ("shop_site.wsgy.application", 4, "no module named 'shop_site.wsgy'"),
        ("shop_site.wsgi.aplication", 4, "module 'shop_site.wsgi' has no aplication"),
        ("shop_site.settings.DEBUG", 4, "is not callable"),
    ],
)
def test_a_wrong_wsgi_application_is_refused_with_the_name_of_the_setting(own_shop, named, status, sentence):
    configure(own_shop, f"WSGI_APPLICATION = {named!r}")
    code, text = refused(own_shop, *ANYWHERE)
    assert code == status
    assert sentence in text
    assert "WSGI_APPLICATION in shop_site.settings" in text


def test_without_wsgi_application_django_makes_one(own_shop):
    configure(own_shop, "WSGI_APPLICATION = None")
    assert manage(own_shop, "serve", "--check-config")[0] == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import os os", "SyntaxError: invalid syntax"),
        ('DATABASES = {"default": {"ENGINE": "nowhere"}}', "ImproperlyConfigured: 'nowhere' isn't an available"),
    ],
)
def test_broken_settings_are_told_in_djangos_own_words(own_shop, line, words):
    configure(own_shop, line)
    status, text = manage(own_shop, "serve", *ANYWHERE)
    assert status == 1
    assert words in text


def test_settings_that_no_other_process_can_see_are_refused(tmp_path):
    (tmp_path / "alone.py").write_text(
        "import sys\n"
        "from django.conf import settings\n"
        "from django.core.management import execute_from_command_line\n"
        'settings.configure(INSTALLED_APPS=["django_serve"], ROOT_URLCONF=__name__, USE_TZ=True)\n'
        "urlpatterns = []\n"
        "execute_from_command_line(sys.argv)\n"
    )
    status, text = manage_alone(tmp_path)
    assert status == 2
    assert text.count("\n") == 1
    assert "settings.configure() was called" in text
    assert "WSGI_APPLICATION" in text


def test_a_project_in_a_single_file_is_served_when_it_names_its_application(tmp_path):
    (tmp_path / "alone.py").write_text(
        "import sys\n"
        "from django.conf import settings\n"
        'settings.configure(INSTALLED_APPS=["django_serve"], ROOT_URLCONF=__name__, USE_TZ=True,\n'
        '    WSGI_APPLICATION="alone.application")\n'
        "from django.core.management import execute_from_command_line\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "urlpatterns = []\n"
        "application = get_wsgi_application()\n"
        'if __name__ == "__main__":\n'
        "    execute_from_command_line(sys.argv)\n"
    )
    assert manage_alone(tmp_path) == (0, "The settings are right and the application can be imported.\n")


def manage_alone(folder: Path) -> tuple[int, str]:
    return run([sys.executable, "alone.py", "serve", "--no-checks", "--check-config"], folder)


def test_a_failing_check_of_the_project_stops_the_start_unless_checks_are_skipped(own_shop):
    edit(own_shop / "shop" / "models.py", "max_digits=8, decimal_places=2)", "max_digits=1, decimal_places=2)")
    status, text = manage(own_shop, "serve", "--check-config")
    assert status == 4
    assert "Error: the inspection (checks) found 2 errors\n    fields.E134: shop.OrderLine.price:" in text
    status, text = manage(own_shop, "serve", "--check-config", "--skip-checks")
    assert (status, text) == (0, "The settings are right and the application can be imported.\n")


# --- serving


def probing(project: Path) -> Path:
    """The same project with a page /probe/."""
    configure(project, 'COLOUR = "red"')
    with (project / "shop" / "views.py").open("a") as file:
        file.write(PROBE)
    with (project / "shop" / "urls.py").open("a") as file:
        file.write(PROBE_URL)
    return project


def test_a_reload_brings_new_settings_new_models_and_new_views(own_shop, serve):
    project = probing(own_shop)
    old = {"settings": "red", "models": "pen", "views": "1"}
    new = {"settings": "yellow", "models": "pen of gold", "views": "two"}
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=project)
    assert json.loads(server.get("/probe/").body) == old
    edit(settings_of(project), 'COLOUR = "red"', 'COLOUR = "yellow"')
    edit(project / "shop" / "models.py", "return self.name\n", "return self.name + ' of gold'\n")
    edit(project / "shop" / "views.py", 'VERSION = "1"', 'VERSION = "two"')
    server.signal(signal.SIGHUP)

    def is_new():
        answer = json.loads(server.get("/probe/").body)
        assert answer in (old, new), "half new"
        return answer == new

    eventually(is_new)


def test_broken_new_views_are_told_and_the_old_generation_serves_on(own_shop, serve):
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=own_shop)
    with (own_shop / "shop" / "views.py").open("a") as file:
        file.write("\nraise RuntimeError('half a thought')\n")
    server.signal(signal.SIGHUP)
    server.read_until("was not reloaded.*RuntimeError: half a thought on import. Generation 1 serves on")
    assert server.get("/healthz/").text == "ok\n"


def test_views_that_are_broken_at_the_start_end_it_with_their_traceback(own_shop):
    with (own_shop / "shop" / "views.py").open("a") as file:
        file.write("\nraise RuntimeError('half a thought')\n")
    status, text = manage(own_shop, "serve", "--skip-checks", *ANYWHERE)
    assert status == 4
    assert text.startswith("Error: shop_site.wsgi:application raised RuntimeError: half a thought on import\n")
    assert 'views.py", line' in text


def test_the_arbiter_never_holds_django(own_shop, serve, tmp_path):
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY)
    environ = {"PYTHONPATH": str(tmp_path / "spy"), "SPY_FILE": str(tmp_path / "told")}
    server = serve(*ANYWHERE, "--workers", "1", command=MANAGE_SERVE, cwd=own_shop, env=environ)
    told = (tmp_path / "told").read_text().splitlines()
    imported_by = {
        pid: f"django {pid}" in told[len(told) - told[::-1].index(f"start {pid}") :]
        for pid in (server.pid, server.processes("forkserver")[0])
    }
    assert server.processes("arbiter") == [server.pid]
    assert told.count(f"start {server.pid}") == 2, "the command and the arbiter are the same process, begun twice"
    assert list(imported_by.values()) == [False, True]


def test_a_connection_that_was_opened_while_importing_is_not_shared(tmp_path, serve):
    project = shop_with_goods(tmp_path)
    configure(project, 'DATABASES["default"]["CONN_MAX_AGE"] = 600  # otherwise a request begins with a new one')
    with (project / "shop" / "views.py").open("a") as file:
        file.write(
            "\n\nfrom django.db import connection\n\n"
            "FOUND_WHILE_IMPORTING = Product.objects.count()\n"
            "OPENED_WHILE_IMPORTING = connection.connection\n"
            "\n\ndef probe(request):\n"
            "    shared = connection.connection is OPENED_WHILE_IMPORTING\n"
            '    return JsonResponse({"found": FOUND_WHILE_IMPORTING, "shared": shared})\n'
        )
    with (project / "shop" / "urls.py").open("a") as file:
        file.write(PROBE_URL)
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=project)
    assert json.loads(server.get("/probe/").body) == {"found": 12, "shared": False}


def test_it_can_be_started_from_another_directory(own_shop, serve, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    manage_py = os.path.relpath(own_shop / "manage.py", tmp_path / "elsewhere")
    server = serve("127.0.0.1:0", command=[sys.executable, manage_py, "serve"], cwd=tmp_path / "elsewhere")
    assert server.get("/healthz/").text == "ok\n"


def test_it_can_be_called_from_a_script(own_shop, serve):
    (own_shop / "start.py").write_text(
        "import os\n"
        'os.environ["DJANGO_SETTINGS_MODULE"] = "shop_site.settings"\n'
        "import django\n"
        "django.setup()\n"
        "from django.core.management import call_command\n"
        'call_command("serve", workers=1, bind=["127.0.0.1:0"], no_preload=True)\n'
    )
    server = serve(command=[sys.executable, "start.py"], cwd=own_shop)
    assert "1 worker × 1 thread, worker class sync, generation 1, imported by each worker" in server.text
    assert server.get("/healthz/").text == "ok\n"


@pytest.mark.parametrize(("debug", "collects", "status"), [("1", False, 200), ("0", True, 200), ("0", False, 404)])
def test_static_files_are_found_in_debug_and_served_from_where_they_are_collected_in_production(
    own_shop, serve, debug, collects, status
):
    if collects:
        assert manage(own_shop, "collectstatic", "--noinput")[0] == 0
    server = serve(*ANYWHERE, "--no-reload", command=MANAGE_SERVE, cwd=own_shop, env={"DJANGO_DEBUG": debug})
    assert server.get("/static/admin/css/base.css").status == status


def test_in_debug_a_changed_template_is_shown(tmp_path, serve):
    project = shop_with_goods(tmp_path)
    server = serve(*ANYWHERE, command=MANAGE_SERVE, cwd=project, env={"DJANGO_DEBUG": "1"})
    assert "Fountain pen" in server.get("/").text
    template = project / "shop" / "templates" / "shop" / "product_list.html"
    template.write_text(template.read_text().replace("{% block main %}", "{% block main %}<p>Spring sale</p>"))
    server.read_until(r"product_list\.html changed: the running application takes it up")
    eventually(lambda: "Spring sale" in server.get("/").text)


# --- one log with the project


JOINED = """
LOGGING = {
    "version": 1,
    "disable_existing_loggers": True,
    "formatters": {"plain": {"format": "%(name)s|%(levelname)s|%(message)s"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "project.log", "formatter": "plain"}},
    "loggers": {
        "prefork_serve": {"handlers": ["file"], "level": "ERROR", "propagate": False},
        "prefork_serve.access": {"handlers": ["file"], "level": "INFO", "propagate": False},
    },
}
"""


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_what_workers_say_goes_to_the_projects_loggers_where_it_has_some(own_shop, serve, preload):
    configure(own_shop, JOINED)
    with (own_shop / "shop_site" / "wsgi.py").open("a") as file:
        file.write("\n\ndjango_application = application\n")
        file.write("def application(environ, start_response):\n")
        file.write("    if environ['PATH_INFO'] == '/raise/':\n        raise RuntimeError('told to the project')\n")
        file.write("    return django_application(environ, start_response)\n")
    server = serve(preload, *ANYWHERE, "-w", "1", "--no-checks", command=MANAGE_SERVE, cwd=own_shop)
    assert server.get("/raise/").status == 500
    log = own_shop / "project.log"
    eventually(lambda: "prefork_serve.access|INFO|" in log.read_text())
    text = log.read_text()
    assert "prefork_serve.access|INFO|127.0.0.1 - - [" in text
    assert '"GET /raise/ HTTP/1.1" 500' in text
    assert "prefork_serve|ERROR|Error in the application at GET /raise/\nTraceback" in text
    assert "told to the project" not in server.text, "and nowhere else"


def test_a_project_without_such_loggers_leaves_the_error_log_alone(own_shop, serve):
    configure(own_shop, 'LOGGING = {"version": 1, "disable_existing_loggers": True}')
    with (own_shop / "shop_site" / "wsgi.py").open("a") as file:
        file.write("\n\ndef application(environ, start_response):\n    raise RuntimeError('told by the server')\n")
    server = serve(*ANYWHERE, "-w", "1", "--no-checks", command=MANAGE_SERVE, cwd=own_shop)
    server.get("/")
    server.read_until(r"\[ERROR\] Error in the application at GET /\n(.*\n)+RuntimeError: told by the server")
