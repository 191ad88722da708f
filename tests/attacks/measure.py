"""Knows the order of one attack: quiet, onset, measure under attack, stop, measure again; and the server's memory.

The normal client and the attacker are processes of their own.  How a server is started is the caller's business.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from figures import Stat, family, parse_stat, pss_mb

from attacks import TESTS, slowhttptest
from attacks.attacker import NICE, RAMP_SECONDS, STALL_SECONDS
from attacks.catalogue import Attack
from attacks.tally import LIMIT, Felt, Result, Siege

SAMPLE_SECONDS = 0.25
SAMPLES_PER_LISTING = 6  # the kernel takes its time to list ten thousand connections
_LISTENS = "0A"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Plan:
    """How long each part lasts, in seconds, and how large the attacks are.

    ``onset`` begins with the attack, ``seconds`` when all its connections are established.  Memory is read again
    ``rest`` seconds after the end.
    """

    seconds: float = 8.0
    quiet: float = 2.0
    onset: float = 2.0
    after: float = 2.0
    rest: float = 5.0
    scale: float = 1.0


def measure(server: str, root: int, port: int, attack: Attack, plan: Plan, quiet: Felt | None = None) -> Result:
    """Attack the server that listens on ``port`` and whose first process is ``root``."""
    result = Result(server, attack.name)
    if attack.tool and (reason := slowhttptest.missing()):
        result.skipped = reason
        return result
    before = processes(root)
    result.memory_before = memory(root)
    result.quiet = quiet or ask(port, plan.quiet)
    begin = _with_tool if attack.tool else _with_swarm
    with _watching(root, port, result), ThreadPoolExecutor(1) as other:
        onset = other.submit(ask, port, plan.onset)
        with begin(attack, port, attack.count(plan.scale)) as stop:
            result.onset = onset.result()
            ticks, began = _ticks(root), time.monotonic()
            result.attacked = ask(port, plan.seconds * attack.lasts)
            # A process that was lost takes its ticks with it.
            result.cpu = max(_ticks(root) - ticks, 0) / _TICK / (time.monotonic() - began)
            result.siege = stop()
    ended = time.monotonic()
    result.after = ask(port, plan.after)
    time.sleep(max(plan.rest - (time.monotonic() - ended), 0.0))
    result.memory_after = memory(root)
    result.lost = len(before - processes(root))
    return result


def ask(port: int, seconds: float) -> Felt:
    """What a normal client feels for so long."""
    if not seconds:
        return Felt()
    told = subprocess.run(
        [sys.executable, "-m", "attacks.client", str(port), str(seconds)],
        cwd=TESTS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=seconds + LIMIT + 30,
        check=True,
    )
    words = json.loads(told.stdout)
    return Felt(tuple(words["latencies"]), words["failures"])


@contextmanager
def _with_swarm(attack: Attack, port: int, count: int) -> Iterator[Callable[[], Siege]]:
    """Our own attacker; returns when the attack is under way."""
    with subprocess.Popen(
        [sys.executable, "-m", "attacks.attacker", attack.name, str(port), str(count)],
        cwd=TESTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None

        def stop() -> Siege:
            told, _ = process.communicate(timeout=30)
            return Siege(**json.loads(told))

        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"the attacker came to an end of its own: {attack.name}")
            yield stop
        finally:
            process.kill()


@contextmanager
def _with_tool(attack: Attack, port: int, count: int) -> Iterator[Callable[[], Siege]]:
    """The same with slowhttptest, of which we know only what the kernel says."""
    most = 0
    with subprocess.Popen(
        ["nice", "-n", str(NICE), *slowhttptest.command(attack, port, count)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:

        def stop() -> Siege:
            held = min(slowhttptest.connections_to(port), most)
            if process.poll() is not None:
                raise RuntimeError(f"slowhttptest came to an end of its own, with status {process.returncode}")
            return Siege(wanted=count, established=most, held=held, ended=most - held)

        try:
            began = grown = time.monotonic()
            while most < count and time.monotonic() < min(grown + STALL_SECONDS, began + RAMP_SECONDS):
                time.sleep(0.1)
                if (now := min(slowhttptest.connections_to(port), count)) > most:
                    most, grown = now, time.monotonic()
            yield stop
        finally:
            process.kill()


@contextmanager
def _watching(root: int, port: int, result: Result) -> Iterator[None]:
    """Looks at the memory of the server, and at what its connections hold, all the time; keeps the largest."""
    over = threading.Event()

    def look() -> None:
        for number in count():
            if over.wait(SAMPLE_SECONDS):
                break
            result.memory_peak = max(result.memory_peak, memory(root))
            if number % SAMPLES_PER_LISTING == 0:
                result.queued_peak = max(result.queued_peak, queued(port))

    result.memory_peak = result.memory_before
    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def processes(root: int) -> set[int]:
    """The living processes of the server."""
    return family(_stats(), root)


def memory(root: int) -> float:
    """The proportional set size of all of them, in MB."""
    total = 0.0
    for pid in processes(root):
        with suppress(OSError, ValueError):  # it has just ended
            total += pss_mb(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return total


def queued(port: int, table: str = "") -> float:
    """Bytes in the kernel's buffers of the server's connections, in MB, which no process shows: answers that were sent
    and not taken, requests that were not read.  The kernel needs somewhat more memory than that for them."""
    local, total = f"0100007F:{port:04X}", 0
    for line in (table or Path("/proc/net/tcp").read_text()).splitlines():
        fields = line.split(None, 5)
        if fields[1] == local and fields[3] != _LISTENS:
            unsent, _, unread = fields[4].partition(":")
            total += int(unsent, 16) + int(unread, 16)
    return total / (1 << 20)


def _ticks(root: int) -> int:
    stats = _stats()
    return sum(stats[pid].ticks for pid in family(stats, root))


def _stats() -> dict[int, Stat]:
    found: dict[int, Stat] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                found[int(entry)] = parse_stat(Path(f"/proc/{entry}/stat").read_text(errors="replace"))
    return found
