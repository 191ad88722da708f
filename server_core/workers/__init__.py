"""The worker classes, each declared once; a worker class decides how to wait for bytes, never how to answer them.

``WORKER_CLASSES`` is the only list of them.  A class is a module with two functions: ``prepare()`` runs in the
forkserver before the application is imported, ``run(post)`` in the worker until it has drained.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from server_core.errors import ConfigError

if TYPE_CHECKING:
    from server_core.workers.post import Post


class WorkerModule(Protocol):
    """What the module of a worker class has to offer."""

    def prepare(self) -> None:
        """Whatever must happen before the application is imported."""

    def run(self, post: Post) -> None:
        """Serve until drained."""


class WorkerClass(NamedTuple):
    """A worker class as it is declared: where it is, whether its worker runs several requests at once, how it waits."""

    module: str
    concurrent: bool
    summary: str


WORKER_CLASSES = {
    "sync": WorkerClass("server_core.workers.sync", False, "one request at a time"),
    "gthread": WorkerClass("server_core.workers.gthread", True, "a pool of threads on one readiness loop"),
}


def find_worker_class(name: str, origin: str) -> WorkerClass:
    """Look up a worker class; raises ConfigError with a suggestion for one that does not exist."""
    found = WORKER_CLASSES.get(name)
    if found is None:
        close = difflib.get_close_matches(name, WORKER_CLASSES, n=1)
        question = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(
            f"worker_class: there is no worker class {name!r} ({origin}): there are "
            f"{' and '.join(WORKER_CLASSES)}.{question}"
        )
    return found


def load_worker_class(name: str) -> WorkerModule:
    """Import the module of a worker class that is known to exist."""
    return importlib.import_module(WORKER_CLASSES[name].module)
