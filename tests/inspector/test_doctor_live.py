"""The store check beside workers and producers at work: no false alarm, and real damage is seen."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.inspector.doctor.doctor import Doctor, Mended
from qd.protocol import keys
from tests.inspector.apps.load import QUEUES
from tests.inspector.damage import JUNK
from tests.support.procs import running
from tests.support.servers import RedisServer
from tests.support.wait import eventually

LOOKS = 200


@pytest.fixture
def at_work(server: RedisServer, raw: redis.Redis, tmp_path: Path) -> Iterator[Doctor]:
    """A doctor on a system in which tasks end, fail, wait and are merged."""
    config = tmp_path / "qd.yaml"
    settings = {
        "redis": {"addrs": [server.url]},
        "queues": dict.fromkeys(QUEUES, 1),
        "worker": {"processes": 2, "shutdown_timeout": "1s"},
        "retry": {"policy": "fixed", "initial": "1s"},
        "scheduler": {"group": {"grace_period": "1s", "max_delay": "1s", "max_size": 10}},
    }
    config.write_text(json.dumps(settings))
    app = "tests.inspector.apps.load"
    worker = (sys.executable, "-m", "qd", "worker", "--app", app, "-c", str(config))
    with running(*worker), running(sys.executable, "-m", app, server.url) as producer:
        producer.out.wait("producing", 20)
        eventually(lambda: raw.exists(keys.processed("low"), keys.processed("mail")) == 2, 20)
        with closing(open_link(parse_addresses([server.url]))) as link:
            yield Doctor(link)


@pytest.mark.timeout(120)
def test_a_system_at_work_gives_no_false_alarm(
    at_work: Doctor, raw: redis.Redis, record_property: Callable[[str, object], None]
) -> None:
    def processed() -> int:
        return sum(int(raw.get(keys.processed(queue)) or 0) for queue in QUEUES)  # type: ignore[arg-type]

    before, began = processed(), time.monotonic()
    looks, looked, false_alarms = 0, 0, []
    while looks < LOOKS or processed() == before:
        report = at_work.look()
        looks += 1
        looked += report.tasks
        false_alarms += report.findings
    done, took = processed() - before, time.monotonic() - began
    assert false_alarms == []
    assert looked > 0
    record_property(
        "doctor",
        f"{len(false_alarms)} false alarms in {looks} looks at {looked} tasks "
        f"while {done} ended, {done / took:.0f} a second",
    )


@pytest.mark.timeout(120)
def test_damage_is_found_and_mended_while_the_system_is_at_work(
    at_work: Doctor, raw: redis.Redis
) -> None:
    lock = keys.unique_prefix("mail") + "fine:0123"
    raw.set(lock, "gone", ex=900)
    raw.hset(keys.task("low", "unread"), mapping={"msg": JUNK, "state": "scheduled"})
    raw.zadd(keys.scheduled("low"), {"unread": time.time() + 900})
    raw.zadd(keys.retry("low"), {"ghost": time.time() + 900})
    found = at_work.look().findings
    assert sorted((one.rule, one.name) for one in found) == [
        ("ghost", "ghost"),
        ("leaked-lock", lock),
        ("undecodable", "unread"),
    ]
    assert {result for _, result in at_work.mend(found)} == {Mended.REPAIRED}
    assert not raw.exists(lock)
    assert raw.zscore(keys.retry("low"), "ghost") is None
    assert at_work.look().findings == []
