"""Knows how many CPUs this process may use; does not know what they are used for.

The number of CPUs of the machine is the wrong number in a container or under ``taskset``: eight workers that share a
quota of one CPU only take it away from each other.
"""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> tuple[int, str]:
    """The number of CPUs that this process may keep busy, at least 1, and where that number is from.

    The second value is for people: "2 CPUs usable" or "cgroup quota of 1.5 CPUs".  ``root`` is where the files of
    /proc and /sys/fs/cgroup are looked for.
    """
    count = _allowed_cpus()
    quota = _cgroup_quota(root)
    if quota <= count - 1:  # otherwise it is the same number when rounded up, or a larger one
        return max(1, math.ceil(quota)), f"cgroup quota of {quota:g} CPU{'' if quota == 1 else 's'}"
    return count, f"{count} CPU{'' if count == 1 else 's'} usable"


def _allowed_cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux and FreeBSD have it, macOS has not
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _cgroup_quota(root: Path) -> float:
    """The smallest quota of this process's control group and of all groups around it, in CPUs; infinite if none."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            quotas += [_quota_v2(group) for group in _groups(root / "sys/fs/cgroup", path)]
        elif "cpu" in controllers.split(","):
            # The hierarchy is mounted under the full list of its controllers, mostly with a link named cpu.
            mount = next((m for m in (root / "sys/fs/cgroup" / n for n in (controllers, "cpu")) if m.is_dir()), None)
            quotas += [_quota_v1(group) for group in _groups(mount, path)] if mount else []
    return min(quotas)


def _groups(mount: Path, path: str) -> list[Path]:
    # Inside a container the path may be the host's and lead nowhere; the mount point itself is then the group of this
    # process, which is why every step up to it is looked at and missing ones do not matter.
    group = mount / path.strip("/")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(mount))]


def _quota_v2(group: Path) -> float:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _quota_v1(group: Path) -> float:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        return math.inf if quota < 0 else quota / int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
