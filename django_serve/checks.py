"""The system check of ``settings.SERVE``: a wrong key or value shows in ``manage.py check`` already."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error

from django_serve.layer import framework_layer
from server_core.config.layers import resolve
from server_core.errors import ConfigError


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """serve.E001: SERVE is not what the server understands."""
    try:
        resolve([framework_layer()])
    except ConfigError as error:
        return [Error(str(error), id="serve.E001")]
    return []
