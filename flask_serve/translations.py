"""The table of Flask's settings that become the server's; knows what each means, and imports no Flask."""

from __future__ import annotations

import sys
from typing import Any

from server_core.config.translation import Translation, translation_page
from server_core.gateway.static import is_installed

#: Flask's own value since 3.1
_FLASKS_FORM_MEMORY = 500_000


def _form_memory(app: Any) -> object:
    size = app.config.get("MAX_FORM_MEMORY_SIZE")
    return None if size in (None, _FLASKS_FORM_MEMORY) else size


def _root(app: Any) -> object:
    root = app.config.get("APPLICATION_ROOT")
    return root.rstrip("/") or None if isinstance(root, str) else None


def _address(app: Any) -> object:
    """Where SERVER_NAME can be reached while the application is developed."""
    name = app.config.get("SERVER_NAME")
    port = str(name or "").rpartition(":")[2]
    return f"127.0.0.1:{port}" if app.debug and name and ":" in name and port.isdigit() else None


def _static(app: Any) -> object:
    """The static folder, where nothing that the application does around its own files would be passed by."""
    wraps = app.before_request_funcs or app.after_request_funcs or app.url_value_preprocessors
    is_plain = type(app).send_static_file.__module__.startswith("flask.") and "wsgi_app" not in vars(app)
    url = app.static_url_path if app.has_static_folder else None
    if app.debug or wraps or not is_plain or not url or not url.strip("/") or not is_installed():
        return None
    return {url.rstrip("/") + "/": app.static_folder}


TABLE: tuple[Translation, ...] = (
    Translation(
        "DEBUG",
        "profile",
        "debug mode (`--debug`, `FLASK_DEBUG`) means development",
        "whoever wants a debugger is developing",
        lambda app: "development" if app.debug else None,
    ),
    Translation(
        "MAX_CONTENT_LENGTH",
        "limit_request_body",
        "taken over",
        "a body that Flask would refuse is refused before it is read",
        lambda app: app.config.get("MAX_CONTENT_LENGTH"),
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
        "taken over; a slash at the end is dropped",
        "URLs that are made outside of requests and those inside have the same root",
        _root,
    ),
    Translation(
        "PREFERRED_URL_SCHEME",
        "`forwarded_allow_ips`",
        "`https` makes the inspection tell when no proxy is trusted to say that a request came by it",
        "within requests, Flask goes by what the server knows",
    ),
    Translation(
        "TRUSTED_HOSTS",
        "allowed_hosts",
        "taken over; refused early only with `check_hosts`",
        "a request for a foreign host is then refused before its body is read",
        lambda app: list(app.config.get("TRUSTED_HOSTS") or ()) or None,
    ),
    Translation(
        "SERVER_NAME",
        "bind",
        "its port, on 127.0.0.1, in debug mode",
        "URLs that are made outside of requests lead to the server, as with `app.run()`",
        _address,
    ),
    Translation(
        "static_folder",
        "static_mounts",
        "served from there at `static_url_path` in production, if the application has no `before_request` or "
        "`after_request` functions and no middleware; else Flask serves it itself",
        "it is faster; but a login, or headers that are added, must not be passed by",
        _static,
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
