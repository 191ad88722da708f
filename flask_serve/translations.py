"""The table of Flask's settings that become the server's; knows what each means, and imports no Flask."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from server_core.config.translation import Translation, bytes_at_most, mount_of, translation_page
from server_core.gateway.static import is_installed

#: Flask's own value since 3.1
_FLASKS_FORM_MEMORY = 500_000
#: what limit_request_body and body_buffer_size can be
LARGEST_BODY, LARGEST_BUFFER = 1 << 40, 1 << 30

_ends_with_port = re.compile(r".*[^:]:[0-9]*").fullmatch


def _largest_body(app: Any) -> object:
    return bytes_at_most(app.config.get("MAX_CONTENT_LENGTH"), LARGEST_BODY)


def _form_memory(app: Any) -> object:
    size = app.config.get("MAX_FORM_MEMORY_SIZE")
    return None if size == _FLASKS_FORM_MEMORY else bytes_at_most(size, LARGEST_BUFFER)


def _root(app: Any) -> object:
    """Where the application is mounted, unless middleware of its own may see to that."""
    return None if "wsgi_app" in vars(app) else str(app.config.get("APPLICATION_ROOT") or "").rstrip("/") or None


def _hosts(app: Any) -> object:
    """Without ports and in the spelling of HTTP, for that is how Werkzeug compares them."""
    hosts = app.config.get("TRUSTED_HOSTS") or ()
    return [_as_sent(str(host)) for host in ([hosts] if isinstance(hosts, str) else hosts)] or None


def _as_sent(host: str) -> str:
    name = host.rpartition(":")[0] if _ends_with_port(host) else host
    try:
        return "." * name.startswith(".") + name.removeprefix(".").encode("idna").decode("ascii")
    except UnicodeError:  # no name that anybody could have
        return name


def _address(app: Any) -> object:
    """Where SERVER_NAME can be reached while the application is developed."""
    name, _, port = str(app.config.get("SERVER_NAME") or "").rpartition(":")
    return f"127.0.0.1:{port}" if app.debug and name and port.isascii() and port.isdigit() else None


def _static(app: Any) -> object:
    """The static folder, where nothing that the application does around its own files would be passed by."""
    if app.debug or not app.has_static_folder or not os.path.isdir(app.static_folder) or not is_installed():
        return None
    return mount_of(f"{app.static_url_path}/", app.static_folder) if _serves_plainly(app) else None


def _serves_plainly(app: Any) -> bool:
    """Does Flask's own code alone decide who gets a static file, and with which headers?"""
    view = app.view_functions.get("static")
    return (
        type(app).__module__ == "flask.app"
        and not {"wsgi_app", "send_static_file"} & vars(app).keys()
        and getattr(view, "__module__", "") == "flask.app"
        and not (app.before_request_funcs or app.after_request_funcs or app.url_value_preprocessors)
        and not app.url_map.host_matching
        and app.config.get("SEND_FILE_MAX_AGE_DEFAULT") is None
    )


TABLE: tuple[Translation, ...] = (
    Translation(
        "DEBUG",
        "profile",
        "debug mode (`--debug`, `FLASK_DEBUG`) means development",
        "whoever wants a debugger is developing",
        lambda app: "development" if app.debug else None,
        origin="Flask's debug mode",
    ),
    Translation(
        "MAX_CONTENT_LENGTH",
        "limit_request_body",
        "taken over",
        "a body that Flask would refuse is refused before it is read",
        _largest_body,
    ),
    Translation(
        "MAX_FORM_MEMORY_SIZE",
        "body_buffer_size",
        "taken over when it is not Flask's default",
        "what Flask may keep in memory waits there, larger bodies in a file",
        _form_memory,
    ),
    Translation(
        "APPLICATION_ROOT",
        "script_name",
        "taken over, without a slash at its end, unless middleware is around `app.wsgi_app`: it may mount the "
        "application itself, and would look for the path in vain",
        "URLs that are made outside of requests and those inside have the same root",
        _root,
    ),
    Translation(
        "PREFERRED_URL_SCHEME",
        "`forwarded_allow_ips`",
        "`https` makes the inspection tell when nobody says that a request came by it: no proxy is trusted, and "
        "there is no `certfile`",
        "within requests, Flask goes by what the server knows",
    ),
    Translation(
        "TRUSTED_HOSTS",
        "allowed_hosts",
        "taken over; refused early only with `check_hosts`",
        "a request for a foreign host is then refused before its body is read",
        _hosts,
    ),
    Translation(
        "SERVER_NAME",
        "bind",
        "its port, on 127.0.0.1, in debug mode",
        "URLs that are made outside of requests lead to the server, as with `app.run()`",
        _address,
    ),
    Translation(
        "FLASK_RUN_HOST, FLASK_RUN_PORT",
        "`bind`",
        "taken over from the environment, also from `.flaskenv`; one without the other means 127.0.0.1, or port 8000",
        "`flask serve` is then found where `flask run` was",
    ),
    Translation(
        "static_folder",
        "static_mounts",
        "served from there at `static_url_path` in production, if the application is a plain `Flask` without "
        "`before_request` or `after_request` functions, middleware, and rules of its own for files "
        "(`SEND_FILE_MAX_AGE_DEFAULT`); else Flask serves it itself",
        "it is faster; but a login, or headers that are added, must not be passed by",
        _static,
        origin="static_folder of the application",
    ),
)

_OPENING = """\
`flask serve` reads these settings of a Flask application, so that nothing has to be said twice. What is said in
`app.config["SERVE"]`, in a file, in the environment or on the command line wins. `--show-config` tells where each value
is from."""


def page() -> str:
    """docs/reference/flask-settings.md."""
    return translation_page("Flask", _OPENING, TABLE)


if __name__ == "__main__":
    with open(f"{sys.argv[1]}/flask-settings.md", "w", encoding="utf-8") as file:
        file.write(page())
