"""Knows how affinity and control groups say how many CPUs there are; the files are real, the kernel's are not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server_core.config.cpus import usable_cpus

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
NO_QUOTA = (ALLOWED, "1 CPU usable" if ALLOWED == 1 else f"{ALLOWED} CPUs usable")


def files(root: Path, contents: dict[str, str]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_without_control_groups_the_affinity_decides(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == NO_QUOTA


def test_without_arguments_this_machine_is_asked() -> None:
    count, reason = usable_cpus()
    assert 1 <= count <= ALLOWED
    assert reason


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or ALLOWED < 2, reason="needs an affinity to take away")
def test_cpus_that_the_affinity_excludes_do_not_count(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cpus(tmp_path) == (1, "1 CPU usable")
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    "contents",
    [
        {"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "50000 100000\n"},
        # A quota on a group around this one binds it as well.
        {
            "proc/self/cgroup": "0::/outer/app\n",
            "sys/fs/cgroup/outer/app/cpu.max": "max 100000\n",
            "sys/fs/cgroup/outer/cpu.max": "50000 100000\n",
        },
        # In a container the path may be that of the host, and the mount point is the group.
        {"proc/self/cgroup": "0::/docker/f00\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"},
        {
            "proc/self/cgroup": "2:memory:/\n4:cpu,cpuacct:/app\n",
            "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "100000\n",
        },
        {
            "proc/self/cgroup": "4:cpu:/docker/f00\n0::/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    ],
)
@pytest.mark.skipif(ALLOWED < 2, reason="one CPU is no more than any quota")
def test_the_smallest_quota_of_the_control_groups_decides(tmp_path: Path, contents: dict[str, str]) -> None:
    assert usable_cpus(files(tmp_path, contents)) == (1, "cgroup quota of 0.5 CPUs")


@pytest.mark.skipif(ALLOWED < 2, reason="one CPU is no more than any quota")
def test_a_quota_is_rounded_up_to_whole_cpus(tmp_path: Path) -> None:
    quota = (ALLOWED - 1.5) * 100000
    root = files(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{quota:.0f} 100000"})
    assert usable_cpus(root)[0] == ALLOWED - 1


@pytest.mark.parametrize(
    "contents",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{100000 * (ALLOWED + 1)} 100000\n"},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 0\n"},
        {"proc/self/cgroup": "nonsense\n"},
        {"proc/self/cgroup": "4:cpu:/\n"},
        {
            "proc/self/cgroup": "4:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        # Only the controller called cpu has quotas, and only groups on the way up from this process count.
        {
            "proc/self/cgroup": "3:cpuset:/\n0::/app\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/other/cpu.max": "50000 100000\n",
            "sys/fs/cpu.max": "50000 100000\n",
        },
    ],
)
def test_without_a_quota_below_it_the_affinity_decides(tmp_path: Path, contents: dict[str, str]) -> None:
    assert usable_cpus(files(tmp_path, contents)) == NO_QUOTA
