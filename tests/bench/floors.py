"""Knows what the project promises beside its peers, and what a run says about each promise.

Pure: rows and facts in, verdicts out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from figures import Fact, Round, Row, compare, find
from peers import ASGI, GEVENT, GRANIAN, GTHREAD, ONE_FLEET, SYNC, UVICORN, WAITING, WSGI_PEERS

SHOP_IDLE, SHOP_MEMORY = "shop memory, idle", "shop memory, visited"
SHOP_START, SHOP_RELOAD, IDLE = "shop start", "shop reload", "idle connection"
PRELOADED = "gunicorn gthread --preload"

# figure -> where it is in a row; of these two at least what is promised, of all others at most that
_AT_LEAST = ("rate", "per CPU")
_FIGURES: dict[str, Callable[[Round], float | None]] = {
    "rate": lambda one: one.load.rate,
    "per CPU": lambda one: one.load.requests / one.cpu_seconds if one.cpu_seconds else None,
    "p50": lambda one: one.load.p50_ms,
    "p99": lambda one: one.load.p99_ms,
    "memory": lambda one: one.worker_mb,
    "balance": lambda one: one.balance,
}
_WORDS = {
    "per CPU": "requests per CPU second",
    "p50": "p50",
    "p99": "p99",
    "memory": "memory of a worker",
    "balance": "fullest worker",
    "fact": "",
}


@dataclass(frozen=True)
class Floor:
    """A promise: the server's rate, or what it does in a CPU second, is at least ``times`` the peer's, or another
    figure at most that.

    Without a peer ``times`` is the bound itself.  ``of`` is "fact" for what was found out without load; ``against`` is
    the peer's workload if it is not the same one.
    """

    workload: str
    server: str
    peer: str
    times: float
    of: str = "rate"
    connections: int = ONE_FLEET
    against: str = ""

    def __str__(self) -> str:
        where = self.workload if self.connections in (0, ONE_FLEET) else f"{self.workload}, {self.connections}"
        what = (
            f"{where}: {self.server}" if self.of in ("rate", "fact") else f"{where}: {_WORDS[self.of]}, {self.server}"
        )
        bound = f"{self.times:g} × {self.peer}" if self.peer else f"{self.times:g}"
        if self.against:
            bound += f" in {self.against}"
        return f"{what} at {'least' if self.of in _AT_LEAST else 'most'} {bound}"


def _all_frameworks() -> Iterable[Floor]:
    for workload in ("flask_hello", "django_hello"):
        for ours in (SYNC, GTHREAD):
            yield Floor(workload, ours, GRANIAN, 1.05)
            yield Floor(workload, ours, "gunicorn gthread", 2.5)
        for connections in (4, 512):
            yield Floor(workload, SYNC, GRANIAN, 1.4, connections=connections)


_BULK_PEERS = (GRANIAN, "gunicorn gthread", "uwsgi", "waitress")
_MIXED_PEERS = (GRANIAN, "gunicorn gthread", "gunicorn gevent", "uwsgi", "waitress")
_MANY_WORKERS = tuple(name for name in WSGI_PEERS if name != "waitress")

FLOORS = (
    Floor("plaintext", SYNC, GRANIAN, 1.2),
    Floor("plaintext", SYNC, "nginx", 0.75),
    Floor("plaintext", SYNC, GRANIAN, 2, connections=512),
    Floor("plaintext", SYNC, GRANIAN, 1.05, connections=1),
    Floor("plaintext", GTHREAD, SYNC, 0.95),
    Floor("plaintext", SYNC, "gunicorn sync", 1, of="memory"),
    *(Floor("plaintext", GEVENT, "gunicorn gevent", 2, connections=count) for count in (1, 32, 512)),
    *(Floor(workload, GEVENT, "gunicorn gevent", 1) for workload in (WAITING, "sleep50", "sleep5x1")),
    *(Floor("closing", SYNC, peer, 1) for peer in WSGI_PEERS),
    *(Floor("tls", SYNC, f"gunicorn {kind}", 1) for kind in ("sync", "gthread", "gevent")),
    # The client is the bottleneck there.
    *(
        Floor("handshakes", SYNC, f"gunicorn {kind}", 1, of="per CPU", connections=8)
        for kind in ("sync", "gthread", "gevent")
    ),
    Floor("logged", SYNC, SYNC, 0.9, against="plaintext"),
    Floor("logged", SYNC, GRANIAN, 1.3),
    Floor("asgi", ASGI, UVICORN, 0.95),
    *_all_frameworks(),
    Floor("flask_hello", SYNC, "gunicorn sync", 1, of="memory"),
    Floor("django_hello", SYNC, "gunicorn sync", 1, of="memory"),
    *(
        Floor(workload, SYNC, GRANIAN, 1, of=figure)
        for workload in ("open_flask", "open_django")
        for figure in ("p50", "p99")
    ),
    *(
        floor
        for workload in (WAITING, "sleep50", "sleep5x1")
        for floor in (Floor(workload, GTHREAD, GRANIAN, 1), Floor(workload, GTHREAD, GRANIAN, 1.1, of="p99"))
    ),
    Floor("mixed", GTHREAD, "", 5, of="p99"),
    *(Floor("mixed", GTHREAD, peer, 1, of="p99") for peer in _MIXED_PEERS),
    *(Floor("mb1", SYNC, peer, 1) for peer in _BULK_PEERS),
    *(Floor("file100", SYNC, peer, 1, connections=4) for peer in _BULK_PEERS),
    *(Floor("upload20", SYNC, peer, 1, connections=4) for peer in _BULK_PEERS),
    *(
        floor
        for workload in ("plaintext_two", "flask_two")
        for floor in (
            *(Floor(workload, SYNC, peer, 1, connections=64) for peer in _MANY_WORKERS),
            Floor(workload, SYNC, "", 1.2, of="balance", connections=64),
        )
    ),
    Floor(SHOP_IDLE, SYNC, "gunicorn gthread", 0.5, of="fact", connections=0),
    Floor(SHOP_IDLE, SYNC, GRANIAN, 1, of="fact", connections=0),
    Floor(SHOP_MEMORY, SYNC, GRANIAN, 1, of="fact", connections=0),
    Floor(SHOP_START, SYNC, "gunicorn gthread", 1, of="fact", connections=0),
    Floor(SHOP_RELOAD, SYNC, "gunicorn gthread", 1, of="fact", connections=0),
    *(Floor(IDLE, ours, "", 4, of="fact", connections=0) for ours in (SYNC, GTHREAD)),
)


@dataclass(frozen=True)
class Verdict:
    """What a run says about a floor.  ``reached`` is None when the run cannot say; ``why`` tells why."""

    floor: Floor
    measured: float | None
    reached: bool | None
    why: str = ""


class _Unknown(Exception):
    """There is no figure; the message says why, and ``failed`` whether it is the server's own doing."""

    def __init__(self, why: str, failed: bool = False) -> None:
        super().__init__(why)
        self.failed = failed


def judge(floor: Floor, rows: Iterable[Row], facts: Sequence[Fact] = ()) -> Verdict:
    known = list(rows)
    if (
        floor.peer
        and floor.of != "fact"
        and not find(known, floor.peer, floor.against or floor.workload, floor.connections)
    ):
        return Verdict(floor, None, None, "not measured")
    try:
        ours = _figure(floor, floor.server, floor.workload, known, facts)
    except _Unknown as reason:
        # Our own failure is a floor missed; a peer's failure proves nothing either way.
        return Verdict(floor, None, False if reason.failed else None, str(reason))
    try:
        theirs = _figure(floor, floor.peer, floor.against or floor.workload, known, facts) if floor.peer else [1.0]
    except _Unknown as reason:
        return Verdict(floor, None, None, str(reason))
    measured = compare(ours, theirs)
    if measured is None:
        return Verdict(floor, None, None, f"{floor.peer} has nothing to compare with")
    return Verdict(floor, measured, measured >= floor.times if floor.of in _AT_LEAST else measured <= floor.times)


def _figure(floor: Floor, server: str, workload: str, rows: Sequence[Row], facts: Sequence[Fact]) -> list[float]:
    """That of each round."""
    if floor.of == "fact":
        fact = next((fact for fact in facts if (fact.server, fact.name) == (server, workload)), None)
        if fact is None:
            raise _Unknown("not measured")
        if fact.value is None:
            raise _Unknown(f"{server} failed: {fact.failure}", failed=True)
        return fact.values
    row = find(rows, server, workload, floor.connections)
    if row is None:
        raise _Unknown("not measured")
    if not row.counts:
        raise _Unknown(f"{server} failed: {row.failure}" if row.failure else f"{server} made errors", failed=True)
    values = [value for one in row.rounds if (value := _FIGURES[floor.of](one)) is not None]
    if not values:
        raise _Unknown(f"{_WORDS[floor.of]} of {server} was not readable")
    return values
