"""``python manage.py serve``: the Django front door."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_serve.layer import application_target, framework_layer
from server_core.config.arguments import add_settings_arguments, layer_from_namespace
from server_core.config.layers import COMMAND_LINE, Given, Layer
from server_core.errors import ConfigError, ServeError
from server_core.gateway.loader import AppSpec
from server_core.launch import INTERRUPTED, Call, hand_over, path_of_this_process
from server_core.workers import calls_asgi


class Command(BaseCommand):
    """Replaces this process by the server: what Django has imported here would only grow stale in the arbiter."""

    help = (
        "Serves this project, in production and in development. What the options say can also stand in the settings, "
        "SERVE = {'workers': 4, 'accesslog': '-'}, by the names that --show-config lists. The command line wins."
    )

    # The inspection has them, before each start and each reload, in the process that has just imported the project.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """All settings of the server, and an address as runserver takes it."""
        # All options in the usage would be thirty lines above every message about a wrong one.
        parser.usage = "%(prog)s [OPTIONS] [ADDRESS]"
        parser.add_argument(
            "address", nargs="?", metavar="ADDRESS", help="The address to listen on, as in --bind: 0.0.0.0:8000."
        )
        # Not under the name that Django has for it: call_command() sets that without being asked.
        skip = "Skip the inspection, as --no-checks."
        parser.add_argument("--skip-checks", dest="skip_inspection", action="store_true", help=skip)
        parser.add_argument("--asgi", action="store_true", help=ASGI_HELP)
        add_settings_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Collect what Django knows and start the server; returns only when something is wrong."""
        if options["address"] and options["bind"]:
            raise CommandError("the address is given twice: as an argument and with --bind.", returncode=2)
        try:
            layers = [framework_layer(), base_options(options), layer_from_namespace(options)]
            resolved = Call(layers, config=options["config"]).resolve()
            target = application_target(calls_asgi(resolved.settings.workers.worker_class))
            call = Call(
                layers,
                spec=AppSpec(target, target, "django_serve.loader:load", path_of_this_process()),
                config=options["config"],
                check_config=options["check_config"],
                show_config=options["show_config"],
                command="manage.py serve",
            )
            hand_over(call)  # what is wrong has been told before, where Django's --traceback has a meaning
        except ServeError as error:
            raise CommandError(str(error), returncode=error.exit_code)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED)


ASGI_HELP = "Serve the ASGI application of the project (ASGI_APPLICATION), as --worker-class asgi."
#: what Django's own verbosity means for the error log
_LOGLEVELS = {0: "warning", 2: "debug", 3: "debug"}


def base_options(options: Mapping[str, Any]) -> Layer:
    """What the address and the options that every management command has mean for the server; its own options win.

    Raises ConfigError for --asgi beside another worker class.
    """
    values = {}
    if options.get("asgi"):
        chosen = options.get("worker_class")
        if chosen and not calls_asgi(str(chosen)):
            raise ConfigError(
                f"--asgi means the worker class asgi, but --worker-class is {chosen}: leave one of them out."
            )
        values["worker_class"] = Given("asgi", "--asgi")
    if options.get("address"):
        values["bind"] = Given(options["address"], "the argument ADDRESS")
    if options.get("skip_inspection"):
        values["checks"] = Given(False, "--skip-checks")
    if options.get("verbosity") in _LOGLEVELS:
        values["loglevel"] = Given(_LOGLEVELS[options["verbosity"]], "--verbosity")
    if options.get("no_color"):
        values["color"] = Given("never", "--no-color")
    if options.get("force_color"):
        values["color"] = Given("always", "--force-color")
    return Layer(COMMAND_LINE, values)
