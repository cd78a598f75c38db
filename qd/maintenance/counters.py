"""What the loops of one scheduler process have done since it started."""

from __future__ import annotations

from msgspec import Struct


class Counters(Struct):
    """Numbers of tasks; `reclaimed` and `aggregated` count groups' sets, `ticks` cron tasks, `called` tasks at limits, `continued` links."""

    forwarded: int = 0
    put_back: int = 0
    retried: int = 0
    archived: int = 0
    ghosts: int = 0
    adopted: int = 0
    reclaimed: int = 0
    deleted: int = 0
    aggregated: int = 0
    ticks: int = 0
    called: int = 0
    continued: int = 0
