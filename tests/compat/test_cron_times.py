"""Cron specs mean to qd what they mean to asynq's scheduler (robfig/cron): vectors from Go."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from typing import Any

import pytest

from qd.errors import CronError
from qd.policy.cron import parse
from tests.compat.asynq import Asynq, cron_next

pytestmark = [pytest.mark.compat, pytest.mark.usefixtures("asynq")]

SPECS = [
    "* * * * *", "*/15 * * * *", "7-59/13 * * * *", "5/20 * * * *", "0 9-17 * * MON-FRI",
    "30 2 * * *", "0 0 31 * *", "0 0 29 2 *", "0 12 13 * 5", "0 0 */2 * 1", "0 0 ? * 3",
    "0 0 13,* * 5", "1,2,,3 4 * jan,DEC *", "59 23 31 12 ?", "0 0 * * sun", "*/61 * * * *",
    "0 0 30 2 *", "* * 1-7 * *", "0 */5 * * *", "15 1-2 * 3,10,11 0",
    "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly",
    "@every 1h30m", "@every 90s", "@every 1.5s", "@every 10ms", "@every 1h0m0.5s",
    "TZ=Asia/Tokyo 0 6 * * *", "CRON_TZ=America/New_York @daily",
]  # fmt: skip

# Zones whose clock changes by an hour, and not at midnight: there robfig/cron loses a whole day.
STARTS = [
    ("UTC", "2026-01-30T23:59:59Z"),
    ("UTC", "2027-12-31T12:34:56Z"),
    ("Europe/Berlin", "2026-03-28T20:00:00+01:00"),
    ("Europe/Berlin", "2026-10-24T23:30:00+02:00"),
    ("America/New_York", "2026-03-07T22:00:00-05:00"),
    ("America/New_York", "2026-10-31T23:00:00-04:00"),
    ("Australia/Sydney", "2026-10-03T22:00:00+10:00"),
    ("Asia/Kathmandu", "2026-06-01T00:00:00+05:45"),
]

REFUSED = [
    "", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *",
    "* * * * 7", "* * * * SAT-SUN", "5-1 * * * *", "*/0 * * * *", "a * * * *", "1-2-3 * * * *",
    "1/2/3 * * * *", "-1 * * * *", "* * * foo *", "@hourlyy", "@every 1d", "@every", "@every x",
    "@reboot", "0 0 L * *", "0 0 * * 1#2", "TZ=Nowhere/City * * * * *",
]  # fmt: skip


def by_qd(question: dict[str, Any]) -> list[str | None]:
    schedule = parse(question["spec"], timezone=question["zone"], dst="asynq")
    moment: dt.datetime | None = dt.datetime.fromisoformat(question["start"])
    found: list[str | None] = []
    while moment is not None and len(found) < question["count"]:
        moment = schedule.next(moment)
        found.append(None if moment is None else moment.isoformat())
    return found


def in_utc(answer: dict[str, Any]) -> list[str | None]:
    return [
        None if text is None else dt.datetime.fromisoformat(text).astimezone(dt.UTC).isoformat()
        for text in answer["next"]
    ]


def assert_equal_times(questions: list[dict[str, Any]]) -> None:
    for question, answer in zip(questions, cron_next(questions), strict=True):
        assert "error" not in answer, (question, answer)
        assert by_qd(question) == in_utc(answer), question


@pytest.mark.parametrize(("zone", "start"), STARTS)
def test_every_kind_of_spec_has_the_times_it_has_in_go(zone: str, start: str) -> None:
    assert_equal_times(
        [{"spec": spec, "zone": zone, "start": start, "count": 12} for spec in SPECS]
    )


def test_random_specs_have_the_times_they_have_in_go() -> None:
    chance = random.Random(26)
    limits = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))

    def item(low: int, high: int) -> str:
        first, second = sorted(chance.choices(range(low, high + 1), k=2))
        step = chance.randint(1, high)
        forms = ["*", "?", f"{first}", f"{first}-{second}", f"*/{step}", f"{first}/{step}"]
        return chance.choice([*forms, f"{first}-{second}/{step}", "*"])

    def field(low: int, high: int) -> str:
        return ",".join(item(low, high) for _ in range(chance.choice([1, 1, 1, 2])))

    starts = itertools.cycle(STARTS)
    questions = []
    for _ in range(600):
        zone, start = next(starts)
        spec = " ".join(field(*limit) for limit in limits)
        questions.append({"spec": spec, "zone": zone, "start": start, "count": 4})
    assert_equal_times(questions)


def test_what_go_refuses_qd_refuses() -> None:
    questions = [{"spec": spec, "start": "2026-01-01T00:00:00Z"} for spec in REFUSED]
    for question, answer in zip(questions, cron_next(questions), strict=True):
        assert "error" in answer, question
        with pytest.raises(CronError):
            parse(question["spec"])


def test_a_zone_prefix_that_crashes_go_is_an_error_in_qd(asynq: Asynq) -> None:
    (answer,) = cron_next([{"spec": "TZ=UTC", "start": "2026-01-01T00:00:00Z"}])
    assert answer["error"].startswith("panic")
    with pytest.raises(CronError, match="nothing follows"):
        parse("TZ=UTC")
