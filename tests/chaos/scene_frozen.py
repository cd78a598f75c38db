"""A worker is stopped until its leases have long run out, and then reports what it has done."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_TASKS = 20
_REFUSED = re.compile("outcome done of task .* was not recorded: another worker has it")
_REPORTED_WITHIN = 10.0
"""Seconds after it woke up by which a worker has told Redis of all that it has ended."""


def run(stage: Stage) -> list[Measure]:
    """
    The tasks of the frozen worker run elsewhere, and still do when it wakes up and ends them: each
    acknowledgement that were accepted would take a task from under its new holder.
    """
    seconds = stage.profile.frozen
    fleet = stage.fleet()
    # With the watchdog of 15 s the frozen process would never wake up.
    first = fleet.add("a", processes=1, concurrency=_TASKS, watchdog="600s")
    [frozen] = first.wait_ready(1)
    stage.producer.send("gate", _TASKS)
    eventually(lambda: fleet.journal.count("start") == _TASKS, within=10)
    fleet.add("b", processes=1, concurrency=_TASKS)
    os.kill(frozen, signal.SIGSTOP)
    frozen_at = time.monotonic()
    eventually(lambda: fleet.journal.count("start") == 2 * _TASKS, within=30)
    elsewhere = time.monotonic() - frozen_at
    time.sleep(max(0.0, seconds - elsewhere))
    Path(f"{fleet.gate}-{frozen}").touch()
    os.kill(frozen, signal.SIGCONT)

    def refused() -> int:
        return len(_REFUSED.findall(first.log.read_text(errors="replace")))

    with suppress(AssertionError):
        eventually(lambda: refused() + _TASKS - stage.unsettled() >= _TASKS, _REPORTED_WITHIN)
    late = fleet.journal.count("end")
    accepted = _TASKS - stage.unsettled()
    fenced = refused()
    fleet.gate.touch()
    eventually(lambda: stage.unsettled() == 0, within=10)
    fleet.stop()
    again = fleet.journal.count("start") - 2 * _TASKS
    title = f"SIGSTOP of a worker for {seconds:g} s"
    return [
        Measure(
            f"{title}: stale acknowledgements accepted",
            "0",
            f"{accepted} of {late} handlers that ended late",
            accepted == 0,
        ),
        Measure(
            f"{title}: late outcomes that reached Redis and were refused by the fence",
            f"all {late}",
            str(fenced),
            fenced == late > 0,
        ),
        Measure(
            f"{title}: its tasks run elsewhere after", "20 s", f"{elsewhere:.1f} s", elsewhere <= 20
        ),
        Measure(f"{title}: third starts", "0", str(again), again == 0),
    ]
