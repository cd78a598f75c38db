"""
Periodic tasks as the scheduler sees them: what was declared, checked, and where its clock stands.

Which ticks are due, and which of those that were missed, is decided here, without I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from qd.client.compose import Composed, Composer
from qd.client.declared import Declared, complete, compose_tick
from qd.config.missed import most_missed
from qd.handlers.options import TaskOptions
from qd.protocol.gotext import option_strings
from qd.protocol.message import SchedulerEntry
from qd.protocol.ops.cron import entry_id

LATE = 10.0
"""
Seconds up to which a tick is late and not missed: a scheduler process that died is back by then, and
the tick it owed is enqueued whatever the policy for missed ones.
"""

_NS = 1_000_000_000


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
        declared: Declared,
        composer: Composer,
        *,
        queue_prefix: str,
        timezone: str,
        options_of: Callable[[str], TaskOptions],
        now: float,
    ) -> None:
        base = options_of(declared.task_type)
        self.name = declared.name
        self.id = entry_id(queue_prefix, declared.name)
        self.overlap = declared.overlap != "skip"
        self.since = declared.since
        self.last: int | None = None
        self.fired: int | None = None
        self._most_missed = most_missed(declared.missed)
        self._schedule = declared.schedule(timezone)
        self._composer = composer
        self._options = declared.options.over(base)
        self._declared = replace(
            complete(declared, base, composer), timezone=declared.timezone or timezone
        )
        # Composed once to see that it can be.
        self.queue = self.compose(int(now), now).queue
        self.next_at = self._after(int(now))

    def compose(self, tick: int, now: float) -> Composed:
        """Return the task of a tick."""
        return compose_tick(self._declared, self._composer, tick, now)

    def begin_anew(self) -> None:
        """Ask Redis again where the entry stands, before anything more is enqueued."""
        self.last = None

    def decided(self, tick: int, fired: int | None) -> None:
        """The tick, and all before it, are settled: just now, or before this process began."""
        self.last = tick
        self.fired = fired
        self.next_at = self._after(tick)

    def due(self, now: float) -> list[int]:
        """
        Return the ticks up to *now* to be enqueued, in order.

        Those that are merely late are all among them, those that were missed as the policy says.
        """
        if self.last is None or self.next_at is None or self.next_at > now:
            return []
        until = int(now)
        since = max(self.last, int(now - LATE))
        late = self._latest(since, until, until - since)
        return [*self._latest(self.last, since, self._most_missed - len(late)), *late]

    def skip_to(self, now: float) -> None:
        """Nothing up to *now* is to be enqueued any more."""
        if self.next_at is not None and self.next_at <= now:
            self.next_at = self._after(int(now))

    def published(self) -> SchedulerEntry:
        """The entry as asynq's tools show it."""
        options = self._options
        return SchedulerEntry(
            id=self.id,
            spec=self._declared.spec,
            task_type=self._declared.task_type,
            task_payload=self._declared.payload or b"",
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

    def document(self) -> bytes:
        """The entry as qd's own tools read it (`qd.client.declared`)."""
        return self._declared.to_json()

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
