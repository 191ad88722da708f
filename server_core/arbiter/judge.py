"""Decides whether a process has been silent or slow for too long, and ends it so that it tells why; not what then."""

from __future__ import annotations

import select
import signal
from collections.abc import Iterable
from logging import Logger
from time import monotonic

from server_core.arbiter.children import Generation, Worker, is_reaped
from server_core.arbiter.plan import Mode, Phase
from server_core.settings import Timeouts
from server_core.signals import SignalPipe

#: an import that takes longer is told
LONG_SECONDS = 10.0
#: from SIGABRT, which makes a silent worker tell its stacks, to SIGKILL
ABORT_SECONDS = 2.0
#: how long ending at once may take
STOP_SECONDS = 2.0


def judge_imports(generations: Iterable[Generation], now: float, timeouts: Timeouts, log: Logger) -> None:
    """Give up imports that take too long, and tell of each that takes long: somebody may be waiting for it."""
    limit = timeouts.boot_timeout
    for generation in generations:
        if generation.imported or not generation.pid:
            continue
        age = now - generation.started
        if age > limit:
            generation.why_killed = (
                f"it was still importing or inspecting the application after {limit:g}s (boot_timeout); the stack "
                "follows"
            )
            kill(generation, now)
        elif age > LONG_SECONDS and not generation.told_long:
            generation.told_long = True
            words = "Generation %d is still importing or inspecting the application after %gs"
            log.warning(f"{words}; boot_timeout (%gs) ends that.", generation.number, LONG_SECONDS, limit)


def why_kill(worker: Worker, now: float, timeouts: Timeouts, silence: float, mode: Mode) -> str:
    """Why this worker should die, or "" when nothing is wrong with it; ``silence``: seconds without a sign of life."""
    age = now - worker.since
    if worker.phase is Phase.BOOTING and age > timeouts.boot_timeout:
        return f"it was not ready after {timeouts.boot_timeout:g}s (boot_timeout)"
    if worker.phase is Phase.READY and 0 < timeouts.timeout < min(age, silence):
        return (
            f"it has shown no sign of life for {timeouts.timeout:g}s (timeout): a request takes too long, "
            "or the process hangs; the stacks of its threads follow"
        )
    if worker.phase is Phase.LEAVING and mode == Mode.STOP and age > STOP_SECONDS:
        return "it was killed, because it did not end at once when it was told to"
    if worker.phase is Phase.LEAVING and age > timeouts.graceful_timeout:
        return (
            f"it was killed, because its requests were not finished {timeouts.graceful_timeout:g}s after it was "
            "told to leave (graceful_timeout)"
        )
    return ""


def kill(target: Generation | Worker, now: float) -> None:
    """First SIGABRT, at which faulthandler tells all stacks, later SIGKILL."""
    if not target.killed:
        target.killed = now
        target.send(signal.SIGABRT)
        target.send(signal.SIGCONT)  # a stopped process hears it only when it goes on
    elif now - target.killed > ABORT_SECONDS:
        target.send(signal.SIGKILL)


def end_all(generations: list[Generation], workers: list[Worker], signals: SignalPipe) -> None:
    """Nothing of ours outlives us: not even for the moment in which a new server would find the port in use."""
    everyone: list[Generation | Worker] = [*generations, *workers]
    for generation in generations:
        generation.close()
    for each in reversed(everyone):
        each.send(signal.SIGKILL)
    # Forkservers are our children, and a dead forkserver's workers are too (Linux).
    until = monotonic() + STOP_SECONDS
    for pid in [each.pid for each in everyone if each.pid]:
        while not is_reaped(pid) and monotonic() < until:
            select.select([signals.descriptor], [], [], 0.1)
            signals.read()
