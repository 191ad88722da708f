"""The app as Django sees it."""

from __future__ import annotations

import sys
from typing import Any

from django.apps import AppConfig
from django.core.checks import register

from django_serve.checks import check_settings
from django_serve.limit import limit_import_of_project


class ServeConfig(AppConfig):
    """Registers the check of ``settings.SERVE``; of ``manage.py serve`` this is the first that is ours."""

    name = "django_serve"
    verbose_name = "prefork-serve"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if sys.argv[1:2] == ["serve"]:  # Django imports the models of all apps next, before it runs the command
            limit_import_of_project(sys.argv)

    def ready(self) -> None:
        """Called by Django when all apps are there."""
        register(check_settings)
