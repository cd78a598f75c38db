"""`app.schedules`: periodic tasks that are added, changed and removed while schedulers run."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from qd import App
from qd.errors import CronError, PayloadTooLarge, UsageError
from qd.protocol import keys
from tests.app.conftest import MakeApp
from tests.support.wait import eventually


def test_what_is_added_is_kept_until_it_is_removed(app: App) -> None:
    assert app.schedules.add("nightly", "0 3 * * *", "report", {"a": 1}, queue="low", jitter="30s")
    assert not app.schedules.add("nightly", "0 4 * * *", "report", queue="low")
    (found,) = app.schedules.added().values()
    assert (found.name, found.spec, found.source, found.payload) == (
        "nightly", "0 4 * * *", "runtime", None,
    )  # fmt: skip
    assert app.schedules.remove("nightly")
    assert not app.schedules.remove("nightly")
    assert app.schedules.added() == {}


def test_a_handle_can_stand_for_its_task_type(app: App) -> None:
    @app.task("report")
    def report() -> None: ...

    app.schedules.add("nightly", "@daily", report)
    assert app.schedules.added()["nightly"].task_type == "report"


def test_a_change_keeps_the_time_since_when_ticks_count(app: App) -> None:
    app.schedules.add("nightly", "0 3 * * *", "report")
    since = app.schedules.added()["nightly"].since
    app.schedules.add("nightly", "0 4 * * *", "report")
    assert app.schedules.added()["nightly"].since == since is not None


def test_the_queue_of_an_entry_cannot_change(app: App) -> None:
    app.schedules.add("nightly", "@daily", "report", queue="low")
    with pytest.raises(UsageError, match="in the queue low, and would change to high"):
        app.schedules.add("nightly", "@daily", "report", queue="high")
    app.schedules.add("nightly", "@hourly", "report")
    assert app.schedules.added()["nightly"].options.queue == "low"
    app.schedules.add("other", "@daily", "report")
    with pytest.raises(UsageError, match="in the queue of its task type"):
        app.schedules.add("other", "@daily", "report", queue="high")


def test_an_entry_takes_the_place_of_a_declared_one_in_the_same_queue(make_app: MakeApp) -> None:
    app = make_app(schedule={"nightly": {"spec": "@daily", "type": "report", "queue": "low"}})
    app.schedules.add("nightly", "@hourly", "report")
    assert app.schedules.added()["nightly"].options.queue == "low"
    assert not app.schedules.add("nightly", "@every 2h", "report")
    assert not app.schedules.add("nightly", "@hourly", "report", queue="low")
    app.schedules.remove("nightly")
    with pytest.raises(UsageError, match="in the queue low, and would change to high"):
        app.schedules.add("nightly", "@hourly", "report", queue="high")


@pytest.mark.parametrize(
    ("error", "message", "given"),
    [
        (CronError, "schedule x: .*61 is above the maximum", {"spec": "61 * * * *"}),
        (CronError, "unknown time zone", {"timezone": "Nowhere/City"}),
        (UsageError, "is not a policy for missed", {"missed": "twice"}),
        (UsageError, "unknown task option 'que'", {"que": "low"}),
        (UsageError, "cannot name a periodic task", {"name": " "}),
        (UsageError, "cannot name a periodic task", {"name": "a\nb"}),
        (PayloadTooLarge, "limit", {"payload": "x" * (2 << 20)}),
    ],
)
def test_what_no_scheduler_could_use_is_refused_and_not_kept(
    app: App, error: type[Exception], message: str, given: dict[str, Any]
) -> None:
    whole = {"name": "x", "spec": "@daily", "task": "report", **given}
    with pytest.raises(error, match=message):
        app.schedules.add(**whole)
    assert app.schedules.added() == {}


def test_each_prefix_has_entries_of_its_own(make_app: MakeApp) -> None:
    one, other = make_app(), make_app(queue_prefix="prod_")
    one.schedules.add("nightly", "@daily", "report")
    assert other.schedules.added() == {}
    assert not other.schedules.remove("nightly")


def test_an_unreadable_entry_hides_no_other(app: App, raw: redis.Redis) -> None:
    app.schedules.add("nightly", "@daily", "report")
    raw.hset(keys.schedule(""), "broken", "{")
    assert list(app.schedules.added()) == ["nightly"]
    assert app.schedules.remove("broken")


def test_a_running_scheduler_enqueues_what_is_added(app: App) -> None:
    seen: list[str] = []

    @app.task("tick")
    async def tick(n: int) -> None:
        seen.append(f"tick {n}")

    app.start()
    app.schedules.add("often", "@every 1s", "tick", {"n": 1})
    eventually(lambda: "tick 1" in seen, within=10)
    app.schedules.add("often", "@every 1s", "tick", {"n": 2})
    eventually(lambda: "tick 2" in seen, within=10)
    assert app.schedules.remove("often")
