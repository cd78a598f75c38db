"""Redis is away for six seconds, just when a thousand handlers come to their end."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.chaos.stage import Measure, Stage
from tests.support.servers import RedisServer
from tests.support.wait import eventually

_AWAY = 6.0
_SETTLED_WITHIN = 1.0

AOF = ("--appendonly", "yes")


def frozen(stage: Stage) -> list[Measure]:
    return _run(stage, "stopped by a signal", RedisServer.pause, RedisServer.resume)


def restarted(stage: Stage) -> list[Measure]:
    return _run(stage, "killed, back with its AOF", RedisServer.kill, RedisServer.start)


def _run(
    stage: Stage,
    how: str,
    leave: Callable[[RedisServer], object],
    come_back: Callable[[RedisServer], object],
) -> list[Measure]:
    count = stage.profile.outage_tasks
    fleet = stage.fleet()
    for name in ("a", "b"):
        fleet.add(name, concurrency=count // 4)
    stage.producer.send("gate", count)
    eventually(lambda: fleet.journal.count("start") == count, within=60)
    leave(stage.server)
    left_at = time.monotonic()
    time.sleep(0.5)
    fleet.gate.touch()
    eventually(lambda: fleet.journal.count("end") == count, within=_AWAY - 1)
    time.sleep(_AWAY - (time.monotonic() - left_at))
    come_back(stage.server)
    back_at = time.monotonic()
    eventually(lambda: stage.unsettled() == 0, within=60)
    settled = time.monotonic() - back_at
    fleet.stop()
    verdict = stage.verdict(fleet, [])
    title = f"Redis away for {_AWAY:g} s ({how}) over the end of {count:,} handlers"
    return [
        Measure(
            f"{title}: run again, lost",
            "0, 0",
            f"{verdict.extra}, {len(verdict.lost)}",
            not verdict.extra and not verdict.lost,
        ),
        Measure(
            f"{title}: settled after it is back",
            f"{_SETTLED_WITHIN:g} s",
            f"{settled:.2f} s",
            settled <= _SETTLED_WITHIN,
        ),
    ]
