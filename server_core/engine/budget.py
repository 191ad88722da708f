"""Counts what all clients of one worker together occupy: memory and temporary files; decides nothing but yes or no.

Only bodies of requests and answers that their clients do not take are counted: the usual request never comes here.
"""

from __future__ import annotations

from threading import Lock

#: bytes of memory that leave a mark on the process when they are freed
MUCH = 16 << 20


class Budget:
    """``memory`` and ``space`` are bytes in use, of at most ``memory_limit`` and ``space_limit``.

    ``directory`` is where temporary files are made; None stands for the system's choice.
    """

    __slots__ = ("_lock", "_peak", "directory", "memory", "memory_limit", "space", "space_limit")

    def __init__(self, memory_limit: int, space_limit: int, directory: str | None = None) -> None:
        self.directory = directory
        self.memory = self.space = self._peak = 0
        self.memory_limit = memory_limit
        self.space_limit = space_limit
        self._lock = Lock()

    def take_memory(self, count: int, *, always: bool = False) -> bool:
        """Occupy ``count`` bytes of memory if there is room, or ``always``; was it done?"""
        with self._lock:
            if self.memory + count > self.memory_limit and not always:
                return False
            self.memory += count
            self._peak = max(self._peak, self.memory)
            return True

    def take_space(self, count: int, part: float = 1) -> bool:
        """Occupy ``count`` bytes of temporary files if there is room in this part of the space; was it done?"""
        with self._lock:
            if self.space + count > self.space_limit * part:
                return False
            self.space += count
            return True

    def has_fallen(self) -> bool:
        """Has much memory been freed since this was last true?  Then it is worth returning to the system."""
        if self._peak < MUCH or self.memory > self._peak // 4:
            return False
        self._peak = self.memory
        return True

    def give_back(self, memory: int, space: int) -> None:
        """Occupy so many bytes less."""
        with self._lock:
            self.memory -= memory
            self.space -= space
