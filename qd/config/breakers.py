"""The settings of one circuit breaker: when it opens, and when it closes again."""

from __future__ import annotations

from msgspec import Struct

from qd.config.kinds import DURATION, LIMIT_KEY, NUMBER, TEXTS, WHOLE
from qd.config.setting import setting


class BreakerSettings(Struct, frozen=True):
    """A breaker that all hosts share; a task that must wait uses no slot and no retry."""

    types: tuple[str, ...] = setting((), 'task types behind it, as in ["sms:*"]', TEXTS)
    key: str = setting(
        "",
        "a breaker for each value found here, as in payload.channel or headers.platform",
        LIMIT_KEY,
    )
    failures: int = setting(5, "failures in a row that open it; 0 = any number", WHOLE, minimum=0)
    ratio: float = setting(
        0.0,
        "this share of failures within the window opens it as well; 0 = any",
        NUMBER,
        minimum=0,
        maximum=1,
    )
    window: float = setting(60.0, "ratio: what is counted together", DURATION, minimum=1)
    runs: int = setting(20, "ratio: runs in a window from which on it holds", WHOLE, minimum=1)
    open: float = setting(30.0, "how long its tasks wait before some may try", DURATION, minimum=1)
    probes: int = setting(3, "tasks that may try at a time then", WHOLE, minimum=1, maximum=1000)
    successes: int = setting(2, "successes of them that close it", WHOLE, minimum=1)
