"""The settings of one limit: how often its tasks start, and how many run at a time."""

from __future__ import annotations

from msgspec import Struct

from qd.config.kinds import LIMIT_KEY, QUEUES, RATE, TEXTS, WHOLE, choice
from qd.config.setting import setting


class LimitSettings(Struct, frozen=True):
    """A limit that holds over all hosts; a task that must wait uses no slot and no retry."""

    rate: float = setting(0.0, "starts per time, as in 90/min; 0 = any", RATE, minimum=0)
    burst: int = setting(
        1, "starts at once after a quiet time", WHOLE, minimum=1, maximum=1_000_000
    )
    concurrency: int = setting(
        0, "tasks that run at a time; 0 = any", WHOLE, minimum=0, maximum=1_000_000
    )
    types: tuple[str, ...] = setting(
        (), 'task types under it, as in ["stripe:*"]; handlers name it with limit=', TEXTS
    )
    queues: tuple[str, ...] = setting((), "queues under it, without the prefix", QUEUES)
    per: str = setting(
        "global",
        "what is counted by itself: everything together, each type or each queue",
        choice("global", "type", "queue"),
    )
    key: str = setting(
        "",
        "and each value found here, as in payload.tenant_id or headers.tenant",
        LIMIT_KEY,
    )
    fair_by: str = setting(
        "",
        "those who wait take turns: one task for each value found here, as in payload.tenant_id",
        LIMIT_KEY,
    )
