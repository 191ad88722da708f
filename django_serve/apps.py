"""The app as Django sees it."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.apps import AppConfig
from django.core.checks import register

from django_serve.checks import check_settings
from django_serve.limit import limit_import_of_project
from server_core.launch import end_limit


class ServeConfig(AppConfig):
    """Registers the check of ``settings.SERVE``; of ``manage.py serve`` this is the first that is ours."""

    name = "django_serve"
    verbose_name = "prefork-serve"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if _is_manage_py_serve():  # Django imports the models of all apps next, before it runs the command
            limit_import_of_project(sys.argv)

    def ready(self) -> None:
        """Called by Django when all apps are there."""
        register(check_settings)
        if _is_manage_py_serve():  # which need not be ours: another app may have a command of this name
            end_limit()


def _is_manage_py_serve() -> bool:
    """Not a forkserver, which has a limit of its own, nor any other program that has a command of this name."""
    return os.path.basename(sys.argv[0]) == "manage.py" and sys.argv[1:2] == ["serve"]
