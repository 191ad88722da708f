"""Looks at the files of certificates while the server runs, and lays renewed ones where all processes take them from.

The arbiter does this: it has kept the right to read them.  They are tried first, and bad ones are left where they are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from logging import Logger

from server_core.certificates import paths_of, read_all
from server_core.errors import ServeError
from server_core.settings import Tls
from server_core.shelf import Shelf
from server_core.tls import judge

#: how often the files are looked at; a change counts when it is found a second time
LOOK_SECONDS = 1.0
#: a certificate and its key may be replaced one after the other: so long nobody is told that they do not match
PATIENCE_SECONDS = 5.0

#: of each file what tells that it is another one, or may be read now (ctime); None for one that is not there
Status = tuple[tuple[int, int, int, int, int] | None, ...]


class Renewal:
    """``shelf`` gets renewed certificates; made before anybody reads the files to serve with them.

    ``adhoc`` is the certificate of our own, if there is one: it stays, beside files that may change.  Raises
    ConfigError.
    """

    def __init__(self, settings: Tls, origins: Mapping[str, str], adhoc: bytes, shelf: Shelf, log: Logger) -> None:
        self._settings = settings
        self._origins = origins
        self._adhoc = adhoc
        self._shelf = shelf
        self._log = log
        self._paths = paths_of(settings)
        self._used = self._seen = self._status()
        self._laid = _digest(read_all(settings, origins, adhoc).as_bytes())
        self._since = 0.0  # when they changed for the last time
        self._next = 0.0

    def look(self, now: float) -> None:
        """Called at least once a second; ``now`` in monotonic seconds.  Never waits and never raises."""
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        seen = self._status()
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif seen != self._used:
            self._take(now)

    def _take(self, now: float) -> None:
        """The files are others than those that are used, and have not changed for a while."""
        try:
            material = read_all(self._settings, self._origins, self._adhoc)
            judge(self._settings, self._origins, material)
            if self._status() != self._seen:
                return
            data = material.as_bytes()
            is_new = _digest(data) != self._laid
            if is_new:
                self._shelf.lay(data)
                self._laid = _digest(data)
        except (ServeError, OSError) as error:
            if now - self._since < PATIENCE_SECONDS:
                return
            why = str(error).rstrip(".")
            self._log.error("Changed certificate files are not taken up, those from before are used on: %s.", why)
        else:
            changed = [path for path, new, old in zip(self._paths, self._seen, self._used, strict=True) if new != old]
            if is_new:
                self._log.info("Certificates were renewed (%s): new connections get them.", ", ".join(changed))
        self._used = self._seen

    def _status(self) -> Status:
        found: list[tuple[int, int, int, int, int] | None] = []
        for path in self._paths:
            try:
                status = os.stat(path)
            except OSError:
                found.append(None)
            else:
                times = status.st_mtime_ns, status.st_ctime_ns
                found.append((status.st_dev, status.st_ino, status.st_size, *times))
        return tuple(found)


def _digest(data: bytes) -> bytes:
    """Instead of the keys themselves, which the arbiter does not need to keep."""
    return hashlib.sha256(data).digest()
