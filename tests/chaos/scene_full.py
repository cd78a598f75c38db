"""Redis has no memory left: what waits must still be worked off."""

from __future__ import annotations

import time
from contextlib import suppress

from qd.errors import BrokerError
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually


def run(stage: Stage) -> list[Measure]:
    count = stage.profile.pending
    stage.producer.send("work", count, {"seconds": 0})
    used = stage.client.info("memory")["used_memory"]
    stage.client.config_set("maxmemory-policy", "noeviction")
    stage.client.config_set("maxmemory", used)
    refused = not _accepts(stage)
    fleet = stage.fleet()
    began = time.monotonic()
    # Readiness is not waited for: memory comes back as soon as the first tasks are done.
    fleet.add("a", concurrency=50)
    with suppress(AssertionError):
        eventually(lambda: stage.unsettled() == 0, within=120)
    took = time.monotonic() - began
    left = stage.unsettled()
    stage.client.config_set("maxmemory", 0)
    fleet.stop()
    verdict = stage.verdict(fleet, [])
    return [
        Measure(
            f"maxmemory reached with {count:,} pending: left, lost, run again",
            "0, 0, 0",
            f"{left}, {len(verdict.lost)}, {verdict.extra} ({took:.1f} s"
            f"{'' if refused else '; it was not full'})",
            refused and not left and not verdict.lost and not verdict.extra,
        )
    ]


def _accepts(stage: Stage) -> bool:
    with suppress(BrokerError):
        return bool(stage.producer.send("work", 1, {"seconds": 0}))
    return False
