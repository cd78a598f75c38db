"""The settings of tasks: defaults, retries, what differs by task type, and periodic tasks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from qd.config.kinds import (
    DURATION,
    DURATIONS,
    MOMENT,
    NAME,
    NUMBER,
    QUEUE,
    SWITCH,
    TEXT,
    TIME_ZONE,
    WHOLE,
    Data,
    MapOf,
    choice,
)
from qd.config.missed import MISSED
from qd.config.setting import optional, optional_section, required, setting


class TaskDefaults(Struct, frozen=True):
    """Options of tasks that set none themselves."""

    queue: str = setting("default", "queue of the task, without the prefix", QUEUE)
    max_retry: int = setting(25, "tries after the first", WHOLE, minimum=0, also=("retries",))
    timeout: float = setting(1800.0, "longest run of one try", DURATION, minimum=1)
    retention: float = setting(0.0, "how long a completed task is kept", DURATION, minimum=0)


class RetrySettings(Struct, frozen=True):
    """How long a failed task waits for its next try."""

    policy: str = setting(
        "exponential",
        "how the delay before the next try grows",
        choice("exponential", "fixed", "list", "asynq"),
    )
    initial: float = setting(1.0, "first delay; with fixed, every delay", DURATION, minimum=0)
    factor: float = setting(
        2.0, "exponential: each delay is this times the last", NUMBER, minimum=1
    )
    max: float = setting(3600.0, "exponential: longest delay", DURATION, minimum=0)
    jitter: float = setting(
        0.0, "random share of the delay, so that tasks spread out", NUMBER, minimum=0, maximum=1
    )
    delays: tuple[float, ...] = setting(
        (), "list: delay by delay, the last one repeats, as in [1s, 10s, 5m]", DURATIONS
    )


class TaskOverrides(Struct, frozen=True):
    """What is set for one task type; None where the type follows the defaults."""

    queue: str | None = optional(TaskDefaults, "queue")
    max_retry: int | None = optional(TaskDefaults, "max_retry")
    timeout: float | None = optional(TaskDefaults, "timeout")
    retention: float | None = optional(TaskDefaults, "retention")
    retry: RetrySettings | None = optional_section(
        RetrySettings,
        "Any key of `retry` above; the others stay as they are there.",
        inherits="retry",
    )


class ScheduleEntry(Struct, frozen=True):
    """One periodic task; the task options are None where it follows the defaults."""

    spec: str = required(
        "five cron fields, a descriptor such as @daily, or @every 1h",
        NAME,
        example="0 7 * * 1-5",
        also=("cron", "cronspec", "every"),
    )
    type: str = required(
        "task type to enqueue", NAME, example="report:daily", also=("task", "name")
    )
    payload: Any = setting({}, "any data, sent as JSON", Data(), example={})
    queue: str | None = optional(TaskDefaults, "queue")
    max_retry: int | None = optional(TaskDefaults, "max_retry")
    timeout: float | None = optional(TaskDefaults, "timeout")
    retention: float | None = optional(TaskDefaults, "retention")
    unique: float = setting(0.0, "forbid a twin for this long; 0s = off", DURATION, minimum=0)
    group: str = setting("", "collect the tasks in this group", TEXT)
    headers: Mapping[str, str] = setting({}, "headers of the task", MapOf(NAME, TEXT))
    timezone: str | None = setting(
        None, "time zone of the fields", TIME_ZONE, also=("tz",), example="UTC"
    )
    missed: str = setting(
        "skip",
        "ticks that passed while no scheduler ran: skip | once | all (the last 100) | all(20)",
        MISSED,
    )
    overlap: str = setting("allow", "while the last task still runs", choice("allow", "skip"))
    jitter: float = setting(
        0.0, "random delay of each task, up to this, in whole seconds", DURATION, minimum=0
    )
    dst: str = setting(
        "debian",
        "local times that a clock change skips or repeats: due once, or as asynq has it",
        choice("debian", "asynq"),
    )
    start: datetime | None = setting(
        None, "first time it may be due", MOMENT, example=datetime(2030, 1, 1, tzinfo=UTC)
    )
    end: datetime | None = setting(
        None, "last time it may be due", MOMENT, example=datetime(2030, 12, 31, tzinfo=UTC)
    )
    enabled: bool = setting(True, "false keeps the entry but never enqueues it", SWITCH)
