"""`kit.advance`: time passes, and what is due happens at its second, in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import qd
from qd import App, Context, Task
from qd.errors import DuplicateTask, TaskTimeout
from qd.testing import Kit, Runs

START = datetime(2030, 1, 31, 7, 59, 50, tzinfo=UTC)


def at(runs: Runs, start: datetime = START) -> list[float]:
    """Seconds after the start at which each ran."""
    return [(one.at - start).total_seconds() for one in runs]


@pytest.mark.qd(now=START)
def test_a_test_begins_when_it_wants_to(kit: Kit) -> None:
    assert kit.now == START
    assert kit.advance("90s") == []
    assert kit.now == START + timedelta(seconds=90)
    kit.advance(datetime(2030, 2, 1, tzinfo=UTC))
    assert kit.now == datetime(2030, 2, 1, tzinfo=UTC)


@pytest.mark.qd(now=START)
def test_a_delayed_task_runs_at_its_second_and_no_sooner(app: App, kit: Kit) -> None:
    @app.task("later")
    def later(n: int) -> None: ...

    later.options(process_in="5m").enqueue(1)
    later.options(process_at=START + timedelta(minutes=3)).enqueue(2)
    assert kit.advance("2m59s") == []
    runs = kit.advance("1h")
    assert at(runs) == [180, 300]
    assert [one.payload for one in runs] == [{"n": 2}, {"n": 1}]


@pytest.mark.qd(now=START)
def test_retries_come_with_their_delays_until_the_task_is_dead(app: App, kit: Kit) -> None:
    @app.task("fail", max_retry=4)
    def fail() -> None:
        raise ValueError

    fail.enqueue()
    runs = kit.advance("1m")
    assert at(runs) == [0, 1, 3, 7, 15]
    assert [one.attempt for one in runs] == [1, 2, 3, 4, 5]
    assert [one.type for one in kit.dead] == ["fail"]


@pytest.mark.qd(now=START)
def test_each_tick_is_enqueued_once_and_runs_at_its_time(app: App, kit: Kit) -> None:
    @app.schedule("0 8 * * *", name="daily")
    def daily() -> None: ...

    @app.schedule("@every 6h", name="often", queue="low")
    async def often() -> None: ...

    first = kit.advance("1d")
    assert at(first.of(daily)) == [10]
    assert [one.at.hour for one in first.of(often)] == [12, 18, 0, 6]
    assert first.of(daily)[0].id == "cron:daily:2030-01-31T08:00:00Z"
    # It goes on where it was.
    assert at(kit.advance("2d").of(daily)) == [86410, 172810]


@pytest.mark.qd(now=START)
def test_an_entry_that_is_added_at_run_time_is_due_as_well(app: App, kit: Kit) -> None:
    @app.task("sync")
    def sync(id: int) -> None: ...

    @app.task("begin")
    def begin() -> None:
        app.schedules.add("mine", "@every 1h", "sync", {"id": 7})

    kit.run(begin)
    runs = kit.advance("3h")
    assert [one.at.hour for one in runs] == [8, 9, 10]
    app.schedules.remove("mine")
    assert kit.advance("3h") == []


@pytest.mark.qd(now=START)
def test_what_runs_sees_the_time_at_which_it_runs(app: App, kit: Kit) -> None:
    """And what it enqueues with a delay is due from then on."""

    @app.task("again")
    def again(left: int) -> None:
        if left:
            again.options(process_in="10m").enqueue(left - 1)

    again.enqueue(3)
    assert at(kit.advance("1h")) == [0, 600, 1200, 1800]


@pytest.mark.qd(now=START)
def test_without_running_what_is_due_is_pending(app: App, kit: Kit) -> None:
    @app.task("later")
    def later() -> None: ...

    @app.schedule("@every 1h")
    def hourly() -> None: ...

    later.options(process_in="5m").enqueue()
    assert kit.advance("2h", run=False) == []
    assert [one.state for one in kit.tasks()] == ["pending"] * 3
    assert len(kit.drain()) == 3


@pytest.mark.qd(now=START)
def test_a_lock_of_uniqueness_ends_with_its_time(app: App, kit: Kit) -> None:
    @app.task("report", unique="10m")
    def report() -> None: ...

    report.enqueue()
    kit.advance("9m59s", run=False)
    with pytest.raises(DuplicateTask):
        report.enqueue()
    kit.advance("1s", run=False)
    report.enqueue()


@pytest.mark.qd(now=START)
def test_a_named_lock_ends_with_its_time(app: App, kit: Kit) -> None:
    assert qd.lock("migration", "120s", app=app).acquire()
    kit.advance("119s")
    assert not qd.lock("migration", "120s", app=app).acquire()
    kit.advance("1s")
    assert qd.lock("migration", "120s", app=app).acquire()


@pytest.mark.qd(now=START)
def test_what_is_kept_is_kept_for_its_time(app: App, kit: Kit) -> None:
    @app.task("add", retention="1h")
    def add(a: int, b: int) -> int:
        return a + b

    ran = kit.run(add, 1, 2)
    assert (ran.outcome, ran.result) == ("complete", 3)
    kit.advance("59m")
    (task,) = kit.tasks("add", state="completed")
    assert task.result == 3
    kit.advance("2m")
    assert kit.tasks() == []


@pytest.mark.qd(now=START)
def test_an_effect_is_remembered_for_its_time(app: App, kit: Kit) -> None:
    done: list[int] = []

    @app.task("pay")
    async def pay(ctx: Context) -> None:
        await ctx.once("pay", lambda: done.append(1), keep="1h")

    for _ in range(2):
        kit.run(pay)
    assert done == [1]
    kit.advance("1h")
    kit.run(pay)
    assert done == [1, 1]


@pytest.mark.qd(now=START)
def test_groups_are_merged_when_none_has_come_for_a_while(app: App, kit: Kit) -> None:
    merged: list[Any] = []

    @app.task("mail")
    def mail(to: str) -> None: ...

    @app.task("digest")
    def digest(count: int) -> None:
        merged.append(count)

    @app.aggregator("digest:*")
    def merge(group: str, tasks: list[Task]) -> Any:
        return "digest", {"count": len(tasks)}

    grouped = mail.options(group="digest:ann")
    grouped.enqueue("a")
    kit.advance("30s")
    grouped.enqueue("b")
    kit.advance("59s")
    assert merged == []
    assert at(kit.advance("2m")) == [90]
    assert merged == [2]


@pytest.mark.qd(
    now=START,
    config={
        "queues": {"default": 1},
        "limits": {"sms": {"rate": "6/min", "burst": 2, "types": ["sms"]}},
    },
)
def test_a_rate_goes_by_the_clock_of_the_kit(app: App, kit: Kit) -> None:
    @app.task("sms")
    def sms() -> None: ...

    for _ in range(6):
        sms.enqueue()
    assert len([one for one in kit.drain() if one.ok]) == 2
    assert at(kit.advance("1m")) == [10, 20, 30, 40]


@pytest.mark.qd(
    now=START,
    config={
        "queues": {"default": 1},
        "breakers": {"bank": {"types": ["pay"], "failures": 2, "open": "30s"}},
    },
)
def test_a_breaker_is_half_open_when_its_time_is_over(app: App, kit: Kit) -> None:
    down = [True]
    changes: list[str] = []
    app.on_breaker(lambda change: changes.append(change.state))

    @app.task("pay", max_retry=0)
    def pay() -> None:
        if down[0]:
            raise ConnectionError

    for _ in range(2):
        kit.attempt(pay)
    assert changes == ["open"]
    for _ in range(3):
        pay.enqueue()
    assert kit.advance("29s") == []
    assert len(kit.tasks("pay", state="scheduled")) == 3
    down[0] = False
    assert [one.outcome for one in kit.advance("2s")] == ["done"] * 3
    assert changes == ["open", "half-open", "closed"]


@pytest.mark.qd(now=START)
def test_a_deadline_is_a_moment_of_the_kit(app: App, kit: Kit) -> None:
    @app.task("late", max_retry=0)
    def late() -> None: ...

    late.options(deadline=START + timedelta(minutes=1), process_in="2m").enqueue()
    late.options(deadline=START + timedelta(minutes=1), process_in="30s").enqueue()
    runs = kit.advance("5m")
    assert [type(one.error) for one in runs] == [type(None), TaskTimeout]


@pytest.mark.qd(now=START)
def test_other_clocks_can_be_moved_along(app: App, kit: Kit) -> None:
    told: list[datetime] = []
    kit.on_advance(told.append)

    @app.task("later", process_in="10s")
    def later() -> None: ...

    later.enqueue()
    kit.advance("1m")
    assert told == [START + timedelta(seconds=10), START + timedelta(seconds=60)]


@pytest.mark.qd(now=START)
def test_many_ticks_are_not_taken_for_endless(app: App, kit: Kit) -> None:
    @app.schedule("@every 1m")
    async def tick() -> None: ...

    assert len(kit.advance("1h", most=2)) == 60


@pytest.mark.qd(now=START)
@pytest.mark.parametrize(
    ("time", "why"),
    [
        ("500ms", "whole seconds"),
        (START - timedelta(seconds=1), "does not go back"),
        (datetime(2040, 1, 1), "no time zone"),  # noqa: DTZ001 - that is what is wrong
        (START + timedelta(microseconds=1), "whole seconds"),
        ("soon", "duration"),
    ],
)
def test_a_time_that_cannot_be_is_refused(kit: Kit, time: Any, why: str) -> None:
    with pytest.raises(qd.QdError) as refused:
        kit.advance(time)
    assert why in f"{refused.value} {refused.value.hint}"
    assert kit.now == START


def test_the_clock_of_the_machine_is_back_after_the_kit(app: App) -> None:
    from qd import clock

    with Kit(app, now=START):
        assert clock.now() == START.timestamp()
    assert not clock.stands_still()


@pytest.mark.qd(now=START)
def test_a_poll_looks_by_its_delays_until_it_is_done_or_over(app: App, kit: Kit) -> None:
    looks: list[str] = []

    @app.poll(
        "video:status",
        key="payload.id",
        initial_delay="3s",
        max_delay="10s",
        give_up_after="1m",
        retention="1h",
    )
    def status(id: str) -> str:
        looks.append(id)
        if id == "never" or len(looks) < 4:
            raise qd.NotYet("encoding")
        return "ready"

    assert kit.run(status, "v").outcome == "retry"
    kit.advance("1m")
    assert [one.outcome for one in kit.ran] == ["retry"] * 3 + ["complete"]
    gaps = [(b.at - a.at).total_seconds() for a, b in zip(kit.ran, kit.ran[1:], strict=False)]
    assert gaps == [3, 6, 10]
    status.enqueue("never")
    assert kit.advance("2m")[-1].outcome == "archive"
    # It is the same id: its lock is free.
    app.client.poll_done(status.options(process_in="1h").enqueue("v").id, "said")
    assert [one.result for one in kit.tasks(state="completed")] == ["ready", "said"]
