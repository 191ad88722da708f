"""Looks at the files of certificates while the server runs, and lays renewed ones where all processes take them from.

The arbiter does this: it has kept the right to read them.  They are tried first, each certificate for itself: in the
place of one that cannot be used stays what was read last, and the others are renewed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from logging import Logger
from math import inf
from typing import Generic, TypeVar

from server_core.certificates import Material, Pair, Piece, read_authorities, read_default, read_named
from server_core.errors import ServeError
from server_core.settings import Tls
from server_core.shelf import Shelf
from server_core.tls import Again, judge_authorities, judge_pair

#: how often the files are looked at; a change counts when it is found a second time
LOOK_SECONDS = 1.0
#: a certificate and its key may be replaced one after the other: so long nobody is told that they do not match
PATIENCE_SECONDS = 5.0

#: of each file what tells that it is another one, or may be read now (ctime); None for one that is not there
Status = tuple[tuple[int, int, int, int, int] | None, ...]

T = TypeVar("T", bound=Pair | Piece | None)


class Renewal:
    """``shelf`` gets renewed certificates; made before anybody reads the files to serve with them.

    ``adhoc`` is the certificate of our own, if there is one: it stays, beside files that may change.  Raises
    ConfigError.
    """

    def __init__(self, settings: Tls, origins: Mapping[str, str], adhoc: bytes, shelf: Shelf, log: Logger) -> None:
        self._shelf = shelf
        self._log = log

        def try_pair(pair: Pair | None) -> None:
            judge_pair(pair, settings, origins)

        def read_by_name(path: str, key: str) -> Callable[[], Pair]:
            return lambda: read_named(path, key, origins)

        files = (settings.certfile, settings.keyfile) if settings.has_files else ()
        self._default = _Watched(files, lambda: read_default(settings, origins, adhoc), try_pair)
        self._by_name = {
            name: _Watched((path, key), read_by_name(path, key), try_pair)
            for name, path, key in settings.sni_certificates
        }
        self._authorities = _Watched(
            (settings.ca_certs,), lambda: read_authorities(settings, origins), judge_authorities
        )
        self._laid = self._material()
        self._next = 0.0
        self._again = Again()

    def look(self, now: float) -> None:
        """Called at least once a second; ``now`` in monotonic seconds.  Never waits and never raises."""
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        whys = [self._default.look(now), *(pair.look(now) for pair in self._by_name.values())]
        whys.append(self._authorities.look(now))
        for why in dict.fromkeys(whys):  # several names may have the same files
            if why:
                self._log.error("Changed certificate files are not taken up, those from before are used on: %s.", why)
        material = self._material()
        if material != self._laid and self._again.is_due(now):
            self._lay(material, now)

    def _lay(self, material: Material, now: float) -> None:
        try:
            self._shelf.lay(material.as_bytes())
        except OSError as error:
            if self._again.later(now, str(error)):
                self._log.error(
                    "Renewed certificates cannot be given to the workers yet, those from before are used on: %s.",
                    error.strerror,
                )
            return
        pieces = zip(material.pieces, self._laid.pieces, strict=True)
        changed = dict.fromkeys(new.path for new, old in pieces if new.data != old.data)
        self._laid, self._again = material, Again()
        self._log.info("Certificates were renewed (%s): new connections get them.", ", ".join(changed))

    def _material(self) -> Material:
        by_name = {name: watched.used for name, watched in self._by_name.items()}
        return Material(self._default.used, by_name, self._authorities.used)


class _Watched(Generic[T]):
    """What is read from some files together.  ``used`` is what they held when it could be used the last time.

    ``read`` and ``judge`` raise ServeError or OSError; the former is called at once, too.  Of the ``paths`` may be
    missing what no setting names.
    """

    def __init__(self, paths: tuple[str | None, ...], read: Callable[[], T], judge: Callable[[T], None]) -> None:
        self._paths = [path for path in paths if path]
        self._read = read
        self._judge = judge
        self._seen = self._status()
        self.used = read()
        self._since = 0.0  # when they changed for the last time
        self._again = Again(inf)

    def look(self, now: float) -> str:
        """Try them when they have changed and then stayed the same for a while; returns why they cannot be used, if
        somebody should hear it now, without a full stop."""
        seen = self._status()
        if seen != self._seen:
            self._seen, self._since, self._again = seen, now, Again()
            return ""
        if not self._again.is_due(now):
            return ""
        try:
            found = self._read()
            self._judge(found)
        except (ServeError, OSError) as error:
            why = str(error).rstrip(".")
            return why if now - self._since >= PATIENCE_SECONDS and self._again.later(now, why) else ""
        if self._status() == self._seen:  # else it may be half of one state and half of another
            self.used = found
        self._again = Again(inf)
        return ""

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
