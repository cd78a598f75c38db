"""The periodic tasks of an application: what it declares, and what is added while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Unpack

from msgspec.structs import replace

from qd import clock
from qd.client.declared import Declared, from_json
from qd.config.model import Settings
from qd.config.tasks import ScheduleEntry
from qd.durations import seconds
from qd.errors import DecodeError, UsageError
from qd.handlers.options import Duration, OptionKeywords, TaskOptions
from qd.protocol.ops import cron

if TYPE_CHECKING:
    from qd.app.handle import TaskHandle
    from qd.broker.link import Link

_LONGEST_NAME = 200


class Schedules:
    """
    Periodic tasks by name; made by `App.schedules`.

    Iterating gives what code and configuration declare, one of the configuration in place of one of
    the same name in the code. What was added at run time stands in Redis and goes before both; all
    schedulers with the same `queue_prefix` take a change over at once, and no tick is lost or comes
    twice because of it. What asks Redis waits for its answer: from a coroutine, call it with
    `asyncio.to_thread`.
    """

    def __init__(
        self, settings: Settings, in_code: Mapping[str, Declared], link: Callable[[], Link]
    ) -> None:
        self._settings = settings
        self._in_code = in_code
        self._link = link

    def __iter__(self) -> Iterator[Declared]:
        configured = {
            name: from_settings(name, entry) for name, entry in self._settings.schedule.items()
        }
        return iter({**self._in_code, **configured}.values())

    def add(
        self,
        name: str,
        spec: str,
        task: str | TaskHandle[..., Any],
        payload: Any = None,
        *,
        timezone: str | None = None,
        missed: str = "skip",
        overlap: str = "allow",
        jitter: Duration = 0,
        dst: str = "debian",
        start: datetime | None = None,
        end: datetime | None = None,
        **options: Unpack[OptionKeywords],
    ) -> bool:
        """
        Add a periodic task, or change the one that was added under this name. Safe to repeat.

        The arguments are those of `App.schedule`. Ticks up to now are not enqueued; a changed entry
        goes on where it stands, without a queue given in the queue it has. Returns False if it was
        changed.

        Raises:
            CronError: The spec or the time zone cannot be read.
            UsageError: A policy or an option is wrong, or the queue would change: ticks are counted
                beside their queue. Remove the entry first, or choose another name.
            PayloadError, PayloadTooLarge, InvalidName: A task like this could not be enqueued.
        """
        declared = Declared(
            name=name,
            spec=spec,
            task_type=task if isinstance(task, str) else task.type,
            payload=payload,
            options=TaskOptions.of(**options),
            timezone=timezone,
            missed=missed,
            overlap=overlap,
            jitter=seconds(jitter),
            dst=dst,
            start=start,
            end=end,
            source="runtime",
        )
        return self.put(declared)

    def put(self, declared: Declared) -> bool:
        """`add` for what is declared already."""
        payload = self._check(declared)
        before = self.added().get(declared.name)
        queue = declared.options.queue
        for other in (before, *self):
            if other is None or other.name != declared.name or other.options.queue is None:
                continue
            # Without a queue of its own it stays where the other is.
            queue = queue or other.options.queue
            _same_queue(other.options.queue, queue, declared.name)
        if before is not None:
            _same_queue(before.options.queue, queue, declared.name)
        declared = replace(declared, options=replace(declared.options, queue=queue))
        since = int(clock.now()) if before is None else before.since
        document = replace(declared, payload=payload, since=since).to_json()
        self._link().execute(cron.store(self._settings.queue_prefix, declared.name, document))
        return before is None

    def remove(self, name: str) -> bool:
        """
        Remove a periodic task that was added at run time; False if there is none of this name.

        One that code or configuration declare under the same name is in force again.
        """
        return self._link().execute(cron.unstore(self._settings.queue_prefix, name))

    def added(self) -> dict[str, Declared]:
        """Return what was added at run time, by name; what cannot be read is left out."""
        found = {}
        for name, document in (
            self._link().execute(cron.stored(self._settings.queue_prefix)).items()
        ):
            try:
                found[name] = from_json(document)
            except DecodeError:
                continue
        return found

    def _check(self, declared: Declared) -> bytes | None:
        """Refuse what a scheduler would have to leave out; returns the payload as it is stored."""
        from qd.app.client import make_composer

        name, task_type = declared.name, declared.task_type
        if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise UsageError(
                f"{name!r} cannot name a periodic task",
                hint=f"Use up to {_LONGEST_NAME} characters that can be printed.",
            )
        declared.schedule("UTC")
        composer = make_composer(self._settings)
        composer.compose(task_type, declared.payload, declared.options, now=clock.now())
        return composer.encode_payload(task_type, declared.payload)


def _same_queue(present: str | None, wanted: str | None, name: str) -> None:
    if present != wanted:
        raise UsageError(
            f"{name} is in the queue {present or 'of its task type'}, and would change to "
            f"{wanted or 'that of its task type'}: ticks are counted beside their queue",
            hint="Remove it first, or choose another name.",
        )


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
        jitter=entry.jitter,
        dst=entry.dst,
        start=entry.start,
        end=entry.end,
        enabled=entry.enabled,
        source="config",
    )
