"""``python manage.py serve``: the Django front door."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from django_serve.layer import framework_layer
from server_core.config.arguments import add_settings_arguments, layer_from_namespace
from server_core.errors import ServeError
from server_core.gateway.loader import AppSpec
from server_core.launch import Call, hand_over, path_of_this_process


class Command(BaseCommand):
    """Replaces this process by the server: what Django has imported here would only grow stale in the arbiter."""

    help = (
        "Serves this project. All options can also stand in settings.SERVE, without the dashes and with underscores: "
        "SERVE = {'workers': 4}."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """All settings of the server, by the names they have everywhere."""
        add_settings_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Collect what Django knows and start the server; returns only when something is wrong."""
        try:
            hand_over(
                Call(
                    [framework_layer(), layer_from_namespace(options)],
                    spec=AppSpec(wsgi_target(), wsgi_target(), "django_serve.loader:load", path_of_this_process()),
                    config=options["config"],
                    check_config=options["check_config"],
                    show_config=options["show_config"],
                    command="manage.py serve",
                )
            )
        except ServeError as error:
            raise CommandError(str(error), returncode=error.exit_code)


def wsgi_target() -> str:
    """The project's WSGI application as ``module:callable``."""
    named: str | None = settings.WSGI_APPLICATION
    if not named:
        return "django.core.wsgi:get_wsgi_application()"
    module, _, name = named.rpartition(".")
    return f"{module}:{name}"
