"""Knows how to find an application by its name, ``module:callable`` or ``module:factory("arg")``; not how to serve it.

Runs in the forkserver or in a worker, never in the arbiter.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from server_core.config.values import without_arguments
from server_core.errors import AppLoadError
from server_core.gateway.dotenv import renew
from server_core.gateway.inspection import Finding
from server_core.settings import Settings

Application = Callable[..., Any]


@dataclass(frozen=True)
class Loaded:
    """An application, and what its framework has to say of it.

    ``inspect`` looks the project over before it serves.  ``places`` are further directories, each with a pattern, whose
    files the framework wants to have watched; ``refresh`` takes the path of a file that has changed and says whether
    the running application has taken it up (None: it never does).  ``is_immutable`` says of a static file, by its path
    and its URL, whether its name changes with its content.
    """

    application: Application
    inspect: Callable[[], Iterable[Finding]] = tuple
    places: tuple[tuple[str, str], ...] = ()
    refresh: Callable[[str], bool] | None = None
    is_immutable: Callable[[str, str], bool] | None = None

    def findings(self) -> list[Finding]:
        """What the inspection finds.  It runs code of the project, and that it fails is no reason not to serve."""
        found: list[Finding] = []
        try:
            for finding in self.inspect():
                found.append(finding)  # what was found before a failure is told, too
        except (Exception, SystemExit) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{' '.join(describe(error).split())} ({place.filename}, line {place.lineno})"
            found.append(Finding("serve.W010", f"The inspection could not be finished: {why}."))
        return found


@dataclass(frozen=True)
class AppSpec:
    """What a front door says about its application; plain values, for they travel to another process.

    ``loader`` is ``module:function``, called with ``target`` and all settings in the process that imports the
    application; it returns ``Loaded`` or raises AppLoadError.  ``path`` is put in front of ``sys.path`` first.
    ``title`` is for people.  ``dotenv`` names the variables of the environment that follow ./.env.
    """

    target: str
    title: str = ""
    loader: str = "server_core.gateway.loader:load"
    path: tuple[str, ...] = field(default_factory=tuple)
    dotenv: tuple[str, ...] = field(default_factory=tuple)

    @property
    def called(self) -> str:
        """What people may read."""
        return self.title or without_arguments(self.target)

    def prepare(self) -> None:
        """Let this process find the project's modules, and its variables of the environment be those of ./.env."""
        renew(os.environ, self.dotenv)
        sys.path[:0] = [entry for entry in self.path if entry not in sys.path]

    def load(self, settings: Settings) -> Loaded:
        """Import the application.  Raises AppLoadError, with the traceback when the application's code is at fault."""
        self.prepare()
        module, _, function = self.loader.partition(":")
        try:
            loaded = getattr(importlib.import_module(module), function)(self.target, settings)
        except AppLoadError:
            raise
        except BaseException as error:  # SystemExit while importing is the application's failure, not our end
            raise AppLoadError(f"{self.called} raised {describe(error)} on import", own_traceback())
        if not _is_application(loaded.application):
            raise AppLoadError(f"{self.called} is not callable: it is a {type(loaded.application).__name__}")
        return loaded  # type: ignore[no-any-return]


def _is_application(found: Any) -> bool:
    """All are called, but those of tornado: they are told of connections."""
    return callable(found) or hasattr(found, "start_request")


_NOT_THE_APPLICATIONS = frozenset({"server_core", "importlib", "django_serve", "flask_serve"})


def describe(error: BaseException) -> str:
    """An exception in one line: ``NameError: name 'x' is not defined``."""
    return traceback.format_exception_only(type(error), error)[-1].strip()


def own_traceback() -> str:
    """The current exception's traceback without the frames of this server and of importlib above the application's."""
    kind, error, frame = sys.exc_info()
    while frame is not None and frame.tb_next is not None:
        name = frame.tb_frame.f_globals.get("__name__", "")
        if name.partition(".")[0] not in _NOT_THE_APPLICATIONS:
            break
        frame = frame.tb_next
    text = "".join(traceback.format_exception(kind, error, frame))
    if frame is not None and frame.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_APPLICATIONS:
        # A SyntaxError: no frame is the application's, and the place is in the error itself.
        text = "Traceback (most recent call last):\n" + "".join(traceback.format_exception(kind, error, None))
    return text


def load(target: str, settings: Settings) -> Loaded:
    """The loader of a front door that knows no framework."""
    return Loaded(load_target(target))


def load_target(target: str) -> Application:
    """Import ``module:callable`` (dots allowed in the callable) or ``module:factory(literals)``; default ``:app``.

    Raises AppLoadError with one sentence for a name that is not there; what the module itself raises goes through.
    """
    shown = without_arguments(target)
    module_name, _, expression = target.partition(":")
    if not module_name or module_name.startswith("."):
        raise AppLoadError(f"the application {shown!r} names no module: write it as module:callable")
    names, arguments, keywords = _parse(shown, expression)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only when the named module itself (or its package) is missing is it the name that is wrong.
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise AppLoadError(
                f"no module named {without_arguments(error.name)!r}, so the application {shown!r} cannot be imported: "
                "check the name, or set chdir to the folder that holds it"
            )
        raise
    candidates = [names] if names else [["app"], ["application"]]
    for candidate in candidates:
        found_here = found
        try:
            for name in candidate:
                found_here = getattr(found_here, name)
        except AttributeError:
            continue
        break
    else:
        missing = ".".join(candidates[0]) if names else '"app" or "application"'
        raise AppLoadError(f"module {module_name!r} has no {missing}: write the application as module:callable")
    if arguments is not None:
        if not callable(found_here):
            raise AppLoadError(f"{shown!r} calls what is not callable: it is a {type(found_here).__name__}")
        found_here = found_here(*arguments, **keywords)
    if not _is_application(found_here):
        raise AppLoadError(f"the application {shown!r} is not callable: it is a {type(found_here).__name__}")
    return found_here  # type: ignore[no-any-return]


def _parse(shown: str, expression: str) -> tuple[list[str], list[Any] | None, dict[str, Any]]:
    """The names on the way to the object, and the literal arguments of a factory (None when it is no call)."""
    refusal = AppLoadError(
        f'the application {shown!r} is neither module:callable nor module:factory("literal", key=1): '
        "only literals can be arguments"
    )
    if not expression:
        return [], None, {}
    try:
        node = ast.parse(expression, mode="eval").body
        arguments: list[Any] | None = None
        keywords: dict[str, Any] = {}
        if isinstance(node, ast.Call):
            arguments = [ast.literal_eval(argument) for argument in node.args]
            keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
            if len(keywords) != len(node.keywords):
                raise refusal
            node = node.func
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            raise refusal
    except (SyntaxError, ValueError, TypeError):
        raise refusal
    return [node.id, *names], arguments, keywords
