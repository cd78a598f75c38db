"""A task that hung until its process was ended: an attempt has failed, and nothing else changes."""

from __future__ import annotations

import time

from qd.maintenance.overdue import charge
from qd.protocol import keys
from tests.maintenance.lab import Lab, rules

NOW = float(int(time.time()))


async def test_an_attempt_has_failed_for_lack_of_time(lab: Lab) -> None:
    hung, other = await lab.pending(), await lab.pending()
    await lab.take(owner="dead", lease_until=NOW + 15)
    assert (
        await charge(lab.link, ["other", "q"], rules(), "dead", [keys.task("q", hung)], now=NOW)
        == []
    )
    assert lab.state(hung) == "retry"
    assert lab.message(hung).terms.retried == 1
    assert lab.message(hung).terms.error == "context deadline exceeded"
    assert lab.field(hung, "qd_deaths") is None
    assert lab.state(other) == "active"
    key = keys.task("q", hung)
    assert await charge(lab.link, ["q"], rules(), "dead", [key], now=NOW) == [key]
    assert lab.message(hung).terms.retried == 1


async def test_without_retries_left_it_is_archived(lab: Lab) -> None:
    hung = await lab.pending(max_retry=0)
    await lab.take(owner="dead", lease_until=NOW + 15)
    assert await charge(lab.link, ["q"], rules(), "dead", [keys.task("q", hung)], now=NOW) == []
    assert lab.state(hung) == "archived"


async def test_what_somebody_else_has_taken_over_is_left_alone(lab: Lab) -> None:
    hung = await lab.pending()
    await lab.take(owner="another", lease_until=NOW + 15)
    left = [keys.task("q", hung), keys.task("q", "gone"), keys.task("unknown", "x")]
    assert await charge(lab.link, ["q"], rules(), "dead", left, now=NOW) == left
    assert lab.state(hung) == "active"
