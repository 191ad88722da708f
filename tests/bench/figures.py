"""Knows what the figures of a run mean: wrk's words, the kernel's words, strace's words, medians and ratios.

Pure: text and values in, values out.  Nothing here starts, reads or waits for anything.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}


@dataclass(frozen=True)
class Load:
    """What the client said after one round.  ``errors`` holds only what really happened: kind of error -> how often.

    Where some requests ask for a slow answer, they have figures of their own, and the others are of the fast ones.
    """

    rate: float
    p99_ms: float
    requests: int
    errors: dict[str, int] = field(default_factory=dict)
    p50_ms: float | None = None
    slow_p50_ms: float | None = None
    slow_p99_ms: float | None = None


def milliseconds(text: str) -> float:
    """wrk writes a duration with the unit that suits its size: ``389.71us``, ``1.02ms``, ``1.69s``, ``1.10m``."""
    if not (match := re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text.strip())):
        raise ValueError(f"not a duration as wrk writes it: {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def parse_wrk(text: str, harmless: Iterable[str] = ()) -> Load:
    """Reads what ``wrk --latency`` printed; ValueError, with wrk's own last line, if it never got to its figures."""
    rate = re.search(r"^Requests/sec:\s*([\d.]+)", text, re.M)
    p50, p99 = (re.search(rf"^\s+{percent}%\s+(\S+)", text, re.M) for percent in (50, 99))
    requests = re.search(r"^\s*(\d+) requests in ", text, re.M)
    if not (rate and p50 and p99 and requests):
        raise ValueError(f"wrk printed no figures: {(text.strip().splitlines() or ['nothing at all'])[-1]}")
    errors: dict[str, int] = {}
    if sockets := re.search(r"Socket errors: (.*)", text):
        errors |= {kind: int(count) for kind, count in re.findall(r"(\w+) (\d+)", sockets[1])}
    if statuses := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
        errors["status"] = int(statuses[1])
    happened = {kind: n for kind, n in errors.items() if n and kind not in harmless}
    return Load(float(rate[1]), milliseconds(p99[1]), int(requests[1]), happened, milliseconds(p50[1]))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    if not values:
        raise ValueError("there is no percentile of nothing")
    return sorted(values)[max(ceil(len(values) * percent / 100), 1) - 1]


def steady_load(fast: Sequence[float], slow: Sequence[float], errors: Mapping[str, int], seconds: float) -> Load:
    """What the client with the steady arrivals has seen: milliseconds from the due time to the end of the answer."""
    if not fast:
        raise ValueError("no request was answered")
    return Load(
        rate=(len(fast) + len(slow)) / seconds,
        p99_ms=percentile(fast, 99),
        requests=len(fast) + len(slow),
        errors={kind: n for kind, n in errors.items() if n},
        p50_ms=percentile(fast, 50),
        slow_p50_ms=percentile(slow, 50) if slow else None,
        slow_p99_ms=percentile(slow, 99) if slow else None,
    )


def complaint(output: str) -> str:
    """The line of a failed program's output that says most: its last exception, else its last error, else its end."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for wanted in (r"[\w.]*(Error|Exception): ", r"(?i)(fatal )?error\b", r".*\w"):
        if found := [line for line in lines if re.match(wanted, line)]:
            return found[-1][:200]
    return "it printed nothing"


def pss_mb(rollup: str) -> float:
    """The proportional set size in ``/proc/PID/smaps_rollup``: memory shared by N processes counts 1/N for each."""
    if not (match := re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)):
        raise ValueError("no Pss line in smaps_rollup")
    return int(match[1]) / 1024


@dataclass(frozen=True)
class Stat:
    """The four facts that we want of one ``/proc/PID/stat``; the processor time is in clock ticks."""

    state: str
    parent: int
    session: int
    ticks: int


def parse_stat(text: str) -> Stat:
    """The second field is the program's name in parentheses, and may itself hold spaces and parentheses."""
    fields = text.rpartition(")")[2].split()
    return Stat(state=fields[0], parent=int(fields[1]), session=int(fields[3]), ticks=int(fields[11]) + int(fields[12]))


def family(stats: Mapping[int, Stat], root: int) -> set[int]:
    """The living processes of one server: its session, and whoever descends from it in a session of its own."""
    members = {pid for pid, stat in stats.items() if pid == root or stat.session == root}
    grown = True
    while grown:
        born = {pid for pid, stat in stats.items() if stat.parent in members} - members
        members |= born
        grown = bool(born)
    return {pid for pid in members if pid in stats and stats[pid].state not in "ZX"}


def leaves(stats: Mapping[int, Stat], members: Iterable[int]) -> set[int]:
    """The members that are nobody's parent: the workers of a pre-fork server."""
    found = set(members)
    return found - {stats[pid].parent for pid in found}


_ESTABLISHED = "01"


def established(table: str, port: int) -> set[int]:
    """The inodes of the open connections of the server on 127.0.0.1, of what ``/proc/net/tcp`` says.

    The address counts too: a client with another address of loopback may have the same port.
    """
    local = f"{int.from_bytes(bytes((127, 0, 0, 1)), sys.byteorder):08X}:{port:04X}"
    lines = [line.split() for line in table.splitlines()[1:]]
    return {int(fields[9]) for fields in lines if (fields[1], fields[3]) == (local, _ESTABLISHED)}


def imbalance(held: Iterable[int], workers: int) -> float | None:
    """How many times its fair share of connections the fullest worker has; 1 is even.  A worker that holds none need
    not be among those that hold some."""
    counts = list(held)
    return max(counts) * workers / sum(counts) if sum(counts) else None


def parse_strace(text: str) -> dict[str, int]:
    """system call -> how often, of the table of ``strace -c``; columns: share, seconds, each, calls, [errors], name."""
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", text, re.M)
    return {name: int(calls) for calls, name in rows if name != "total"}


def pick_cores(allowed: Iterable[int], siblings: Mapping[int, set[int]]) -> tuple[int, int]:
    """One core for the server and another for wrk, if it can be not the other half of the same physical core."""
    server, *others = sorted(allowed, reverse=True)
    if not others:
        raise ValueError("the benchmark needs two processor cores, one for the server and one for wrk")
    apart = [core for core in others if core not in siblings.get(server, set())]
    return server, (apart or others)[-1]


@dataclass(frozen=True)
class Round:
    """One server under load for a few seconds, and what it took: memory in MB, processor time in seconds."""

    load: Load
    tree_mb: float
    worker_mb: float | None
    cpu_seconds: float
    seconds: float
    balance: float | None = None  # how many times its share of the connections the fullest worker has


@dataclass
class Row:
    """All rounds of one server with one workload and one number of connections."""

    server: str
    version: str
    workload: str
    connections: int
    rounds: list[Round] = field(default_factory=list)
    keeps_alive: bool = True
    failure: str = ""
    arrivals: float | None = None  # the steady rate at which requests came, if they did

    @property
    def errors(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for one in self.rounds:
            for kind, count in one.load.errors.items():
                total[kind] = total.get(kind, 0) + count
        return total

    @property
    def counts(self) -> bool:
        """A server that failed, or that made a single error, has no figure that may be compared."""
        return bool(self.rounds) and not self.failure and not self.errors

    @property
    def rates(self) -> list[float]:
        return [one.load.rate for one in self.rounds]

    @property
    def rate(self) -> float:
        return median(self.rates)

    @property
    def p99_ms(self) -> float:
        return median(one.load.p99_ms for one in self.rounds)

    @property
    def p50_ms(self) -> float | None:
        return _median(one.load.p50_ms for one in self.rounds)

    @property
    def slow_p50_ms(self) -> float | None:
        return _median(one.load.slow_p50_ms for one in self.rounds)

    @property
    def slow_p99_ms(self) -> float | None:
        return _median(one.load.slow_p99_ms for one in self.rounds)

    @property
    def balance(self) -> float | None:
        return _median(one.balance for one in self.rounds)

    @property
    def tree_mb(self) -> float:
        return median(one.tree_mb for one in self.rounds)

    @property
    def worker_mb(self) -> float | None:
        return _median(one.worker_mb for one in self.rounds)

    @property
    def per_cpu_second(self) -> float | None:
        """Requests for a second of the server's own processor time: what is left when others use the core too."""
        return _median(one.load.requests / one.cpu_seconds for one in self.rounds if one.cpu_seconds)

    @property
    def core_share(self) -> float:
        """How much of its core the server had; well below one means that it waited, or that others took it."""
        return median(one.cpu_seconds / one.seconds for one in self.rounds)


def find(rows: Iterable[Row], server: str, workload: str, connections: int) -> Row | None:
    wanted = (server, workload, connections)
    return next((row for row in rows if (row.server, row.workload, row.connections) == wanted), None)


def ratio(row: Row | None, other: Row | None) -> float | None:
    """How many times the other's rate; None unless both have a figure that counts."""
    if row is None or other is None or not row.counts or not other.counts:
        return None
    return compare(row.rates, other.rates)


def compare(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """How many times theirs ours are.

    The median of the ratios of the rounds: in a round the servers follow each other at once, so that a machine that is
    slow for a while is slow for all of them.  Where there are not as many rounds of both, the ratio of the medians.
    """
    if len(ours) == len(theirs) and all(theirs):
        return median(mine / other for mine, other in zip(ours, theirs, strict=True))
    other = median(theirs)
    return median(ours) / other if other else None


PER_REQUEST = "per request"  # the unit of system calls


@dataclass
class Fact:
    """What was found out about one server without load: a number for each time it was looked at."""

    name: str
    unit: str
    server: str
    version: str
    values: list[float] = field(default_factory=list)
    failure: str = ""
    remark: str = ""

    @property
    def value(self) -> float | None:
        return _median(self.values) if not self.failure else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
