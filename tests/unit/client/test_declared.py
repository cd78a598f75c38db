"""A periodic task as it was declared: what is refused, its JSON form, and the task of a tick."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from qd.client.compose import Composer
from qd.client.declared import Declared, complete, compose_tick, from_json, tick_id
from qd.errors import CronError, DecodeError, UsageError
from qd.handlers.options import NO_OPTIONS, TaskOptions
from qd.protocol.state import TaskState

TICK = 1_800_000_000
DEFAULTS = TaskOptions(queue="default", max_retry=7, timeout=60.0)
COMPOSER = Composer(DEFAULTS, queue_prefix="prod_", payload_limit=1000)


def declared(**given: Any) -> Declared:
    return Declared(**{"name": "job", "spec": "@every 10s", "task_type": "demo", **given})


def test_its_json_form_says_all_of_it() -> None:
    full = declared(
        payload=b"\xff\x00",
        options=TaskOptions.of(
            queue="low",
            max_retry=3,
            timeout="5m",
            deadline=datetime(2030, 1, 1, tzinfo=UTC),
            process_at=datetime(2030, 1, 2, tzinfo=timezone(timedelta(hours=2))),
            task_id="only",
            unique="1h",
            retention="24h",
            group="g",
            headers={"trace": "ü"},
        ),
        timezone="Europe/Lisbon",
        missed="all",
        overlap="skip",
        jitter=30.0,
        dst="asynq",
        start=datetime(2030, 1, 1, tzinfo=UTC),
        end=datetime(2030, 12, 31, 12, 30, tzinfo=timezone(timedelta(hours=-5))),
        source="runtime",
        since=TICK,
    )
    assert from_json(full.to_json()) == full
    assert from_json(declared().to_json()) == declared()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"name": "job"}',
        declared().to_json().replace(b'"skip"', b'"never"'),
        declared().to_json().replace(b'"name"', b'"nome"'),
        declared(payload=b"abc").to_json().replace(b"YWJj", b"!"),
        declared(options=TaskOptions(queue="q")).to_json().replace(b'"queue"', b'"newer"'),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(DecodeError, match="cannot be read"):
        from_json(data)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"missed": "twice"}, 'schedule job: missed: "twice" is not a policy'),
        ({"missed": "all(0)"}, "write skip, once, all, or all"),
        ({"missed": "all(1001)"}, "up to 1,000"),
        ({"overlap": "no"}, "overlap='no' is not known"),
        ({"dst": "vixie"}, "dst='vixie' is not known"),
        ({"jitter": -1.0}, "jitter=-1 is negative"),
        ({"start": datetime(2030, 1, 1)}, "start=2030-01-01T00:00:00 has no time zone"),  # noqa: DTZ001
        (
            {"start": datetime(2030, 1, 2, tzinfo=UTC), "end": datetime(2030, 1, 1, tzinfo=UTC)},
            "ends before it starts",
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        declared(**given)


def test_a_spec_that_cannot_be_read_is_refused_with_the_name() -> None:
    with pytest.raises(CronError, match=r"schedule job: .*61 is above the maximum 59"):
        declared(spec="61 * * * *").schedule("UTC")


def test_a_zone_of_its_own_goes_before_the_schedulers() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    own = declared(spec="0 0 * * *", timezone="Asia/Tokyo").schedule("UTC")
    none = declared(spec="0 0 * * *").schedule("Asia/Kathmandu")
    assert own.next(noon) == datetime(2026, 1, 1, 15, tzinfo=UTC)
    assert none.next(noon) == datetime(2026, 1, 1, 18, 15, tzinfo=UTC)


def test_the_task_of_a_tick_has_the_options_of_entry_type_and_settings_in_this_order() -> None:
    base = TaskOptions(max_retry=5, retention=3600.0)
    whole = complete(declared(options=TaskOptions(max_retry=1)), base, COMPOSER)
    assert whole.options == TaskOptions(
        queue="prod_default", max_retry=1, timeout=60.0, retention=3600.0
    )
    # It is so by itself: whoever reads it in Redis needs no settings.
    elsewhere = Composer(NO_OPTIONS, queue_prefix="", payload_limit=1000)
    for composer in (COMPOSER, elsewhere):
        task = compose_tick(from_json(whole.to_json()), composer, TICK, TICK)
        assert (task.queue, task.state) == ("prod_default", TaskState.PENDING)
        assert task.new.id == tick_id("job", TICK) == "cron:job:2027-01-15T08:00:00Z"


def test_jitter_delays_each_task_by_a_time_of_its_own_that_all_agree_about() -> None:
    whole = complete(declared(jitter=30.0), NO_OPTIONS, COMPOSER)
    ticks = range(TICK, TICK + 3000, 10)
    found = [compose_tick(whole, COMPOSER, tick, tick) for tick in ticks]
    again = [compose_tick(from_json(whole.to_json()), COMPOSER, tick, tick + 3) for tick in ticks]
    delays = [(one.next_at or 0) - tick for one, tick in zip(found, ticks, strict=True)]
    assert set(delays) == set(range(31))
    assert [one.next_at for one, delay in zip(again, delays, strict=True) if delay > 3] == [
        one.next_at for one, delay in zip(found, delays, strict=True) if delay > 3
    ]


def test_the_task_of_a_late_tick_whose_delay_has_passed_is_pending_at_once() -> None:
    whole = complete(declared(jitter=30.0), NO_OPTIONS, COMPOSER)
    assert compose_tick(whole, COMPOSER, TICK, TICK + 31).state is TaskState.PENDING


def test_jitter_adds_to_a_delay_and_leaves_a_fixed_time_alone() -> None:
    delayed = complete(
        declared(jitter=5.0, options=TaskOptions(process_in=60.0)), NO_OPTIONS, COMPOSER
    )
    for tick in range(TICK, TICK + 100, 10):
        at = compose_tick(delayed, COMPOSER, tick, tick).next_at or 0
        assert tick + 60 <= at <= tick + 65
    moment = datetime.fromtimestamp(TICK + 1000, UTC)
    fixed = complete(
        declared(jitter=5.0, options=TaskOptions(process_at=moment)), NO_OPTIONS, COMPOSER
    )
    assert compose_tick(fixed, COMPOSER, TICK, TICK).next_at == TICK + 1000
