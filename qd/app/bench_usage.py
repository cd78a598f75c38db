"""CPU time of a program and its children, and of this host, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

_PROC = Path("/proc")


class Usage(Struct, frozen=True):
    """CPU seconds up to now: of the program with its children, of all CPUs busy and in all."""

    program: float
    busy: float
    all: float

    def since(self, before: Usage) -> Usage:
        """Return what came on top since an earlier look."""
        return Usage(self.program - before.program, self.busy - before.busy, self.all - before.all)


def usage(pid: int) -> Usage:
    """Look now. What cannot be read, as where there is no /proc, counts as nothing."""
    tick = os.sysconf("SC_CLK_TCK")
    program = sum(_of(one) for one in _family(pid)) / tick
    try:
        words = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return Usage(program, 0.0, 0.0)
    ticks = [int(word) for word in words]
    idle = ticks[3] + ticks[4]
    return Usage(program, (sum(ticks) - idle) / tick, sum(ticks) / tick)


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = (_PROC / f"{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _of(pid: int) -> int:
    try:
        # The name, in brackets, may have blanks.
        fields = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
