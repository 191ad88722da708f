"""Knows what the figures of an attack mean: latencies, percentiles, the bound.  Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

LIMIT = 2.0  # seconds: a request that is not answered by then has failed
BOUND_MS = 50.0  # how far p99 under attack may lie above the quiet p99


@dataclass(frozen=True)
class Felt:
    """What the normal client felt: a latency for each answer, in milliseconds, and why the others failed."""

    latencies: tuple[float, ...] = ()
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        return len(self.latencies) + sum(self.failures.values())

    @property
    def share(self) -> float:
        """How much of what was asked was served in time."""
        return len(self.latencies) / self.asked if self.asked else 0.0

    @property
    def p99(self) -> float:
        return percentile(self._all, 99)

    @property
    def median(self) -> float:
        return percentile(self._all, 50)

    @property
    def worst(self) -> float:
        return max(self._all, default=0.0)

    @property
    def _all(self) -> Sequence[float]:
        """A failure counts as the whole limit, or a server that drops requests would look quick."""
        return [*self.latencies, *[LIMIT * 1000] * sum(self.failures.values())]


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: the smallest value that is not exceeded by ``percent`` of all; 0 when there is none."""
    if not values:
        return 0.0
    return sorted(values)[max(ceil(len(values) * percent / 100), 1) - 1]


@dataclass(frozen=True)
class Siege:
    """What the attacker saw: connections ``wanted``, ever ``established``, ``held`` at the end, ``ended`` by the
    server, ``failed`` to be made; ``sent`` and ``received`` bytes."""

    wanted: int = 0
    established: int = 0
    held: int = 0
    ended: int = 0
    failed: int = 0
    sent: int = 0
    received: int = 0


@dataclass
class Result:
    """One server under one attack.  Memory in MB: before, at its peak during the attack, and some seconds after.

    ``onset`` is what was felt while the attack grew, ``attacked`` when it was there.
    """

    server: str
    attack: str
    quiet: Felt = field(default_factory=Felt)
    attacked: Felt = field(default_factory=Felt)
    after: Felt = field(default_factory=Felt)
    onset: Felt = field(default_factory=Felt)
    siege: Siege = field(default_factory=Siege)
    memory_before: float = 0.0
    memory_peak: float = 0.0
    memory_after: float = 0.0
    queued_peak: float = 0.0  # in the kernel's buffers of the server's connections
    cpu: float = 0.0  # of one core, that the server used during the attack
    lost: int = 0  # of the server's processes, gone at the end
    skipped: str = ""  # why there is no figure

    @property
    def added(self) -> float:
        """How much the attack adds to p99, in milliseconds."""
        return self.attacked.p99 - self.quiet.p99

    @property
    def holds(self) -> bool:
        """Did the server keep the promise: everybody served, and p99 within the bound?"""
        return not self.skipped and not self.attacked.failures and self.attacked.asked > 0 and self.added <= BOUND_MS
