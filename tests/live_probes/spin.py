"""Requests that leave a worker nobody who could do anything else, whatever its class."""

from __future__ import annotations

from pathlib import Path

from live import LiveServer, eventually
from wire import Wire


class Spin:
    """Requests that keep a worker busy until they are let go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._busy: list[Wire] = []

    def begin(self, server: LiveServer, count: int) -> None:
        """Send so many, and wait until all of them are in the application."""
        for _ in range(count):
            self._busy.append(Wire(server).get(f"/spin{self._path}"))
            eventually(lambda: self._reached() == len(self._busy))

    def _reached(self) -> int:
        path = self._path.with_name(self._path.name + ".reached")
        return path.stat().st_size if path.exists() else 0

    def end(self) -> None:
        """Let them go, and read their answers."""
        self._path.touch()
        for wire in self._busy:
            assert wire.reply().status == 200
            wire.close()
        self._busy.clear()
