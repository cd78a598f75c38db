"""Tables as people see them, the same as last time: a change of one is seen in review."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from qd import jsoncodec
from qd.protocol import keys
from qd.protocol.ops import limits
from qd.protocol.ops.limits import Bounds, Member
from tests.cli.conftest import SECOND, Cli, Store

GOLDEN = Path(__file__).parents[1] / "golden" / "tables"
DAY = 86_400

TABLES = {
    "queue-ls": "queue ls",
    "task-ls": "task ls",
    "task-ls-filtered": "task ls --error Timeout --payload n=1",
    "task-ls-count": "task ls --count",
    "dlq-ls": "dlq ls",
    "dlq-groups": "dlq groups",
    "dlq-requeue-dry-run": "dlq requeue --all --type mail:send --dry-run",
    "group-ls": "group ls",
    "limit-ls": "limit ls",
    "task-why": "task why waits",
    "schema-queue-pause": "schema queue pause",
    "config-show-log": "config show log",
}


@pytest.fixture
def settled(store: Store) -> Store:
    """Some of everything, at times that read the same for as long as a test takes."""
    for number in range(3):
        error = f"TimeoutError: shop {number} has not answered"
        payload = b'{"n": 1, "to": "ann@example.com"}'
        store.dead(f"dead-{number}", "mail:send", error=error, ago=3 * DAY, payload=payload)
    store.dead("poison", "pdf:render", error="", ago=5 * DAY, deaths=2)
    store.task("mail:send", {"n": 7}, task_id="later", process_in="50h", queue="low")
    store.task("mail:send", {"n": 8}, task_id="together", group="user:7", queue="low")
    waits = store.task("mail:send", {"n": 9}, task_id="waits").id
    since = (time.time_ns() // SECOND - 3 * 3600) * SECOND
    store.raw.hset(keys.task("default", waits), "pending_since", since)
    document = {"rate": 1.5, "burst": 20, "concurrency": 1, "per": "type", "key": ""}
    store.link.execute(limits.publish({"api": jsoncodec.dumps(document)}))
    members = [Member(keys.task("default", f"m{n}"), "a") for n in range(3)]
    store.link.execute(limits.ask(Bounds("api", rate=1.5, burst=20, slots=1), "w", members))
    return store


@pytest.mark.parametrize("name", TABLES)
def test_table_is_the_reviewed_one(
    name: str, cli: Cli, settled: Store, request: pytest.FixtureRequest
) -> None:
    """Run with --update-golden and look at the difference."""
    done = cli(*TABLES[name].split())
    shown = f"$ qd {TABLES[name]}\n{done.out}" + "".join(
        f"2> {one}\n" for one in done.err.splitlines()
    )
    golden = GOLDEN / f"{name}.txt"
    if request.config.getoption("--update-golden", default=False):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


def test_no_golden_table_is_left_of_a_command_that_is_gone() -> None:
    assert {page.stem for page in GOLDEN.iterdir()} == set(TABLES)
