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

from server_core.config.arguments import add_settings_arguments, layer_from_namespace
from server_core.config.layers import FRAMEWORK, Given, Layer
from server_core.errors import ServeError
from server_core.gateway.loader import AppSpec
from server_core.launch import Call, hand_over, path_of_this_process, tell

_names_settings = re.compile(r"""["']DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""").search


def execute_from_command_line(argv: Sequence[str] | None = None) -> None:
    """What ``django.core.management.execute_from_command_line`` does, and ``serve`` for a broken project, too."""
    arguments = list(sys.argv if argv is None else argv)
    from django.core.management import execute_from_command_line as djangos

    try:
        djangos(arguments)
    except Exception:
        if arguments[1:2] != ["serve"]:
            raise
        _serve_nevertheless(arguments)
        raise


def _serve_nevertheless(arguments: list[str]) -> None:
    """Start the server, which will find the project as broken as it was here; returns unless in development."""
    parser = argparse.ArgumentParser(f"{os.path.basename(arguments[0])} serve", usage="%(prog)s [OPTIONS] [ADDRESS]")
    parser.add_argument("address", nargs="?")
    for option in ("--settings", "--pythonpath", "--verbosity", "-v"):  # Django has heeded them already
        parser.add_argument(option, help=argparse.SUPPRESS)
    for option in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        parser.add_argument(option, action="store_true", help=argparse.SUPPRESS)
    add_settings_arguments(parser)
    options = vars(parser.parse_args(arguments[2:]))
    if options["address"] and not options["bind"]:
        options["bind"] = [options["address"]]
    try:
        call = Call(
            [Layer(FRAMEWORK, _what_is_known()), layer_from_namespace(options)],
            spec=AppSpec("", "the Django project", "django_serve.loader:load", path_of_this_process()),
            config=options["config"],
            command=f"{os.path.basename(arguments[0])} serve",
        )
        if options["check_config"] or options["show_config"] or not call.resolve().settings.profile.develops:
            click.echo("In development (--profile development) the server would wait for this to be mended:", err=True)
            return
        call.notes.append("The project cannot be imported, so SERVE and DEBUG in its settings are not known.")
        hand_over(call)
    except ServeError as error:
        tell(error)
        raise SystemExit(error.exit_code)


def _what_is_known() -> dict[str, Given]:
    """The profile, if at least the settings could be imported."""
    from django.conf import settings

    try:
        debug = settings.DEBUG
    except Exception:
        return {}
    return {"profile": Given("development", "DEBUG in the settings")} if debug else {}


def find_settings() -> None:
    """Set DJANGO_SETTINGS_MODULE, unless it is set, to what ./manage.py names."""
    try:
        found = _names_settings(Path("manage.py").read_text(encoding="utf-8"))
    except OSError:
        return
    if found:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", found[1])
