"""Watches the application's files in a process of its own and tells the arbiter which have changed; does not reload.

``Watch`` is the arbiter's end.  ``main`` is the other process: watchfiles where it is installed, else polling.  It
writes lines of JSON: a list of changed paths, of which the first is empty and says that it watches, or a text to log.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import select
import signal
import site
import sys
from collections.abc import Iterable, Iterator
from logging import Logger
from time import monotonic, sleep
from typing import Any, NamedTuple

from server_core.arbiter.boot import fresh_interpreter, spawn
from server_core.errors import ConfigError
from server_core.process import set_title
from server_core.settings import Development

#: code, what configures it, templates (Django keeps them in memory, in development too) and translations
SUFFIXES = (".py", ".toml", ".env", ".html", ".jinja", ".jinja2", ".j2", ".mo")
#: directories, besides hidden ones and virtual environments, in which nobody edits code
IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
POLL_SECONDS = 0.5
#: the most that the start waits for the watcher: from then on no change is missed
READY_SECONDS = 10.0


class Changes(NamedTuple):
    """The absolute paths of files that have changed."""

    paths: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Which, in words; "" for none."""
        names = [os.path.relpath(path) for path in self.paths]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"{', '.join(names[:3])}{more} changed" if names else ""


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
        files = [os.path.abspath(path) for path in settings.reload_extra_files]
        self.descriptor, write = os.pipe()
        os.set_blocking(self.descriptor, False)
        request = json.dumps({"engine": engine, "roots": roots, "files": files, "parent": os.getpid()})
        self._pid = spawn(fresh_interpreter("server_core.reload.watcher", str(write), request), (write,))
        os.close(write)
        self._log = log
        self._buffer = b""
        select.select([self.descriptor], [], [], READY_SECONDS)
        if roots:
            log.debug("Watching %s with %s.", ", ".join(roots), engine)
        else:
            log.warning(
                "No directory is watched (reload), for / is too large: set chdir to the application's own folder."
            )

    def add(self, directory: str, pattern: str) -> None:
        """Watch these files too."""

    def read(self) -> Changes | None:
        """What has changed, nothing when a whole line has not come yet, None when no more will come."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return Changes(())
        if not data:
            self._pid = 0
            self._log.error("The watcher has died: changes are not noticed any more. Start the server again.")
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        changed: set[str] = set()
        for message in map(json.loads, lines):
            if isinstance(message, str):
                self._log.warning("%s", message)
            else:
                changed.update(message)
        return Changes(tuple(sorted(changed)))

    def end(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)
        if self._pid:
            try:
                os.kill(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _roots(directories: Iterable[str]) -> list[str]:
    """The directories without those inside others, without installed packages and without the whole file system."""
    unwanted = {"/", *(os.path.realpath(path) for path in site.getsitepackages())}
    roots: list[str] = []
    for directory in sorted({os.path.realpath(path) for path in directories if os.path.isdir(path)} - unwanted):
        if not any(directory.startswith(root + "/") for root in roots):
            roots.append(directory)
    return roots


# --- the other process


def main() -> None:
    """Entry point of the watcher's process: a descriptor to write to, and what to watch as JSON."""
    write, request = int(sys.argv[1]), json.loads(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM):  # may reach the whole family: the arbiter decides
        signal.signal(number, signal.SIG_IGN)
    set_title("watcher", "development")
    roots, files, parent = request["roots"], request["files"], request["parent"]
    changes = _by_watchfiles if request["engine"] == "watchfiles" else _by_polling
    try:
        for message in changes(roots, files, parent):
            os.write(write, json.dumps(message).encode("ascii") + b"\n")
    except BrokenPipeError:
        pass  # the arbiter is gone


def _by_watchfiles(roots: list[str], files: list[str], parent: int) -> Iterator[list[str] | str]:
    """Told by the system.  A time-out now and then, to notice that the arbiter is gone."""
    watchfiles: Any = importlib.import_module("watchfiles")
    before = _look(roots, files)
    yield []
    # Editors replace a file by a new one, so it is the directory that has to be watched.
    paths = {*roots, *(os.path.dirname(path) for path in files if os.path.isdir(os.path.dirname(path)))}
    first = True
    try:
        for changes in watchfiles.watch(
            *paths, watch_filter=None, debounce=200, step=50, rust_timeout=1000, yield_on_timeout=True
        ):
            if os.getppid() != parent:
                return
            changed = {path for _, path in changes if path in files or _is_watched(path, roots)}
            if first:  # what was changed before the system began to tell
                changed.update(_differences(before, _look(roots, files)))
                first = False
            if changed:
                yield sorted(changed)
    except (OSError, RuntimeError) as error:  # most likely the system's limit of watched directories
        yield f"watchfiles has given up ({error}): from now on every file is looked at (reload_engine poll)."
        yield from _by_polling(roots, files, parent)


def _by_polling(roots: list[str], files: list[str], parent: int) -> Iterator[list[str] | str]:
    """Look at every file.  Any difference counts: new, deleted, and older than before (a checkout)."""
    before = _look(roots, files)
    yield []
    took = 0.0
    while os.getppid() == parent:
        sleep(max(POLL_SECONDS, 5 * took))  # a large tree must not keep a processor busy
        began = monotonic()
        now = _look(roots, files)
        took = monotonic() - began
        if now != before:
            yield _differences(before, now)
            before = now


_Look = dict[str, tuple[int, int, int]]


def _differences(before: _Look, now: _Look) -> list[str]:
    return sorted(path for path in now.keys() | before.keys() if now.get(path) != before.get(path))


def _look(roots: list[str], files: list[str]) -> _Look:
    """What can be seen of each watched file without reading it."""
    found: _Look = {}
    for root in roots:
        for directory, inner, names in os.walk(root):
            inner[:] = [name for name in inner if not _is_foreign(directory, name)]
            for name in filter(_is_code, names):
                _note(os.path.join(directory, name), found)
    for path in files:
        _note(path, found)
    return found


def _note(path: str, found: _Look) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return
    found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)


def _is_watched(path: str, roots: list[str]) -> bool:
    """Would ``_look`` find this file?"""
    directory, name = os.path.split(path)
    root = next((root for root in roots if path.startswith(root + "/")), None)
    if root is None or not _is_code(name):
        return False
    while directory != root:
        directory, name = os.path.split(directory)
        if _is_foreign(directory, name):
            return False
    return True


def _is_code(name: str) -> bool:
    # Hidden files are locks and copies that editors make, but not .env.
    return name.endswith(SUFFIXES) and (not name.startswith(".") or name.endswith(".env"))


def _is_foreign(directory: str, name: str) -> bool:
    if name.startswith(".") or name in IGNORED:
        return True
    return os.path.exists(os.path.join(directory, name, "pyvenv.cfg"))
