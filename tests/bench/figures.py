"""Knows what the figures of a run mean: wrk's words, the kernel's words about memory, medians, ratios and floors.

Pure: text and values in, values out.  Nothing here starts, reads or waits for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from peers import ONE_FLEET, WAITING

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}


@dataclass(frozen=True)
class Load:
    """What wrk said after one round.  ``errors`` holds only what really happened: kind of error -> how often."""

    rate: float
    p99_ms: float
    requests: int
    errors: dict[str, int] = field(default_factory=dict)


def milliseconds(text: str) -> float:
    """wrk writes a duration with the unit that suits its size: ``389.71us``, ``1.02ms``, ``1.69s``, ``1.10m``."""
    if not (match := re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text.strip())):
        raise ValueError(f"not a duration as wrk writes it: {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def parse_wrk(text: str) -> Load:
    """Reads what ``wrk --latency`` printed; ValueError, with wrk's own last line, if it never got to its figures."""
    rate = re.search(r"^Requests/sec:\s*([\d.]+)", text, re.M)
    p99 = re.search(r"^\s+99%\s+(\S+)", text, re.M)
    requests = re.search(r"^\s*(\d+) requests in ", text, re.M)
    if not (rate and p99 and requests):
        raise ValueError(f"wrk printed no figures: {(text.strip().splitlines() or ['nothing at all'])[-1]}")
    errors: dict[str, int] = {}
    if sockets := re.search(r"Socket errors: (.*)", text):
        errors |= {kind: int(count) for kind, count in re.findall(r"(\w+) (\d+)", sockets[1])}
    if statuses := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
        errors["status"] = int(statuses[1])
    return Load(float(rate[1]), milliseconds(p99[1]), int(requests[1]), {kind: n for kind, n in errors.items() if n})


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
    def tree_mb(self) -> float:
        return median(one.tree_mb for one in self.rounds)

    @property
    def worker_mb(self) -> float | None:
        known = [one.worker_mb for one in self.rounds if one.worker_mb is not None]
        return median(known) if known else None

    @property
    def per_cpu_second(self) -> float | None:
        """Requests for a second of the server's own processor time: what is left when others use the core too."""
        known = [one.load.requests / one.cpu_seconds for one in self.rounds if one.cpu_seconds]
        return median(known) if known else None

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
    return row.rate / other.rate if other.rate else None


@dataclass(frozen=True)
class Floor:
    """A promise: the server's rate is at least ``times`` the peer's, or its worker's memory is below that."""

    workload: str
    server: str
    peer: str
    times: float
    memory: bool = False

    def __str__(self) -> str:
        if self.memory:
            return f"{self.workload}: memory of a worker, {self.server} below {self.peer}"
        return f"{self.workload}: {self.server} at least {self.times:g} × {self.peer}"


_SYNC, _GTHREAD = "prefork-serve sync", "prefork-serve gthread"

FLOORS = (
    Floor("plaintext", _SYNC, "granian", 1.1),
    Floor("plaintext", _SYNC, "gunicorn gthread", 8),
    Floor("flask_hello", _SYNC, "granian", 1),
    Floor("flask_hello", _SYNC, "gunicorn gthread", 2),
    Floor("django_hello", _SYNC, "granian", 1),
    Floor("django_hello", _SYNC, "gunicorn gthread", 2),
    Floor("plaintext", _GTHREAD, _SYNC, 0.9),
    Floor(WAITING, _GTHREAD, "granian", 0.9),
    Floor("plaintext", _SYNC, "gunicorn sync", 1, memory=True),
    Floor("flask_hello", _SYNC, "gunicorn sync", 1, memory=True),
    Floor("django_hello", _SYNC, "gunicorn sync", 1, memory=True),
)


@dataclass(frozen=True)
class Verdict:
    """What a run says about a floor.  ``reached`` is None when the run cannot say; ``why`` tells why."""

    floor: Floor
    measured: float | None
    reached: bool | None
    why: str = ""


def judge(floor: Floor, rows: Iterable[Row], connections: int = ONE_FLEET) -> Verdict:
    known = list(rows)
    pair = []
    for name in (floor.server, floor.peer):
        row = find(known, name, floor.workload, connections)
        if row is None:
            return Verdict(floor, None, None, "not measured")
        if row.failure or row.errors:
            # Our own failure is a floor missed; a peer's failure proves nothing either way.
            return Verdict(floor, None, False if name == floor.server else None, f"{name} failed or made errors")
        pair.append(row)
    ours, peer = pair
    if floor.memory:
        if ours.worker_mb is None or not peer.worker_mb:
            return Verdict(floor, None, None, "memory was not readable")
        measured = ours.worker_mb / peer.worker_mb
        return Verdict(floor, measured, measured < floor.times)
    times = ratio(ours, peer)
    return Verdict(floor, times, None if times is None else times >= floor.times)
