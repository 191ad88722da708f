"""Loads a Flask application exactly as Flask's own command line does; runs where the application may be imported."""

from __future__ import annotations

import importlib
import json
import os
from functools import partial
from typing import TYPE_CHECKING

import click
from flask.cli import ScriptInfo

from flask_serve.inspection import inspect
from server_core.config.values import without_arguments
from server_core.errors import AppLoadError, ConfigError
from server_core.gateway.loader import Application, Loaded
from server_core.gateway.loader import describe as describe_error
from server_core.settings import Settings

if TYPE_CHECKING:
    from flask import Flask


def describe(info: ScriptInfo) -> str:
    """What another process needs to find the same application: text for ``load``.

    Raises ConfigError for a factory that no other process can find (it is known only to scripts with a FlaskGroup).
    """
    factory = info.create_app
    named = None
    if factory is not None:
        module, name = factory.__module__, getattr(factory, "__qualname__", repr(factory))
        named = f"{module}:{name}"
        if module == "__main__" or not name.isidentifier():
            raise ConfigError(
                f"the factory {named} of this command can be found by no other process: make it a function at the top "
                "of a module that is imported."
            )
    return json.dumps({"app": info.app_import_path, "factory": named, "debug": info.set_debug_flag})


def load(target: str, settings: Settings) -> Loaded:
    """The application that ``describe`` told of.  Raises AppLoadError with Flask's own words when there is none."""
    described = json.loads(target)
    factory = None
    if described["factory"] is not None:
        module, _, name = described["factory"].partition(":")
        factory = getattr(importlib.import_module(module), name)
    info = ScriptInfo(described["app"], create_app=factory, set_debug_flag=described["debug"])
    app = load_app(info)
    application: Application = app
    if app.debug and settings.profile.develops and settings.development.debugger:
        from flask_serve.debugger import debugged  # not in production

        application = debugged(app, settings.sockets.bind)
    return Loaded(application, lambda: list(inspect(app, settings)), _template_places(app), partial(_is_fresh, app))


def _template_places(app: Flask) -> tuple[tuple[str, str], ...]:
    return tuple((os.path.realpath(folder), "**/*") for folder in _template_folders(app))


def _template_folders(app: Flask) -> list[str]:
    scaffolds = [app, *app.iter_blueprints()]
    return [os.path.join(each.root_path, each.template_folder) for each in scaffolds if each.template_folder]


def _is_fresh(app: Flask, path: str) -> bool:
    """Jinja looks at a template's file each time, so a changed one needs nothing."""
    folders = [os.path.realpath(folder) + os.sep for folder in _template_folders(app)]
    return bool(app.jinja_env.auto_reload) and path.startswith(tuple(folders))


def load_app(info: ScriptInfo) -> Flask:
    """Let Flask find the application.  Raises AppLoadError when it cannot."""
    os.environ["FLASK_RUN_FROM_CLI"] = "true"  # app.run() at the end of a module does nothing then
    try:
        return info.load_app()
    except click.ClickException as error:
        # Flask puts the traceback of a failed import into the message.
        said = error.format_message()
        if info.app_import_path:  # it may hold the arguments of a factory
            said = said.replace(info.app_import_path, without_arguments(info.app_import_path))
        sentence, _, details = said.partition("\n\nTraceback")
        sentence = " ".join(sentence.split()).removesuffix(":").removesuffix(".")
        if details and error.__context__ is not None:  # else the one line that many look at would not name the cause
            sentence += f": {' '.join(describe_error(error.__context__).split())}"
        raise AppLoadError(sentence, "Traceback" + details if details else "")
