"""Turns a Django project's settings into server settings; what each of Django's own means is the table's business."""

from __future__ import annotations

import os
from collections.abc import Mapping

from django.conf import settings

from django_serve.translations import TABLE
from server_core.config.layers import FRAMEWORK, Given, Layer
from server_core.config.translation import translated
from server_core.errors import ConfigError


def settings_module() -> str:
    """The name of the project's settings module, for messages."""
    return os.environ.get("DJANGO_SETTINGS_MODULE", "settings")


def framework_layer() -> Layer:
    """``settings.SERVE``, and what follows from Django's own settings.  Raises ConfigError when SERVE is no dict."""
    serve = getattr(settings, "SERVE", {})
    if not isinstance(serve, Mapping):
        raise ConfigError(
            f"SERVE in {settings_module()} is a {type(serve).__name__}: write a dict such as "
            'SERVE = {"workers": 4, "bind": "0.0.0.0:8000"}.'
        )
    values = dict(translated(TABLE, settings, f"{{}} in {settings_module()}").values)
    for name, value in serve.items():
        values[str(name)] = Given(value, f'SERVE["{name}"] in {settings_module()}')
    return Layer(FRAMEWORK, values)


def application_setting(asgi: bool) -> str:
    """The name of the setting that names the project's application."""
    return "ASGI_APPLICATION" if asgi else "WSGI_APPLICATION"


def application_target(asgi: bool) -> str:
    """The project's ASGI or WSGI application as ``module:callable``.  Raises ConfigError when nobody could find it."""
    setting = application_setting(asgi)
    named: str | None = getattr(settings, setting, None)  # Django itself does not know the one of ASGI
    if named:
        if ":" in named:  # as every other server, and our own command line, have it
            raise ConfigError(
                f"{setting} in {settings_module()} is {named!r}, but Django has a dot for the colon: write "
                f"{named.replace(':', '.')!r}."
            )
        module, _, name = named.rpartition(".")
        if not module:
            raise ConfigError(
                f"{setting} in {settings_module()} is {named!r}: write the module too, as in "
                f"'mysite.{'asgi' if asgi else 'wsgi'}.application'."
            )
        return f"{module}:{name}"
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise ConfigError(
            "settings.configure() was called, which other processes do not see: name the module that calls it in "
            f"{setting}, as in 'mysite.application', or use a settings module."
        )
    return "django.core.asgi:get_asgi_application()" if asgi else "django.core.wsgi:get_wsgi_application()"
