"""``flask serve``: the Flask front door."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import click
from flask import Flask
from flask.cli import ScriptInfo, pass_script_info
from flask.helpers import get_debug_flag

from flask_serve.loader import describe, load_app
from flask_serve.translations import TABLE
from server_core.config.layers import FRAMEWORK, Given, Layer, Resolved, from_json, to_json
from server_core.config.options import SettingsCommand, layers_from_click, settings_options
from server_core.config.translation import translated
from server_core.config.values import without_arguments
from server_core.errors import AppLoadError, BootError, ConfigError, ServeError
from server_core.gateway.loader import AppSpec, own_traceback
from server_core.gateway.loader import describe as describe_error
from server_core.launch import Call, hand_over, limit_import, path_of_this_process, require_posix, tell
from server_core.workers import calls_asgi

PREFIX = "SERVE_"
DEBUG_MODE = Given("development", "Flask's debug mode")


def _set_debug(ctx: click.Context, parameter: click.Parameter, value: bool | None) -> None:
    """As Flask's own option does it, by the variable: a factory may look at it."""
    if value is not None:
        os.environ["FLASK_DEBUG"] = "1" if value else "0"


@click.command("serve", cls=SettingsCommand, short_help="Serve the application, in production and in development.")
@click.option(
    "--debug/--no-debug",
    default=None,
    expose_value=False,
    callback=_set_debug,
    help="Set debug mode, as flask --debug does; it means the profile development.",
)
@settings_options
@pass_script_info
@click.pass_context
def serve(ctx: click.Context, info: ScriptInfo, /, **parameters: Any) -> None:
    """Serve the application that Flask finds.

    What the options say can also stand in the application's configuration, app.config["SERVE"] = {"workers": 4} or
    SERVE_WORKERS = 4, and in the environment as FLASK_SERVE_WORKERS=4 or SERVE_WORKERS=4, by the names that
    --show-config lists. The command line wins.
    """
    try:
        require_posix()
        layers = layers_from_click(ctx)
        told = ask_application(info, Call(layers, config=parameters["config"]))
        call = Call(
            [told.layer, *layers],
            spec=AppSpec(describe(info), told.title, "flask_serve.loader:load", told.path),
            config=parameters["config"],
            check_config=parameters["check_config"],
            show_config=parameters["show_config"],
            command="flask serve",
        )
        if told.failure is not None:
            if call.check_config or not call.resolve().settings.development.reload:
                raise told.failure
            call.notes.append("The application cannot be loaded, so the settings in its app.config are not known.")
        refuse_asgi(call.resolve())
        hand_over(call)
    except ServeError as error:
        tell(error)
        ctx.exit(error.exit_code)


def refuse_asgi(resolved: Resolved) -> None:
    """Raise ConfigError for a worker class that cannot call what Flask makes."""
    worker_class = resolved.settings.workers.worker_class
    if calls_asgi(worker_class):
        raise ConfigError(
            f"worker_class {worker_class} ({resolved.origins['worker_class']}) calls ASGI applications, and those of "
            "Flask are WSGI: choose sync or gthread."
        )


@dataclass(frozen=True)
class Told:
    """What the front door learns of the application without keeping its code; ``failure`` when it was not loaded."""

    layer: Layer
    title: str
    path: tuple[str, ...]
    failure: AppLoadError | None = None


def ask_application(info: ScriptInfo, call: Call) -> Told:
    """Load the application in a child: its configuration is needed here, its code is not; ``call`` has the rest.

    Raises ConfigError for a configuration that is wrong, BootError when the import hangs.  A broken application is
    not refused here: while it is being developed the server starts and waits for it to be mended.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the parent too, which tells it
        os.close(read)
        with os.fdopen(write, "w", encoding="utf-8") as pipe:
            limit_import(call, lambda error: _say(pipe, {"hangs": str(error), "details": error.details}))
            _say(pipe, _tell(info))
        os._exit(0)
    os.close(write)
    try:
        with os.fdopen(read, encoding="utf-8") as pipe:
            text = pipe.readline()  # not to the end: a process that the application started may hold the pipe for ever
        _, status = os.waitpid(pid, 0)
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGKILL)  # at most a zombie: nobody has reaped it
        raise
    title = without_arguments(info.app_import_path or "the Flask application")
    if not text:
        code = os.waitstatus_to_exitcode(status)
        how = f"exited with status {code}" if code >= 0 else f"was killed by signal {-code}"
        failure = AppLoadError(f"the process that loaded {title} {how}")
        return Told(_what_is_known(), title, path_of_this_process(), failure)
    told = json.loads(text)
    if "refused" in told:
        raise ConfigError(told["refused"])
    if "hangs" in told:
        raise BootError(told["hangs"], told["details"])
    if "failed" in told:
        return Told(_what_is_known(), title, tuple(told["path"]), AppLoadError(told["failed"], told["details"]))
    return Told(from_json(told["layers"])[0], told["title"], tuple(told["path"]))


def _what_is_known() -> Layer:
    """What the command line and the environment have said before any application was there to ask."""
    return Layer(FRAMEWORK, _address_of_run() | ({"profile": DEBUG_MODE} if get_debug_flag() else {}))


def _address_of_run() -> dict[str, Given]:
    """Where ``flask run`` would listen, as far as the environment says so."""
    host, port = os.environ.get("FLASK_RUN_HOST", ""), os.environ.get("FLASK_RUN_PORT", "")
    if not host and not port:
        return {}
    name = f"[{host}]" if ":" in host else host or "127.0.0.1"
    return {"bind": Given(f"{name}:{port or 8000}", "FLASK_RUN_HOST and FLASK_RUN_PORT")}


def _say(pipe: TextIO, what: dict[str, Any]) -> None:
    pipe.write(json.dumps(what) + "\n")
    pipe.flush()


def _tell(info: ScriptInfo) -> dict[str, Any]:
    """In the child: load the application and say what is in its configuration, as JSON."""
    try:
        app = load_app(info)
        layers = to_json([framework_layer(app)])
    except AppLoadError as error:
        return {"failed": str(error), "details": error.details, "path": path_of_this_process()}
    except ConfigError as error:
        return {"refused": str(error)}
    except BaseException as error:  # SystemExit while importing is the application's failure, not our end
        sentence = f"the application raised {describe_error(error)} on import"
        return {"failed": sentence, "details": own_traceback(), "path": path_of_this_process()}
    title = app.name if app.name == app.import_name else f"{app.import_name}:{app.name}"
    # Flask has put the directory of the application on the path.
    return {"layers": layers, "title": title, "path": path_of_this_process()}


def framework_layer(app: Flask) -> Layer:
    """What the configuration of ``app`` says of the server.  Raises ConfigError when SERVE is no dict."""
    table = app.config.get("SERVE", {})
    if not isinstance(table, Mapping):
        raise ConfigError(f'app.config["SERVE"] is a {type(table).__name__}: write a dict such as {{"workers": 4}}.')
    values = dict(translated(TABLE, app, 'app.config["{}"]').values) | _address_of_run()
    for key, value in app.config.items():
        # What from_prefixed_env() has copied from the environment counts there, not here.
        if key.startswith(PREFIX) and f"FLASK_{key}" not in os.environ:
            values[key.removeprefix(PREFIX).lower()] = Given(value, f'app.config["{key}"]')
    for name, value in table.items():
        values[str(name)] = Given(value, f'app.config["SERVE"]["{name}"]')
    return Layer(FRAMEWORK, values)
