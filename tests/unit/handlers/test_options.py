"""One vocabulary of options: checked one by one, and merged from the general to the particular."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from qd.errors import UsageError
from qd.handlers.options import NO_OPTIONS, TaskOptions

MOMENT = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))


def test_no_options_are_one_value() -> None:
    assert TaskOptions.of() is NO_OPTIONS
    assert TaskOptions.of(queue=None) == NO_OPTIONS


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"queue": "low"}, "low"),
        ({"max_retry": 3}, 3),
        ({"max_retry": -1}, 0),
        ({"max_retry": 2**40}, 2**31 - 1),
        ({"timeout": "5m"}, 300.0),
        ({"timeout": 1.5}, 1.5),
        ({"timeout": timedelta(minutes=1)}, 60.0),
        ({"timeout": 0}, 0.0),
        ({"process_in": "500ms"}, 0.5),
        ({"unique": 1}, 1.0),
        ({"retention": "7d"}, 604_800.0),
        ({"deadline": MOMENT}, MOMENT),
        ({"process_at": MOMENT}, MOMENT),
        ({"task_id": "t1"}, "t1"),
        ({"group": "g"}, "g"),
        ({"headers": {"a": "b"}}, {"a": "b"}),
    ],
    ids=str,
)
def test_options_are_stored_in_seconds_and_aware_moments(given: Any, stored: Any) -> None:
    (name,) = given
    assert getattr(TaskOptions.of(**given), name) == stored


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"que": "low"}, "queue"),
        ({"maxretry": 1}, "max_retry"),
        ({"timeout": "300"}, "no unit"),
        ({"timeout": "-5s"}, "negative"),
        ({"timeout": -5}, "zero or more"),
        ({"timeout": "soon"}, "soon"),
        ({"timeout": float("nan")}, "nan"),
        ({"timeout": float("inf")}, "inf"),
        ({"timeout": True}, "True"),
        ({"timeout": 1e12}, "timeout"),
        ({"retention": timedelta.max}, "retention"),
        ({"process_in": 1e30}, "process_in"),
        ({"unique": 1e18}, "unique"),
        ({"unique": 0.5}, "less than a second"),
        ({"deadline": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"deadline": 1767225600}, "must be a datetime"),
        ({"process_at": "2026-01-01"}, "must be a datetime"),
        ({"max_retry": "3"}, "whole number"),
        ({"max_retry": True}, "whole number"),
        ({"max_retry": 1.5}, "whole number"),
        ({"headers": {"a": 1}}, "text to text"),
        ({"headers": [("a", "b")]}, "text to text"),
        ({"headers": {"a": "\ud800"}}, "UTF-8"),
        ({"queue": 1}, "must be text"),
        ({"task_id": b"t1"}, "must be text"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_by_name(given: Any, text: str) -> None:
    (name,) = given
    with pytest.raises(UsageError, match=text) as caught:
        TaskOptions.of(**given)
    assert name in str(caught.value)


def test_two_ways_to_say_when_are_refused() -> None:
    with pytest.raises(UsageError, match="process_in and process_at are both given"):
        TaskOptions.of(process_in=5, process_at=MOMENT)


def test_later_options_win_and_headers_are_merged() -> None:
    base = TaskOptions.of(queue="low", timeout="5m", headers={"a": "1", "b": "1"})
    merged = TaskOptions.of(queue="high", headers={"b": "2"}).over(base)
    assert merged == TaskOptions.of(queue="high", timeout="5m", headers={"a": "1", "b": "2"})
    assert base.headers == {"a": "1", "b": "1"}


def test_zero_is_given_and_none_is_not() -> None:
    base = TaskOptions.of(max_retry=3, timeout="5m")
    assert TaskOptions.of(max_retry=0, timeout=0).over(base) == TaskOptions.of(
        max_retry=0, timeout=0
    )
    assert NO_OPTIONS.over(base) is base
    assert base.over(NO_OPTIONS) is base


def test_the_two_forms_of_a_start_replace_each_other() -> None:
    later = TaskOptions.of(process_in="5m")
    at = TaskOptions.of(process_at=MOMENT)
    assert later.over(at) == later
    assert at.over(later) == at


def test_headers_are_copied() -> None:
    headers = {"a": "1"}
    options = TaskOptions.of(headers=headers)
    headers["a"] = "2"
    assert options.headers == {"a": "1"}


def test_a_moment_keeps_its_instant() -> None:
    options = TaskOptions.of(process_at=MOMENT)
    assert options.process_at == datetime(2025, 12, 31, 22, tzinfo=UTC)
