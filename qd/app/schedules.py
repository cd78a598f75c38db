"""Periodic tasks as they were declared: by decorator or in YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qd.config.tasks import ScheduleEntry
from qd.handlers.options import NO_OPTIONS, TaskOptions


@dataclass(frozen=True, slots=True)
class Declared:
    """One periodic task. `timezone` None is the scheduler's; `source` says who declared it."""

    name: str
    spec: str
    task_type: str
    payload: Any = None
    options: TaskOptions = NO_OPTIONS
    timezone: str | None = None
    missed: str = "skip"
    overlap: str = "allow"
    enabled: bool = True
    source: str = "code"


def from_settings(name: str, entry: ScheduleEntry) -> Declared:
    """Return what the YAML's `schedule:` says under *name*."""
    options = TaskOptions(
        queue=entry.queue,
        max_retry=entry.max_retry,
        timeout=entry.timeout,
        retention=entry.retention,
        unique=entry.unique or None,
        group=entry.group or None,
        headers=dict(entry.headers) or None,
    )
    return Declared(
        name=name,
        spec=entry.spec,
        task_type=entry.type,
        payload=entry.payload,
        options=options,
        timezone=entry.timezone,
        missed=entry.missed,
        overlap=entry.overlap,
        enabled=entry.enabled,
        source="config",
    )
