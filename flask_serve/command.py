"""``flask serve``: the Flask front door."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Mapping
from typing import Any

import click
from flask.cli import ScriptInfo, pass_script_info
from flask.helpers import get_debug_flag

from flask_serve.loader import describe, load_app
from server_core.config.layers import FRAMEWORK, Given, Layer
from server_core.config.options import SettingsCommand, layers_from_click, settings_options
from server_core.errors import AppLoadError, ConfigError, ServeError
from server_core.gateway.loader import AppSpec
from server_core.launch import Call, hand_over, path_of_this_process, tell

PREFIX = "SERVE_"


@click.command("serve", cls=SettingsCommand, short_help="Serve the application, in production and in development.")
@settings_options
@pass_script_info
@click.pass_context
def serve(ctx: click.Context, info: ScriptInfo, /, **parameters: Any) -> None:
    """Serve the application that Flask finds.

    All options can also stand in the application's configuration, app.config["SERVE"] = {"workers": 4} or
    SERVE_WORKERS = 4, and in the environment as FLASK_SERVE_WORKERS=4 or SERVE_WORKERS=4.
    """
    try:
        layers = layers_from_click(ctx)
        framework, title, note = ask_application(info)
        hand_over(
            Call(
                [framework, *layers],
                spec=AppSpec(describe(info), title, "flask_serve.loader:load", path_of_this_process()),
                config=parameters["config"],
                check_config=parameters["check_config"],
                show_config=parameters["show_config"],
                command="flask serve",
                notes=[note] if note else [],
            )
        )
    except ServeError as error:
        tell(error)
        ctx.exit(error.exit_code)


def ask_application(info: ScriptInfo) -> tuple[Layer, str, str]:
    """What the application's configuration says, its title, and a note for the user ("" for none).

    The application is loaded in a child: its configuration is needed here, its code is not.  In debug mode a broken
    application is no reason not to start: the server waits for it to be mended.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with os.fdopen(write, "w", encoding="utf-8") as pipe:
            json.dump(_tell_configuration(info), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    title = info.app_import_path or "the Flask application"
    if not text:
        raise AppLoadError(f"the process that loaded {title} died (status {status})")
    told = json.loads(text)
    if "refused" in told:
        raise ConfigError(told["refused"])
    values = {name: Given(value, origin) for name, (value, origin) in told.get("values", {}).items()}
    if "failed" in told:
        if not get_debug_flag():
            raise AppLoadError(told["failed"], told["details"])
        values["reload"] = Given(True, "Flask's debug mode")
    return Layer(FRAMEWORK, values), told.get("title", title), ""


def _tell_configuration(info: ScriptInfo) -> dict[str, Any]:
    """In the child: load the application and read its configuration."""
    try:
        app = load_app(info)
    except AppLoadError as error:
        return {"failed": str(error), "details": error.details}
    except BaseException as error:
        sentence = f"the application raised {type(error).__name__} on import"
        return {"failed": sentence, "details": traceback.format_exc()}
    values: dict[str, tuple[object, str]] = {}
    if app.debug:
        values["reload"] = (True, "Flask's debug mode")
    table = app.config.get("SERVE", {})
    if not isinstance(table, Mapping):
        return {"refused": f'app.config["SERVE"] is a {type(table).__name__}: write a dict such as {{"workers": 4}}.'}
    for key, value in app.config.items():
        if key.startswith(PREFIX):
            values[key.removeprefix(PREFIX).lower()] = (value, f'app.config["{key}"]')
    for name, value in table.items():
        values[str(name)] = (value, f'app.config["SERVE"]["{name}"]')
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        return {"refused": f"app.config: a setting of the server has a value that it cannot have ({error})."}
    return {"values": values, "title": f"{app.import_name}:{app.name}" if app.import_name != app.name else app.name}
