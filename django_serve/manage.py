"""``manage.py serve`` for projects that may be broken when it starts; knows how Django's own way ends then.

Django imports the settings and all models before it looks for a command, so a mistake in them is the end of every
command.  ``execute_from_command_line`` is Django's, except that ``serve`` starts nevertheless while the project is
being developed: the browser shows what is wrong until it is mended.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from django_serve.layer import framework_layer
from django_serve.limit import limit_import_of_project
from django_serve.management.commands.serve import base_options
from server_core.config.arguments import add_settings_arguments, layer_from_namespace
from server_core.config.layers import FRAMEWORK, Layer
from server_core.errors import ServeError
from server_core.gateway.loader import AppSpec
from server_core.launch import INTERRUPTED, Call, hand_over, path_of_this_process, tell

_names_settings = re.compile(r"""["']DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""").search


def execute_from_command_line(argv: Sequence[str] | None = None) -> None:
    """What ``django.core.management.execute_from_command_line`` does, and ``serve`` for a broken project, too."""
    arguments = list(sys.argv if argv is None else argv)
    from django.core.management import execute_from_command_line as djangos

    if arguments[1:2] == ["serve"]:
        limit_import_of_project(arguments)
    try:
        djangos(arguments)
    except KeyboardInterrupt:
        if arguments[1:2] != ["serve"]:
            raise
        raise SystemExit(INTERRUPTED)
    except Exception:
        if arguments[1:2] != ["serve"]:
            raise
        _serve_nevertheless(arguments)
        raise


def _serve_nevertheless(arguments: list[str]) -> None:
    """Start the server, which will find the project as broken as it was here; returns unless in development."""
    parser = argparse.ArgumentParser(f"{os.path.basename(arguments[0])} serve", usage="%(prog)s [OPTIONS] [ADDRESS]")
    parser.add_argument("address", nargs="?")
    for option in ("--settings", "--pythonpath"):  # Django has heeded them already
        parser.add_argument(option, help=argparse.SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, help=argparse.SUPPRESS)
    for option in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(option, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--skip-checks", dest="skip_inspection", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--asgi", action="store_true")
    add_settings_arguments(parser)
    options = vars(parser.parse_args(arguments[2:]))
    try:
        known = _what_is_known()
        call = Call(
            [known or Layer(FRAMEWORK, {}), base_options(options), layer_from_namespace(options)],
            spec=AppSpec("", "the Django project", "django_serve.loader:load", path_of_this_process()),
            config=options["config"],
            command=f"{os.path.basename(arguments[0])} serve",
        )
        if options["check_config"] or options["show_config"] or not call.resolve().settings.profile.develops:
            click.echo("In development (--profile development) the server would wait for this to be mended:", err=True)
            return
        if known is None:
            call.notes.append("The settings cannot be imported, so SERVE and DEBUG in them are not known.")
        hand_over(call)
    except ServeError as error:
        tell(error)
        raise SystemExit(error.exit_code)


def _what_is_known() -> Layer | None:
    """What the settings say of the server, None when they cannot be imported.  Raises ConfigError for a wrong SERVE."""
    try:
        return framework_layer()
    except ServeError:
        raise
    except Exception:
        return None


def find_settings() -> None:
    """Set DJANGO_SETTINGS_MODULE, unless it is set, to what ./manage.py names."""
    try:
        found = _names_settings(Path("manage.py").read_text(encoding="utf-8"))
    except OSError:
        return
    if found:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", found[1])
