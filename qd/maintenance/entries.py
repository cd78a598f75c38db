"""
Periodic tasks as the scheduler sees them: what was declared, checked, and where its clock stands.

Which ticks are due, and which of those that were missed, is decided here, without I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from qd.client.compose import Composed, Composer
from qd.errors import CronError
from qd.handlers.options import TaskOptions
from qd.policy.cron import parse
from qd.protocol import codec
from qd.protocol.gotext import option_strings
from qd.protocol.message import SchedulerEntry
from qd.protocol.ops.cron import entry_id

LATE = 10.0
"""
Seconds up to which a tick is late and not missed: a scheduler process that died is back by then, and
the tick it owed is enqueued whatever the policy for missed ones.
"""

MOST_MISSED = 100
"""Missed ticks that are made up for at most; the latest ones count."""

_NS = 1_000_000_000


class Declaration(Protocol):
    """One periodic task as it was declared. `timezone` None is the scheduler's own."""

    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> str: ...
    @property
    def task_type(self) -> str: ...
    @property
    def payload(self) -> Any: ...
    @property
    def options(self) -> TaskOptions: ...
    @property
    def timezone(self) -> str | None: ...
    @property
    def missed(self) -> str: ...
    @property
    def overlap(self) -> str: ...
    @property
    def enabled(self) -> bool: ...


class Entry:
    """
    One periodic task. `last` is the last tick that was decided, `fired` the last that was enqueued.

    `next_at` is the tick to come. All are Unix seconds; `last` is None until `begin`, `fired` if
    there was none, `next_at` if there will be none.

    Raises:
        CronError: The spec or the time zone cannot be read.
        QdError: The task itself cannot be composed: a bad name, a payload without a JSON form.
    """

    def __init__(
        self,
        declared: Declaration,
        composer: Composer,
        *,
        queue_prefix: str,
        timezone: str,
        options_of: Callable[[str], TaskOptions],
        now: float,
    ) -> None:
        self.name = declared.name
        self.id = entry_id(queue_prefix, declared.name)
        self.spec = declared.spec
        self.overlap = declared.overlap != "skip"
        self.last: int | None = None
        self.fired: int | None = None
        self._missed = declared.missed
        self._composer = composer
        self._payload = declared.payload
        self._task_type = declared.task_type
        self._options = declared.options.over(options_of(declared.task_type))
        try:
            # Anchored, or each scheduler would have ticks of its own.
            self._schedule = parse(
                declared.spec, timezone=declared.timezone or timezone, anchored=True
            )
        except CronError as error:
            raise CronError(f"schedule {declared.name}: {error}", hint=error.hint) from error
        self.next_at = self._after(int(now))
        sample = self.compose(int(now), now)
        self.queue = sample.queue
        self._message = codec.decode_task(sample.new.message)

    def compose(self, tick: int, now: float) -> Composed:
        """Return the task of a tick; without an id of its own its id names entry and tick."""
        own = TaskOptions(task_id=f"cron:{self.name}:{_moment(tick):%Y-%m-%dT%H:%M:%SZ}")
        return self._composer.compose(
            self._task_type, self._payload, self._options.over(own), now=now
        )

    def decided(self, tick: int, fired: int | None) -> None:
        """The tick, and all before it, are settled: just now, or before this process began."""
        self.last = tick
        self.fired = fired
        self.next_at = self._after(tick)

    def due(self, now: float) -> list[int]:
        """
        Return the ticks up to *now* to be enqueued, in order; at most 100.

        Those that are merely late are all among them, those that were missed as the policy says.
        """
        if self.last is None or self.next_at is None or self.next_at > now:
            return []
        until = int(now)
        since = max(self.last, int(now - LATE))
        late = self._latest(since, until, MOST_MISSED)
        if self._missed == "all":
            return [*self._latest(self.last, since, MOST_MISSED - len(late)), *late]
        if self._missed == "once" and not late:
            return self._latest(self.last, since, 1)
        return late

    def skip_to(self, now: float) -> None:
        """Nothing up to *now* is to be enqueued any more."""
        if self.next_at is not None and self.next_at <= now:
            self.next_at = self._after(int(now))

    def published(self) -> SchedulerEntry:
        """The entry as asynq's tools show it."""
        options = self._options
        return SchedulerEntry(
            id=self.id,
            spec=self.spec,
            task_type=self._task_type,
            task_payload=self._message.payload,
            options=tuple(
                option_strings(
                    max_retry=options.max_retry,
                    queue=self.queue,
                    task_id=options.task_id,
                    timeout=options.timeout,
                    deadline=options.deadline,
                    unique=options.unique,
                    process_at=options.process_at,
                    process_in=options.process_in,
                    retention=options.retention,
                    group=options.group,
                )
            ),
            next_ns=None if self.next_at is None else self.next_at * _NS,
            prev_ns=None if self.fired is None else self.fired * _NS,
        )

    def _after(self, moment: int) -> int | None:
        found = self._schedule.next(_moment(moment))
        return None if found is None else int(found.timestamp())

    def _latest(self, since: int, until: int, most: int) -> list[int]:
        """
        Return the last *most* ticks after *since* up to *until*.

        Looks back further and further, so that a year of seconds is not counted one by one.
        """
        if most <= 0 or since >= until:
            return []
        span = 64
        while True:
            begin = max(until - span, since)
            ticks = [
                int(tick.timestamp())
                for tick in self._schedule.between(_moment(begin), _moment(until))
            ]
            if len(ticks) >= most or begin == since:
                return ticks[-most:]
            span *= 8


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
