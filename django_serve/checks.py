"""The system check of ``settings.SERVE``: a wrong key or value shows in ``manage.py check`` already."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from django_serve.layer import framework_layer, settings_module
from server_core.config.layers import resolve
from server_core.config.schema import SETTINGS
from server_core.errors import ConfigError


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """serve.E001: SERVE is not what the server understands; serve.W016: a setting is written as Flask has it."""
    found: list[CheckMessage] = [
        Warning(
            f"{setting.variable} in {settings_module()} is not read: in Django's settings it is "
            f'SERVE = {{"{setting.name}": ...}}.',
            id="serve.W016",
        )
        for setting in SETTINGS.values()
        if hasattr(settings, setting.variable)
    ]
    try:
        resolve([framework_layer()])
    except ConfigError as error:
        found.append(Error(str(error), id="serve.E001"))
    return found
