"""The tables of framework settings that become ours, row by row; odd values end in a sentence or in nothing."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import django_serve.translations
import flask_serve.translations
from server_core.config.layers import FRAMEWORK, Layer, from_json, resolve, to_json
from server_core.config.schema import SETTINGS
from server_core.config.translation import Translation, bytes_at_most, mount_of, translated
from server_core.errors import ConfigError
from server_core.settings import Settings

ROWS = [*django_serve.translations.TABLE, *flask_serve.translations.TABLE]

# --- the tables themselves


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.theirs)
def test_a_row_that_gives_a_value_gives_it_to_a_setting_of_ours(row: Translation) -> None:
    if row.read is not None:
        assert row.ours in SETTINGS
    for name in re.findall(r"`(\w+)`", row.ours):
        assert name in SETTINGS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.theirs)
def test_a_row_fits_into_its_line_of_the_manual(row: Translation) -> None:
    for text in (row.theirs, row.ours, row.rule, row.reason):
        assert text
        assert "|" not in text
        assert "\n" not in text


@pytest.mark.parametrize("table", [django_serve.translations.TABLE, flask_serve.translations.TABLE])
def test_no_two_rows_of_a_table_give_the_same_setting(table: tuple[Translation, ...]) -> None:
    given = [row.ours for row in table if row.read is not None]
    assert len(given) == len(set(given))


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("body_buffer_size", django_serve.translations.LARGEST_BUFFER),
        ("body_buffer_size", flask_serve.translations.LARGEST_BUFFER),
        ("limit_request_body", flask_serve.translations.LARGEST_BODY),
    ],
)
def test_the_largest_numbers_that_are_taken_over_are_the_largest_that_we_take(name: str, largest: int) -> None:
    assert SETTINGS[name].kind.parse(largest) == largest
    with pytest.raises(ValueError, match="out of range"):
        SETTINGS[name].kind.parse(largest + 1)


def test_a_value_that_cannot_be_looked_at_is_one_sentence() -> None:
    def read(config: Any) -> object:
        raise LookupError("no translation is active")

    row = Translation("THEIRS", "workers", "taken over", "why not", read)
    with pytest.raises(ConfigError) as caught:
        translated([row], None, "{} in mysite.settings")
    words = "workers: THEIRS in mysite.settings cannot be read: LookupError: no translation is active"
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("value", "bytes_"),
    [(5, 5), (0, 0), (16e6, 16000000), (float("inf"), 1000**3), (10**20, 1000**3), (2.5, 2), ("5", "5"), (None, None)],
)
def test_numbers_of_bytes_may_be_of_any_kind(value: object, bytes_: object) -> None:
    assert bytes_at_most(value, 1000**3) == bytes_


@pytest.mark.parametrize("value", [True, float("nan")])
def test_what_is_no_number_of_bytes_is_left_to_the_judge(value: object) -> None:
    assert bytes_at_most(value, 10) is value


@pytest.mark.parametrize(
    ("url", "directory", "is_mounted"),
    [
        ("/static/", "/srv/files", True),
        ("/shop/static", "files", True),
        ("/", "/srv/files", False),
        ("//", "/srv/files", False),
        ("", "/srv/files", False),
        ("static/", "/srv/files", False),
        ("//cdn.example/static/", "/srv/files", False),
        ("https://cdn.example/static/", "/srv/files", False),
        ("/st\N{LATIN SMALL LETTER A WITH DIAERESIS}tic/", "/srv/files", False),
        ("/a=b/", "/srv/files", False),
        ("/a,b/", "/srv/files", False),
        ("/static/", "/srv/a,b", False),
        ("/static/", "/srv/a,/x=b", False),
        ("/static/?v=1", "/srv/files", False),
        ("/static/", " ", False),
        ("/static/", "a\nb", False),
    ],
)
def test_only_what_static_mounts_can_have_is_mounted(url: str, directory: str, is_mounted: bool) -> None:
    assert mount_of(url, directory) == ({url: directory} if is_mounted else None)


# --- what both have in common


class Lazy:
    """A text that is made when it is looked at, as gettext_lazy and reverse_lazy make it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class Broken(Lazy):
    def __str__(self) -> str:
        raise RuntimeError("the URLs are not known yet")


def outcome(layer: Layer) -> tuple[Settings, dict[str, str]]:
    """What a front door's layer comes to, after its way to the clean interpreter."""
    resolved = resolve(from_json(to_json([layer])))
    return resolved.settings, dict(resolved.origins)


def refusal(read: Callable[[], object]) -> str:
    """The sentence in which a value is refused, "" when it is not."""
    try:
        read()
    except ConfigError as refused:
        return str(refused)
    return ""


# --- Django

#: what Django has unless the project says otherwise
DJANGO = {
    "DEBUG": False,
    "FORCE_SCRIPT_NAME": None,
    "SECURE_PROXY_SSL_HEADER": None,
    "ALLOWED_HOSTS": [],
    "FILE_UPLOAD_MAX_MEMORY_SIZE": 2621440,
    "DATA_UPLOAD_MAX_MEMORY_SIZE": 2621440,
    "FILE_UPLOAD_TEMP_DIR": None,
    "TIME_ZONE": "America/Chicago",
    "STATIC_ROOT": None,
    "STATIC_URL": None,
    "INSTALLED_APPS": ["django.contrib.staticfiles"],
    "MIDDLEWARE": [],
    "SETTINGS_MODULE": "mysite.settings",
}


def django(**changed: object) -> tuple[Settings, dict[str, str]]:
    config = types.SimpleNamespace(**{**DJANGO, **changed})
    return outcome(translated(django_serve.translations.TABLE, config, "{} in mysite.settings"))


def test_these_are_djangos_own_defaults() -> None:
    defaults = pytest.importorskip("django.conf.global_settings")
    known = {name: value for name, value in DJANGO.items() if name not in ("INSTALLED_APPS", "SETTINGS_MODULE")}
    assert known == {name: getattr(defaults, name) for name in known}


def test_a_project_that_says_nothing_changes_only_the_time_zone() -> None:
    settings, origins = django()
    assert {name for name, origin in origins.items() if "mysite" in origin} == {"log_timezone"}
    assert settings.logs.log_timezone == "America/Chicago"
    assert origins["log_timezone"] == "TIME_ZONE in mysite.settings"


def test_debug_is_development() -> None:
    settings, origins = django(DEBUG=True)
    assert settings.profile.develops
    assert origins["profile"] == "DEBUG in mysite.settings"


@pytest.mark.parametrize(
    ("forced", "name"), [("/shop", "/shop"), ("/shop/", "/shop"), ("/", ""), ("", ""), (Lazy("/a/b"), "/a/b")]
)
def test_the_forced_script_name_is_where_the_project_is_mounted(forced: object, name: str) -> None:
    assert django(FORCE_SCRIPT_NAME=forced)[0].paths.script_name == name


def test_a_script_name_that_is_no_path_is_one_sentence() -> None:
    with pytest.raises(ConfigError) as caught:
        django(FORCE_SCRIPT_NAME="shop")
    words = 'script_name: "shop" (FORCE_SCRIPT_NAME in mysite.settings) is no path to mount on: write /shop.'
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("header", "pairs"),
    [
        (("HTTP_X_FORWARDED_PROTO", "https"), (("x-forwarded-proto", "https"),)),
        (["HTTP_X_FORWARDED_SSL", "on"], (("x-forwarded-ssl", "on"),)),
        (("HTTP_X_SCHEME", "very secure"), (("x-scheme", "very secure"),)),
    ],
)
def test_the_header_that_means_https_is_the_same_in_the_spelling_of_http(header: Any, pairs: Any) -> None:
    settings, origins = django(SECURE_PROXY_SSL_HEADER=header)
    assert settings.proxy.secure_scheme_headers == pairs
    assert origins["secure_scheme_headers"] == "SECURE_PROXY_SSL_HEADER in mysite.settings"


@pytest.mark.parametrize(
    "header",
    [
        ("wsgi.url_scheme", "https"),  # nobody can send it
        ("HTTP_HOST", "https"),  # everybody sends it
        ("HTTP_USER_AGENT", "https"),
        "HTTP_X_FORWARDED_PROTO",
        "ab",
        ("HTTP_X_FORWARDED_PROTO",),
        ("HTTP_X_FORWARDED_PROTO", "https", 1),
        ("HTTP_X_FORWARDED_PROTO", True),
        ("HTTP_X_FORWARDED_PROTO", ""),
        ("HTTP_X_FORWARDED_PROTO", "a,b"),
        ("HTTP_X_FORWARDED_PROTO", "a\nb"),
        ("HTTP_x-forwarded-proto", "https"),
        (None, None),
        (),
        {"HTTP_X_FORWARDED_PROTO": "https"},
        lambda request: True,
        7,
    ],
)
def test_a_header_that_cannot_mean_https_is_left_to_django(header: Any) -> None:
    settings, origins = django(SECURE_PROXY_SSL_HEADER=header)
    assert settings.proxy.secure_scheme_headers == Settings().proxy.secure_scheme_headers
    assert origins["secure_scheme_headers"] == "default"


@pytest.mark.parametrize(
    ("hosts", "allowed"),
    [
        (["shop.example", ".shop.example"], ("shop.example", ".shop.example")),
        (("shop.example",), ("shop.example",)),
        (["*"], ("*",)),
        (["[::1]", Lazy("shop.example")], ("[::1]", "shop.example")),
        ([""], ()),  # an empty variable, split
        ([" ", None, "shop.example"], ("shop.example",)),
        ([], ()),
    ],
)
def test_allowed_hosts_may_be_any_sequence_with_gaps(hosts: Any, allowed: tuple[str, ...]) -> None:
    assert django(ALLOWED_HOSTS=hosts)[0].paths.allowed_hosts == allowed


def test_in_debug_mode_the_hosts_of_this_machine_are_allowed_as_django_does_it() -> None:
    assert django(DEBUG=True)[0].paths.allowed_hosts == (".localhost", "127.0.0.1", "[::1]")
    assert django(DEBUG=True, ALLOWED_HOSTS=["shop.example"])[0].paths.allowed_hosts == ("shop.example",)


@pytest.mark.parametrize(
    ("file", "data", "size"),
    [
        (2621440, 2621440, Settings().limits.body_buffer_size),
        (1000, 2621440, 1000),
        (1000, 5000, 5000),
        (0, 2621440, 0),
        (2621440, None, Settings().limits.body_buffer_size),
        (5 * 1024.0**2, None, 5 << 20),
        (2621440, 10**15, 1 << 30),
        (2621440, -1, Settings().limits.body_buffer_size),
        ("many", 2621440, Settings().limits.body_buffer_size),
    ],
)
def test_what_django_keeps_in_memory_waits_there(file: Any, data: Any, size: int) -> None:
    found = django(FILE_UPLOAD_MAX_MEMORY_SIZE=file, DATA_UPLOAD_MAX_MEMORY_SIZE=data)[0].limits.body_buffer_size
    assert found == size


@pytest.mark.parametrize("directory", ["/var/uploads", Path("/var/uploads")])
def test_large_bodies_are_written_where_large_uploads_are(directory: object) -> None:
    settings, origins = django(FILE_UPLOAD_TEMP_DIR=directory)
    assert settings.limits.tmp_upload_dir == "/var/uploads"
    assert origins["tmp_upload_dir"] == "FILE_UPLOAD_TEMP_DIR in mysite.settings"
    assert django(FILE_UPLOAD_TEMP_DIR="")[0].limits.tmp_upload_dir is None


@pytest.mark.parametrize("zone", ["Asia/Tokyo", Lazy("Asia/Tokyo")])
def test_the_logs_have_djangos_time_zone(zone: object) -> None:
    assert django(TIME_ZONE=zone)[0].logs.log_timezone == "Asia/Tokyo"


@pytest.mark.parametrize("zone", [None, "", "Atlantis/Capital", "../etc/passwd", "Asia", "a\0b", "Asia/Tokyo\n", 9])
def test_a_time_zone_that_is_not_there_is_left_out(zone: object) -> None:
    assert django(TIME_ZONE=zone)[0].logs.log_timezone is None


STATIC = {"STATIC_ROOT": "/srv/static", "STATIC_URL": "/static/"}


@pytest.mark.parametrize(
    ("changed", "mounts"),
    [
        ({}, (("/static/", "/srv/static"),)),
        ({"STATIC_ROOT": Path("/srv/static")}, (("/static/", "/srv/static"),)),
        ({"STATIC_URL": Lazy("/files/")}, (("/files/", "/srv/static"),)),
        ({"INSTALLED_APPS": ["django.contrib.staticfiles.apps.StaticFilesConfig"]}, (("/static/", "/srv/static"),)),
        ({"MIDDLEWARE": ["django.middleware.security.SecurityMiddleware"]}, (("/static/", "/srv/static"),)),
        ({"MIDDLEWARE": ("whitenoise.middleware.WhiteNoiseMiddleware",)}, ()),
        ({"MIDDLEWARE": ["servestatic.middleware.ServeStaticMiddleware"]}, ()),
        ({"INSTALLED_APPS": ["shop"]}, ()),
        ({"STATIC_ROOT": ""}, ()),
        ({"STATIC_ROOT": None}, ()),
        ({"STATIC_URL": None}, ()),
        ({"STATIC_URL": ""}, ()),
        ({"STATIC_URL": "/"}, ()),
        ({"STATIC_URL": "static/"}, ()),  # Django itself puts the mount in front of it
        ({"STATIC_URL": "https://cdn.example/static/"}, ()),
        ({"STATIC_URL": "//cdn.example/static/"}, ()),
        ({"STATIC_ROOT": "/srv/a,b"}, ()),
        ({"DEBUG": True}, ()),
    ],
)
def test_collected_files_are_served_in_production(changed: dict[str, object], mounts: Any) -> None:
    pytest.importorskip("whitenoise")
    assert django(**{**STATIC, **changed})[0].paths.static_mounts == mounts


@pytest.mark.parametrize(("root", "is_served"), [("site", False), ("", False), (".", False), ("site/static", True)])
def test_a_static_root_that_holds_the_settings_is_served_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, is_served: bool
) -> None:
    pytest.importorskip("whitenoise")
    module = types.ModuleType("mysite.settings")
    module.__file__ = str(tmp_path / "site" / "settings.py")
    monkeypatch.setitem(sys.modules, "mysite.settings", module)
    settings, _ = django(**{**STATIC, "STATIC_ROOT": tmp_path / root})
    assert bool(settings.paths.static_mounts) is is_served


def test_without_whitenoise_nothing_is_mounted_that_would_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_serve.translations, "is_installed", lambda: False)
    assert django(**STATIC)[0].paths.static_mounts == ()


@pytest.mark.parametrize("name", ["FORCE_SCRIPT_NAME", "TIME_ZONE", "STATIC_URL", "STATIC_ROOT"])
def test_a_broken_lazy_text_is_one_sentence(name: str) -> None:
    pytest.importorskip("whitenoise")
    with pytest.raises(ConfigError, match=r"in mysite\.settings cannot be read: RuntimeError: the URLs are not known"):
        django(**{**STATIC, name: Broken("")})


ODD = [None, [], (), {}, "", "x", 0, -1, 1.5, True, Path("/x"), Lazy("/x"), Broken(""), object(), ["x"], b"x", len]


@pytest.mark.parametrize("name", [name for name in DJANGO if name not in ("SETTINGS_MODULE", "DEBUG")])
@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_whatever_stands_in_a_setting_of_django_ends_in_a_sentence_at_most(name: str, value: object) -> None:
    refused = refusal(lambda: django(**{**STATIC, name: value}))
    assert "\n" not in refused
    assert not refused or "mysite.settings" in refused


# --- Flask


@pytest.fixture
def app(tmp_path: Path) -> Any:
    """A plain application with a static folder."""
    (tmp_path / "static").mkdir()
    return pytest.importorskip("flask").Flask("notes", root_path=str(tmp_path))


def flask(app: Any) -> tuple[Settings, dict[str, str]]:
    return outcome(translated(flask_serve.translations.TABLE, app, 'app.config["{}"]'))


def test_a_flask_application_that_says_nothing_changes_only_its_static_files(app: Any, tmp_path: Path) -> None:
    pytest.importorskip("whitenoise")
    settings, origins = flask(app)
    ours = {name for name, origin in origins.items() if "default" not in origin}
    assert ours == {"static_mounts"}
    assert settings.paths.static_mounts == (("/static/", str(tmp_path / "static")),)
    assert origins["static_mounts"] == "static_folder of the application"


def test_flasks_debug_mode_is_development(app: Any) -> None:
    app.debug = True
    settings, origins = flask(app)
    assert settings.profile.develops
    assert origins["profile"] == "Flask's debug mode"


@pytest.mark.parametrize(
    ("size", "limit"), [(2000, 2000), (16e6, 16000000), (float("inf"), 1 << 40), (0, 0), (None, 1 << 30)]
)
def test_the_largest_body_is_flasks(app: Any, size: Any, limit: int) -> None:
    app.config["MAX_CONTENT_LENGTH"] = size
    assert flask(app)[0].limits.limit_request_body == limit


def test_a_largest_body_that_is_no_number_is_one_sentence(app: Any) -> None:
    app.config["MAX_CONTENT_LENGTH"] = "lots"
    with pytest.raises(ConfigError) as caught:
        flask(app)
    words = 'limit_request_body: "lots" (app.config["MAX_CONTENT_LENGTH"]) is not a size: write 65536, 64K, 10MB or'
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("size", "buffered"), [(500_000, 32 << 20), (None, 32 << 20), (1000, 1000), (1e6, 1000000), (10**12, 1 << 30)]
)
def test_form_memory_is_taken_over_unless_it_is_flasks_default(app: Any, size: Any, buffered: int) -> None:
    app.config["MAX_FORM_MEMORY_SIZE"] = size
    assert flask(app)[0].limits.body_buffer_size == buffered


@pytest.mark.parametrize(("root", "name"), [("/", ""), ("/notes", "/notes"), ("/notes/", "/notes"), (None, "")])
def test_the_root_of_the_application_is_where_it_is_mounted(app: Any, root: Any, name: str) -> None:
    app.config["APPLICATION_ROOT"] = root
    assert flask(app)[0].paths.script_name == name


def test_middleware_that_may_mount_the_application_is_left_alone(app: Any) -> None:
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    app.config["APPLICATION_ROOT"] = "/notes"
    app.wsgi_app = DispatcherMiddleware(lambda *_: [], {"/notes": app.wsgi_app})
    assert flask(app)[0].paths.script_name == ""


@pytest.mark.parametrize(
    ("hosts", "allowed"),
    [
        (["notes.example"], ("notes.example",)),
        ((".notes.example", "localhost:5000"), (".notes.example", "localhost")),
        (["[::1]", "[::1]:5000"], ("[::1]", "[::1]")),
        (["b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example"], ("xn--bcher-kva.example",)),
        ([".b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example:80"], (".xn--bcher-kva.example",)),
        ("notes.example", ("notes.example",)),
        (None, ()),
        ([], ()),
    ],
)
def test_trusted_hosts_are_spelt_as_clients_send_them(app: Any, hosts: Any, allowed: tuple[str, ...]) -> None:
    app.config["TRUSTED_HOSTS"] = hosts
    assert flask(app)[0].paths.allowed_hosts == allowed


@pytest.mark.parametrize(
    ("name", "debug", "bind"),
    [
        ("notes.test:5001", True, "127.0.0.1:5001"),
        ("notes.test:5001", False, "127.0.0.1:8000"),
        ("notes.test", True, "127.0.0.1:8000"),
        (None, True, "127.0.0.1:8000"),
        (":5001", True, "127.0.0.1:8000"),
        ("notes.test:\N{SUPERSCRIPT TWO}", True, "127.0.0.1:8000"),
        (5001, True, "127.0.0.1:8000"),
    ],
)
def test_the_port_of_the_servers_name_is_that_of_development(app: Any, name: Any, debug: bool, bind: str) -> None:
    app.debug = debug
    app.config["SERVER_NAME"] = name
    assert [str(binding) for binding in flask(app)[0].sockets.bind] == [bind]


def _serve_files_behind_a_login(app: Any) -> None:
    app.view_functions["static"] = lambda filename: "who are you?"


def _have_a_host_for_files(app: Any) -> None:
    app.url_map.host_matching = True


#: each of these may do something around static files
AROUND = {
    "before_request": lambda app: app.before_request(lambda: None),
    "before_request of a blueprint": lambda app: _with_blueprint(app),
    "after_request": lambda app: app.after_request(lambda response: response),
    "url_value_preprocessor": lambda app: app.url_value_preprocessor(lambda endpoint, values: None),
    "middleware": lambda app: setattr(app, "wsgi_app", lambda *_: []),
    "another view": _serve_files_behind_a_login,
    "another method": lambda app: setattr(app, "send_static_file", lambda filename: "who are you?"),
    "a host of their own": _have_a_host_for_files,
    "an age": lambda app: app.config.update(SEND_FILE_MAX_AGE_DEFAULT=31536000),
    "debug mode": lambda app: setattr(app, "debug", True),
    "at the root": lambda app: setattr(app, "static_url_path", ""),
    "no folder": lambda app: setattr(app, "static_folder", None),
    "a folder that is not there": lambda app: setattr(app, "static_folder", "nowhere"),
}


def _with_blueprint(app: Any) -> None:
    import flask

    blueprint = flask.Blueprint("part", "part")
    blueprint.before_app_request(lambda: None)
    app.register_blueprint(blueprint)


@pytest.mark.parametrize("around", AROUND)
def test_flask_keeps_serving_files_that_it_may_have_its_own_rules_for(app: Any, around: str) -> None:
    pytest.importorskip("whitenoise")
    assert flask(app)[0].paths.static_mounts
    AROUND[around](app)
    assert flask(app)[0].paths.static_mounts == ()


def test_a_class_of_ones_own_may_have_its_own_rules(tmp_path: Path) -> None:
    class Mine(pytest.importorskip("flask").Flask):  # type: ignore[misc]
        pass

    (tmp_path / "static").mkdir()
    assert flask(Mine("notes", root_path=str(tmp_path)))[0].paths.static_mounts == ()


FLASK = (
    "MAX_CONTENT_LENGTH MAX_FORM_MEMORY_SIZE APPLICATION_ROOT TRUSTED_HOSTS SERVER_NAME PREFERRED_URL_SCHEME".split()
)


@pytest.mark.parametrize("name", FLASK)
@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_whatever_stands_in_a_setting_of_flask_ends_in_a_sentence_at_most(app: Any, name: str, value: object) -> None:
    app.config[name] = value
    refused = refusal(lambda: flask(app))
    assert "\n" not in refused
    assert not refused or f'app.config["{name}"]' in refused


def test_a_layer_of_a_table_is_the_frameworks() -> None:
    row = Translation("THEIRS", "workers", "taken over", "why not", lambda config: config)
    layer = translated([row], 3, "{} in mysite.settings")
    assert layer.name == FRAMEWORK
    assert resolve([layer]).settings.workers.workers == 3
    assert translated([row], None, "{}").values == {}
