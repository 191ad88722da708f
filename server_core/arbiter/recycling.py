"""Decides which workers have lived long enough, by age and by memory; after how many requests, they know themselves.

A worker that is tired serves on until its replacement is ready, and the plan replaces one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from logging import Logger

from server_core.arbiter.children import Worker
from server_core.arbiter.plan import Phase
from server_core.settings import Workers

MEGABYTE = 1 << 20


class Recycling:
    """``resident`` tells the bytes that a process has in memory, None where that is not known."""

    def __init__(self, limits: Workers, resident: Callable[[int], int | None], log: Logger) -> None:
        self._limits = limits
        self._resident = resident
        self._log = log

    def look(self, workers: Iterable[Worker], now: float) -> None:
        """Once a second: who is to be replaced, or to die at once."""
        limits = self._limits
        for worker in workers:
            if worker.phase is Phase.BOOTING or worker.why_killed:
                continue
            size = 0
            if limits.max_worker_memory or limits.max_worker_memory_hard:
                size = self._resident(worker.pid) or 0
            if size > limits.max_worker_memory_hard > 0:
                most = f"{limits.max_worker_memory_hard / MEGABYTE:g} MB (max_worker_memory_hard)"
                worker.why_killed = (
                    f"it has {size / MEGABYTE:.0f} MB in memory, more than {most}; the stacks of its threads follow"
                )
            elif worker.phase is Phase.READY and not worker.tired:
                self._judge(worker, size, now)

    def _judge(self, worker: Worker, size: int, now: float) -> None:
        limits = self._limits
        why = ""
        if 0 < limits.max_worker_age < now - worker.since - worker.chance * limits.max_worker_age_jitter:
            why = f"has served for {now - worker.since:.0f}s (max_worker_age)"
        elif size > limits.max_worker_memory > 0:
            why = (
                f"has {size / MEGABYTE:.0f} MB in memory, more than {limits.max_worker_memory / MEGABYTE:g} MB "
                "(max_worker_memory)"
            )
        if why:
            worker.tired = True
            self._log.info("Worker %d (pid %d) %s: it will be replaced.", worker.slot, worker.pid, why)
