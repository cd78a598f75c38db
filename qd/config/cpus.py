"""How many CPUs this process may really use: its affinity, and the quota of its control group."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def usable_cpus(membership: Path = _MEMBERSHIP, mount: Path = _MOUNT) -> int:
    """
    Return the number of CPUs worth starting a process for, at least 1.

    A quota of one and a half CPUs counts as 2: one process alone could not use it up. Control
    groups of version 1 and 2 are understood; what cannot be read sets no limit.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    for folder in _folders(membership, mount):
        cpus = min(cpus, _quota_v2(folder), _quota_v1(folder))
    return max(1, math.ceil(cpus))


def _folders(membership: Path, mount: Path) -> Iterator[Path]:
    """Yield the group's folder and all above it: the tightest quota of them counts."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        # In a container the path is often the host's; then only the mount itself can be read.
        for root in _roots(mount, controllers):
            folder = root / group.lstrip("/")
            yield folder
            yield from (parent for parent in folder.parents if parent.is_relative_to(root))


def _roots(mount: Path, controllers: str) -> tuple[Path, ...]:
    if controllers:
        return (mount / controllers, mount / "cpu")
    return (mount, mount / "unified")


def _quota_v2(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _quota_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return math.inf if quota <= 0 else quota / period
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
