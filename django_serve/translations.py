"""The table of Django's settings that become the server's; knows what each means, and imports no Django."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from server_core.config.translation import Translation, bytes_at_most, mount_of, translation_page
from server_core.gateway.static import is_installed
from server_core.settings import COMMON_FIELDS

#: Django's own value, up to 6.x: who has not changed it has not thought of it
_DJANGOS_BUFFER = 2621440

#: what body_buffer_size can be
LARGEST_BUFFER = 1 << 30

_is_field = re.compile(r"HTTP_[A-Z0-9_]+").fullmatch
_is_plain = re.compile(r"[!-+\--~]+( [!-+\--~]+)*").fullmatch  # ASCII without a comma

#: middleware that serves STATIC_ROOT already
STATIC_MIDDLEWARE = ("whitenoise.", "servestatic.")


def _profile(settings: Any) -> object:
    return "development" if settings.DEBUG else None


def _script_name(settings: Any) -> object:
    return str(settings.FORCE_SCRIPT_NAME or "").rstrip("/") or None


def _scheme_header(settings: Any) -> object:
    """Django itself refuses what is no pair of texts, at the first request."""
    header = settings.SECURE_PROXY_SSL_HEADER
    if not isinstance(header, tuple | list) or len(header) != 2:
        return None
    key, value = header
    # Only what the client, or a proxy, can send, and no list, of which Django looks at the first part alone.
    if not isinstance(key, str) or not _is_field(key) or not isinstance(value, str) or not _is_plain(value):
        return None
    name = key.removeprefix("HTTP_").replace("_", "-").lower()
    return None if name in COMMON_FIELDS else {name: value}


def _hosts(settings: Any) -> object:
    # An empty one is left over when an empty variable is split; it allows nothing.
    hosts = [str(host) for host in settings.ALLOWED_HOSTS if str(host or "").strip()]
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return [".localhost", "127.0.0.1", "[::1]"]  # as HttpRequest.get_host() has it
    return hosts or None


def _buffer(settings: Any) -> object:
    """What Django keeps in memory, where the project has said how much that is."""
    sizes = [settings.FILE_UPLOAD_MAX_MEMORY_SIZE, settings.DATA_UPLOAD_MAX_MEMORY_SIZE]
    wholes = [bytes_at_most(size, LARGEST_BUFFER) for size in sizes if size != _DJANGOS_BUFFER]
    said = [size for size in wholes if isinstance(size, int) and size >= 0]
    return max(said) if said else None


def _zone(settings: Any) -> object:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(str(settings.TIME_ZONE)).key
    except (OSError, ValueError, KeyError):  # a machine without time zones: Django goes without, too
        return None


def _static(settings: Any) -> object:
    """STATIC_URL on STATIC_ROOT, where no middleware does the same."""
    if (
        not is_installed()
        or not settings.STATIC_ROOT
        or not any(str(app).startswith("django.contrib.staticfiles") for app in settings.INSTALLED_APPS)
        or any(str(name).startswith(STATIC_MIDDLEWARE) for name in settings.MIDDLEWARE)
    ):
        return None
    url, root = str(settings.STATIC_URL or ""), str(settings.STATIC_ROOT)
    # A URL with a host is somebody else's to serve.
    return None if holds_the_project(root, settings) else mount_of(url, root)


def holds_the_project(directory: str, settings: Any) -> bool:
    """Are the project's settings in this directory?  Then it is not for everybody to read."""
    module = sys.modules.get(getattr(settings, "SETTINGS_MODULE", None) or "")
    file = getattr(module, "__file__", None)
    return bool(file) and os.path.realpath(str(file)).startswith(os.path.realpath(directory).rstrip("/") + "/")


TABLE: tuple[Translation, ...] = (
    Translation(
        "WSGI_APPLICATION",
        "the application",
        "imported and served; without it, what `get_wsgi_application()` returns",
        "one place says what the project's application is",
    ),
    Translation(
        "ASGI_APPLICATION",
        "the application of the worker class asgi",
        "imported and served with `--asgi`, or `worker_class` asgi; without it, what `get_asgi_application()` returns",
        "a project has both, and the worker class says which of them is meant",
    ),
    Translation(
        "DEBUG", "profile", "`True` means development", "whoever sees tracebacks in the browser is developing", _profile
    ),
    Translation(
        "STATIC_ROOT",
        "static_mounts",
        "`STATIC_URL` is served from there, unless WhiteNoise or ServeStatic is in `MIDDLEWARE`, or the project's own "
        "code is in there; in debug mode only with the profile production, as in development the finders serve it",
        "what `collectstatic` has collected is public, and needs no web server in front",
        _static,
        only_in=lambda settings: "production" if settings.DEBUG else "",
    ),
    Translation(
        "STATIC_URL",
        "`static_mounts`",
        "the path for `STATIC_ROOT`; one with a host is left alone",
        "a content delivery network serves it then",
    ),
    Translation(
        "MEDIA_URL, MEDIA_ROOT",
        "served in development",
        "with `DEBUG`, as by `django.conf.urls.static.static()`; never in production",
        "uploads of strangers need rules that only the project knows",
    ),
    Translation(
        "FORCE_SCRIPT_NAME",
        "script_name",
        "taken over; a slash at the end is dropped",
        "Django makes URLs with it, so requests for them have to arrive",
        _script_name,
    ),
    Translation(
        "SECURE_PROXY_SSL_HEADER",
        "secure_scheme_headers",
        "the same field, in the spelling of HTTP; it counts when a proxy is named in `forwarded_allow_ips`",
        "both have to agree on when a request is secure",
        _scheme_header,
    ),
    Translation(
        "USE_X_FORWARDED_HOST, USE_X_FORWARDED_PORT",
        "`forwarded_allow_ips`",
        "the fields reach Django from a trusted proxy only; the inspection tells when none is trusted",
        "anybody can send them",
    ),
    Translation(
        "ALLOWED_HOSTS",
        "allowed_hosts",
        "taken over; refused early only with `check_hosts`",
        "a request for a foreign host is then refused before its body is read",
        _hosts,
    ),
    Translation(
        "DATA_UPLOAD_MAX_MEMORY_SIZE, FILE_UPLOAD_MAX_MEMORY_SIZE",
        "body_buffer_size",
        "the larger of those that are not Django's default",
        "what Django may keep in memory waits there, what it would write to a file waits in one",
        _buffer,
    ),
    Translation(
        "FILE_UPLOAD_TEMP_DIR",
        "tmp_upload_dir",
        "taken over",
        "large bodies are written where large uploads are",
        lambda settings: settings.FILE_UPLOAD_TEMP_DIR and str(settings.FILE_UPLOAD_TEMP_DIR),
    ),
    Translation(
        "LOGGING",
        "the error log and the access log",
        "with a logger `prefork_serve` there, what workers say goes to it; `prefork_serve.access` gets a record for "
        "each request. The arbiter, which never imports the project, keeps writing to `errorlog`",
        "a project's logs stand together",
    ),
    Translation(
        "DATABASES",
        "the inspection",
        "workers × threads are compared with pools, `CONN_MAX_AGE` and what PostgreSQL allows",
        "each thread has a connection of its own to each database",
    ),
    Translation(
        "TIME_ZONE",
        "log_timezone",
        "taken over where the machine knows it",
        "Django changes the time zone of its process, and all lines of a log should have the same",
        _zone,
    ),
)

_OPENING = """\
`manage.py serve` reads these settings of a Django project, so that nothing has to be said twice. What is said in
`SERVE`, in a file, in the environment or on the command line wins. `--show-config` tells where each value is from."""


def page() -> str:
    """docs/reference/django-settings.md."""
    return translation_page("Django", _OPENING, TABLE)


if __name__ == "__main__":
    with open(f"{sys.argv[1]}/django-settings.md", "w", encoding="utf-8") as file:
        file.write(page())
