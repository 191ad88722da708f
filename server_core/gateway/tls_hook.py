"""Calls the project's function that has the last word on a TLS context (``ssl_context``); makes no context itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from server_core.errors import AppLoadError, ServeError
from server_core.gateway.loader import describe, own_traceback
from server_core.settings import Settings

if TYPE_CHECKING:
    from ssl import SSLContext

Make = Callable[[], "SSLContext"]


def load_hook(name: str, origin: str) -> Callable[[Settings, Make], SSLContext]:
    """Import ``module:function``; what comes back can be called as the function is, and raises AppLoadError, with the
    traceback, for whatever goes wrong in it, or if it returns something else.

    Raises AppLoadError for a name that is not there or a module that cannot be imported.
    """
    where = f"ssl_context: {name} ({origin})"
    module, _, path = name.partition(":")
    try:
        hook: Any = importlib.import_module(module)
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise AppLoadError(f"{where} cannot be found: there is no module {error.name!r}")
        raise AppLoadError(f"{where} raised {describe(error)} on import", own_traceback())
    for part in path.split("."):
        hook = getattr(hook, part, None)
    if not callable(hook):
        raise AppLoadError(f"{where} cannot be found: the module has no such function")

    def call(settings: Settings, make: Make) -> SSLContext:
        try:
            context = hook(settings, make)
        except ServeError:  # of the files, which ``make`` has looked at
            raise
        except BaseException as error:  # SystemExit, too, is its failure and not our end
            raise AppLoadError(f"{where} raised {describe(error)}", own_traceback())
        if not hasattr(context, "wrap_bio"):
            raise AppLoadError(f"{where} returned a {type(context).__name__}, and not an ssl.SSLContext")
        return context  # type: ignore[no-any-return]

    return call
