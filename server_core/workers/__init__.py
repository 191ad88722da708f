"""The worker classes, each declared once; a worker class decides how to wait for bytes, never how to answer them.

``WORKER_CLASSES`` is the only list of ours.  A class is a module with two functions, or somebody else's class with two
such methods (``package.module:Class``): ``prepare()`` runs in the forkserver before the application is imported,
``run(post)`` in the worker until it has drained.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from server_core.config.schema import closest
from server_core.errors import AppLoadError, ConfigError, ServeError
from server_core.gateway.loader import describe, own_traceback

if TYPE_CHECKING:
    from server_core.workers.post import Post


class WorkerModule(Protocol):
    """What the module of a worker class has to offer, or an object of somebody else's class, made without arguments."""

    def prepare(self) -> None:
        """Whatever must happen before the application is imported; once in each forkserver."""

    def run(self, post: Post) -> None:
        """Serve until drained; in each worker.  When this returns, the process ends."""


class WorkerClass(NamedTuple):
    """A worker class as it is declared: where it is, how it works, how many requests one worker runs at once.

    ``has_threads`` says whether it has as many as the setting says, ``asgi`` whether it calls ASGI applications, not
    WSGI, ``tornado`` whether it calls those of tornado, besides WSGI's.  ``needs`` is the library without which it
    cannot run, and our extra that brings it.  ``threads_survive`` says that threads which the import has started go on
    in the workers.
    """

    module: str
    summary: str
    at_once: str
    has_threads: bool = False
    asgi: bool = False
    tornado: bool = False
    needs: tuple[str, str] = ("", "")
    threads_survive: bool = False

    @property
    def is_bound_to_threads(self) -> bool:
        """Does it run as many requests at once as it has threads, one or more?"""
        return self.at_once in ("", "no", "`threads`")


WORKER_CLASSES = {
    "sync": WorkerClass("server_core.workers.sync", "one request at a time", "no"),
    "gthread": WorkerClass(
        "server_core.workers.gthread", "a pool of threads on one readiness loop", "`threads`", has_threads=True
    ),
    "gevent": WorkerClass(
        "server_core.workers.gevent",
        "a greenlet for each request; what waits in Python lets others go on",
        "as many as there are clients",
        needs=("gevent", "gevent"),
        threads_survive=True,
    ),
    "eventlet": WorkerClass(
        "server_core.workers.eventlet",
        "the same with eventlet, whose authors advise against new uses",
        "as many as there are clients",
        needs=("eventlet", "eventlet"),
    ),
    "asgi": WorkerClass(
        "server_core.workers.asgi",
        "an event loop, for ASGI applications, with lifespan and websockets",
        "as many as there are clients",
        asgi=True,
        needs=("uvicorn", "asgi"),
    ),
    "tornado": WorkerClass(
        "server_core.workers.tornado",
        "tornado's event loop, for its applications, with long polling and websockets; WSGI in a pool of threads",
        "as many as there are clients; of WSGI `threads`",
        has_threads=True,
        tornado=True,
        needs=("tornado", "tornado"),
    ),
}

#: modules of other servers, whose worker classes people have in their configurations -> ours
ELSEWHERE = {
    "uvicorn": "asgi",
    "uvicorn.workers": "asgi",
    "uvicorn_worker": "asgi",
    "gunicorn.workers.sync": "sync",
    "gunicorn.workers.gthread": "gthread",
    "gunicorn.workers.ggevent": "gevent",
    "gunicorn.workers.geventlet": "eventlet",
    "gunicorn.workers.gtornado": "tornado",
}


def find_worker_class(name: str, origin: str) -> WorkerClass:
    """Look up a worker class.  Raises ConfigError for one that does not exist, or whose library is missing."""
    found = WORKER_CLASSES.get(name)
    if found is None:
        if is_foreign(name) and not _elsewhere(name):
            # A name that is not there is found out where project code may be imported.
            return WorkerClass(name, "", "", has_threads=True)
        close = _elsewhere(name) or _with_colon(name) or closest(name, WORKER_CLASSES)
        question = f" Did you mean {close}?" if close else ""
        *most, last = WORKER_CLASSES
        raise ConfigError(
            f"worker_class: there is no worker class {name!r} ({origin}): there are {', '.join(most)} and {last}, and "
            f"your own as package.module:Class.{question}"
        )
    library, extra = found.needs
    if library:
        require(library, extra, f"worker_class {name} ({origin})")
    return found


def _elsewhere(name: str) -> str:
    """Our class instead of one of another server, or of its module; "" for any other name."""
    module = name.replace(":", ".")
    return ELSEWHERE.get(module) or ELSEWHERE.get(module.rpartition(".")[0], "")


def _with_colon(name: str) -> str:
    """``package.module:Class`` for ``package.module.Class``; "" for what is no such name."""
    module, dot, last = name.rpartition(".")
    return f"{module}:{last}" if dot and is_foreign(f"{module}:{last}") else ""


def is_foreign(name: str) -> bool:
    """Is this, ``package.module:Class``, somebody else's class?"""
    module, colon, names = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *names.split(".")))


def require(library: str, extra: str, who: str) -> None:
    """Raise ConfigError unless a package can be imported; ``extra`` is what of ours brings it, ``who`` wants it."""
    if importlib.util.find_spec(library) is None:
        raise ConfigError(f'{who} needs {library}: pip install "prefork-serve[{extra}]".')


def calls_asgi(name: str) -> bool:
    """Does a worker of this class call ASGI applications?  False for a class that does not exist."""
    return name in WORKER_CLASSES and WORKER_CLASSES[name].asgi


def calls_tornado(name: str) -> bool:
    """Does a worker of this class call tornado's applications?  False for a class that does not exist."""
    return name in WORKER_CLASSES and WORKER_CLASSES[name].tornado


def load_worker_class(name: str) -> WorkerModule:
    """Import a worker class that ``find_worker_class`` has found.

    Raises AppLoadError for a foreign one that is not there, or with the traceback of its code.
    """
    if not is_foreign(name):
        return importlib.import_module(WORKER_CLASSES[name].module)
    module, _, names = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        before = name[: len(module) + 1]
        for part in names.split("."):
            if not hasattr(found, part):
                close = closest(part, (each for each in dir(found) if not each.startswith("_")))
                question = f". Did you mean {before}{close}?" if close else ""
                raise AppLoadError(f"worker_class {name}: {module} has no {names}{question}")
            found = getattr(found, part)
            before += f"{part}."
    except AppLoadError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            raise AppLoadError(
                f"worker_class {name}: there is no module {error.name!r}: check the name, or set chdir or "
                "PYTHONPATH to its folder"
            )
        raise AppLoadError(f"worker_class {name} raised {describe(error)} on import", own_traceback())
    except BaseException as error:
        raise AppLoadError(f"worker_class {name} raised {describe(error)} on import", own_traceback())
    if not isinstance(found, type):
        raise AppLoadError(
            f"worker_class {name} is no class (its type is {type(found).__name__}): a worker class has prepare() and "
            "run(post)"
        )
    made = _call(f"worker_class {name}: {names}()", found)
    for method in ("prepare", "run"):
        if not callable(getattr(made, method, None)):
            raise AppLoadError(
                f"worker_class {name} has no method {method}: a worker class has prepare() and run(post)"
            )
    return _Foreign(name, made)


class _Foreign:
    """Somebody else's class: what it raises is told as its own, and not as a fault of the server."""

    def __init__(self, name: str, made: WorkerModule) -> None:
        self._name = name
        self._made = made

    def prepare(self) -> None:
        """Raises AppLoadError."""
        _call(f"worker_class {self._name}: prepare()", self._made.prepare)

    def run(self, post: Post) -> None:
        """Raises AppLoadError, and what the post raises."""
        _call(f"worker_class {self._name}: run()", self._made.run, post)


def _call(called: str, function: Callable[..., Any], *arguments: object) -> Any:
    """Call somebody else's code.  Raises AppLoadError with its traceback, without one where it could not be called."""
    try:
        return function(*arguments)
    except ServeError:  # ours, which has a sentence of its own
        raise
    except BaseException as error:
        has_run = error.__traceback__ is not None and error.__traceback__.tb_next is not None
        raise AppLoadError(f"{called} raised {describe(error)}", own_traceback() if has_run else "")
