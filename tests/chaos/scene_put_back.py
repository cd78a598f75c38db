"""Nobody has the time to wait: a second TERM, or a QUIT, puts back what runs at once."""

from __future__ import annotations

import signal
import time

from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_TASKS = 20
_WITHIN = 1.5


def run(stage: Stage) -> list[Measure]:
    fleet = stage.fleet()
    measures = []
    for name, signals in (
        ("TERM twice", (signal.SIGTERM, signal.SIGTERM)),
        ("QUIT", (signal.SIGQUIT,)),
    ):
        host = fleet.add(name.split()[0].lower(), shutdown_timeout="60s")
        before = fleet.journal.count("start")
        stage.producer.send("gate", _TASKS)
        eventually(lambda before=before: fleet.journal.count("start") == before + _TASKS, within=10)
        for number in signals[:-1]:
            host.retire(number)
            time.sleep(0.3)
        began = time.monotonic()
        code = host.stop(signals[-1])
        took = time.monotonic() - began
        waiting, held = (
            stage.client.llen(f"asynq:{{default}}:{one}") for one in ("pending", "active")
        )
        measures.append(
            Measure(
                f"{name} with {_TASKS} tasks running: exit code, put back, still held, time",
                f"0, {_TASKS}, 0, {_WITHIN:g} s",
                f"{code}, {waiting}, {held}, {took:.2f} s",
                (code, waiting, held) == (0, _TASKS, 0) and took <= _WITHIN,
            )
        )
        stage.client.delete("asynq:{default}:pending")
        for task_id in list(stage.producer.acked):
            stage.client.delete(f"asynq:{{default}}:t:{task_id}")
        stage.producer.acked.clear()
    return measures
