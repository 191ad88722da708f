"""The app as Django sees it."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from django_serve.checks import check_settings


class ServeConfig(AppConfig):
    """Registers the check of ``settings.SERVE``."""

    name = "django_serve"
    verbose_name = "prefork-serve"

    def ready(self) -> None:
        """Called by Django when all apps are there."""
        register(check_settings)
