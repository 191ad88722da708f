"""Watches the application's files in a process of its own and tells the arbiter which have changed; does not reload.

``Watch`` is the arbiter's end.  ``main`` is the other process: watchfiles where it is installed, else polling.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import site
import sys
from collections.abc import Iterable, Iterator
from logging import Logger
from time import sleep
from typing import Any

from server_core.arbiter.boot import fresh_interpreter, spawn
from server_core.errors import ConfigError
from server_core.settings import Development

SUFFIXES = (".py", ".toml", ".env")
#: directories in which nobody edits code
IGNORED = frozenset(
    {"__pycache__", "node_modules", "site-packages", ".git", ".hg", ".venv", "venv", ".tox", ".mypy_cache", ".idea"}
)
POLL_SECONDS = 0.5


class Watch:
    """A running watcher; ``descriptor`` can be read when something has changed."""

    def __init__(self, settings: Development, directories: Iterable[str], log: Logger) -> None:
        """Start watching.  Raises ConfigError when the engine that was asked for is not installed."""
        engine = settings.reload_engine
        installed = importlib.util.find_spec("watchfiles") is not None
        if engine == "watchfiles" and not installed:
            raise ConfigError('reload_engine watchfiles needs watchfiles: pip install "prefork-serve[reload]"')
        if engine == "auto":
            engine = "watchfiles" if installed else "poll"
        roots = _roots(directories)
        self.descriptor, write = os.pipe()
        os.set_blocking(self.descriptor, False)
        request = json.dumps({"engine": engine, "roots": roots, "files": list(settings.reload_extra_files)})
        self._pid = spawn(fresh_interpreter("server_core.reload.watcher", str(write), request), (write,))
        os.close(write)
        self._log = log
        self._buffer = b""
        log.debug("Watching %s with %s.", ", ".join(roots), engine)

    def read(self) -> str | None:
        """What has changed, in words; "" when a whole line has not come yet, None when no more will come."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return ""
        if not data:
            self._log.error("The watcher has died: changes are not noticed any more. Start the server again.")
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        changed = sorted({path for line in lines for path in json.loads(line)})
        if not changed:
            return ""
        names = ", ".join(os.path.relpath(path) for path in changed[:3])
        return f"{names}{f' and {len(changed) - 3} more' if len(changed) > 3 else ''} changed"

    def end(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)
        try:
            os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _roots(directories: Iterable[str]) -> list[str]:
    """The directories without those inside others, and without installed packages."""
    installed = tuple(os.path.realpath(path) for path in [*site.getsitepackages(), sys.prefix])
    roots: list[str] = []
    for directory in sorted({os.path.realpath(path) for path in directories if os.path.isdir(path)}):
        inside = any(directory == root or directory.startswith(root.rstrip("/") + "/") for root in roots)
        if not inside and directory not in installed and directory != "/":
            roots.append(directory)
    return roots


def main() -> None:
    """Entry point of the watcher's process: a descriptor to write to, and what to watch as JSON."""
    write, request = int(sys.argv[1]), json.loads(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM):  # may reach the whole family: the arbiter decides
        signal.signal(number, signal.SIG_IGN)
    changes = _by_watchfiles if request["engine"] == "watchfiles" else _by_polling
    for changed in changes(request["roots"], request["files"]):
        try:
            os.write(write, json.dumps(sorted(changed)).encode("ascii") + b"\n")
        except BrokenPipeError:
            return


def _by_watchfiles(roots: list[str], files: list[str]) -> Iterator[set[str]]:
    """Told by the system.  A time-out now and then, to notice that the arbiter is gone."""
    watchfiles: Any = importlib.import_module("watchfiles")
    extra = {os.path.realpath(path) for path in files}
    parent = os.getppid()
    paths = [*roots, *(path for path in files if os.path.exists(path))]
    for changes in watchfiles.watch(
        *paths, watch_filter=None, debounce=200, step=50, rust_timeout=1000, yield_on_timeout=True
    ):
        if os.getppid() != parent:
            return
        changed = {path for _, path in changes if _watched(path, roots) or os.path.realpath(path) in extra}
        if changed:
            yield changed


def _by_polling(roots: list[str], files: list[str]) -> Iterator[set[str]]:
    """Look at every file.  Any difference counts: new, deleted, and older than before (a checkout)."""
    parent = os.getppid()
    before = _look(roots, files)
    while os.getppid() == parent:
        sleep(POLL_SECONDS)
        now = _look(roots, files)
        if now != before:
            yield {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}
            before = now


def _watched(path: str, roots: list[str]) -> bool:
    if not path.endswith(SUFFIXES):
        return False
    for root in roots:
        if path.startswith(root.rstrip("/") + "/"):
            return not IGNORED.intersection(path[len(root) :].split("/"))
    return False


def _look(roots: list[str], files: list[str]) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for root in roots:
        for directory, inner, names in os.walk(root):
            inner[:] = [name for name in inner if name not in IGNORED and not _is_environment(directory, name)]
            for name in names:
                if name.endswith(SUFFIXES):
                    _note(os.path.join(directory, name), found)
    for path in files:
        _note(path, found)
    return found


def _is_environment(directory: str, name: str) -> bool:
    return os.path.exists(os.path.join(directory, name, "pyvenv.cfg"))


def _note(path: str, found: dict[str, tuple[int, int, int]]) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return
    found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
