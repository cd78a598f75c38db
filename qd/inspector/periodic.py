"""
Periodic tasks as an operator sees them, and what he may do with them: pause, run, make up for.

What is known of one comes from three places: schedulers publish what they know while they are alive,
Redis keeps what was added at run time, and beside its queue stands what has become of its ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from qd.broker.link import Link
from qd.client.batch import Batch
from qd.client.compose import Composed, Composer
from qd.client.declared import Declared, compose_tick, from_json, tick_id
from qd.client.ids import new_id
from qd.client.info import TaskInfo
from qd.errors import DecodeError, NotFound, QdError, UsageError, WrongState
from qd.handlers.options import NO_OPTIONS, TaskOptions
from qd.inspector.schedulers import Schedulers
from qd.inspector.values import content, iso, moment
from qd.inspector.views import EntryView
from qd.protocol import constants
from qd.protocol.ops import cron
from qd.protocol.ops.cron import Standing, entry_id
from qd.suggest import did_you_mean

_UNKNOWN = Standing(None, None, None, None)
_BATCH = 500
"""Tasks in one round trip."""

MOST_TICKS = 10_000
"""More are not made up for at once."""

# What is published is complete: nothing is filled in, and its size was checked before.
_COMPOSER = Composer(NO_OPTIONS, queue_prefix="", payload_limit=1 << 30)


class PeriodicView(Struct, frozen=True):
    """
    One periodic task. A scheduler of Go publishes no name and no policies: its id is its name then.

    `hosts` have a scheduler that knows it; `prev` is the last tick that was enqueued, and `late` by
    how many seconds after its time. `declared` is complete unless no scheduler knows it.
    """

    id: str
    name: str
    spec: str
    type: str
    payload: bytes
    queue: str | None
    options: tuple[str, ...]
    source: str
    hosts: tuple[str, ...]
    next: datetime | None
    prev: datetime | None
    late: float | None
    decided: datetime | None
    paused_since: datetime | None
    declared: Declared | None

    @property
    def state(self) -> str:
        if self.paused_since is not None:
            return "paused"
        return "ok" if self.hosts else "no scheduler"

    def as_dict(self) -> dict[str, Any]:
        one = self.declared
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "spec": self.spec,
            "type": self.type,
            **content("payload", self.payload),
            "queue": self.queue,
            "options": list(self.options),
            "source": self.source,
            "hosts": list(self.hosts),
            "next": iso(self.next),
            "prev": iso(self.prev),
            "late": self.late,
            "paused_since": iso(self.paused_since),
            "timezone": one and one.timezone,
            "missed": one and one.missed,
            "overlap": one and one.overlap,
            "jitter": one and one.jitter,
            "dst": one and one.dst,
            "start": iso(one.start) if one else None,
            "end": iso(one.end) if one else None,
        }


class Periodic:
    """The periodic tasks of all schedulers and of Redis. `clock` gives Unix seconds."""

    def __init__(self, link: Link, schedulers: Schedulers, clock: Callable[[], float]) -> None:
        self._link = link
        self._schedulers = schedulers
        self._clock = clock

    def all(self, queue_prefix: str = "") -> list[PeriodicView]:
        """
        Return the periodic tasks of live schedulers, and those added at run time, by name.

        Of qd's own only those of this prefix; of Go schedulers, which have none, all.
        """
        published: dict[str, list[EntryView]] = {}
        for entry in self._schedulers.entries():
            one = entry.declared
            if one is None or entry.id == entry_id(queue_prefix, one.name):
                published.setdefault(entry.id, []).append(entry)
        stored = self._stored(queue_prefix)
        for entries in published.values():
            if entries[0].declared is not None:
                stored.pop(entries[0].declared.name, None)
        views = [_of_entries(entries) for entries in published.values()]
        views += [_of_stored(one, queue_prefix) for one in stored.values()]
        return sorted(self._with_standing(views), key=lambda one: one.name)

    def find(self, name: str, queue_prefix: str = "") -> PeriodicView:
        """
        Return the periodic task with a name, or an id.

        Raises:
            NotFound: No live scheduler knows it, and it was not added at run time.
        """
        views = self.all(queue_prefix)
        for view in views:
            if name in (view.name, view.id):
                return view
        raise NotFound(
            f'There is no periodic task "{name}".{did_you_mean(name, [one.name for one in views])}',
            hint="`qd cron ls` lists those of live schedulers.",
        )

    def pause(self, view: PeriodicView) -> bool:
        """Let its ticks pass without a task; they do not count as missed. False if it was paused."""
        queue, name = _place(view)
        self._link.execute(cron.pause(queue, name, now=int(self._clock())))
        return view.paused_since is None

    def resume(self, view: PeriodicView) -> bool:
        """Let its ticks enqueue tasks again; False if it was not paused."""
        return self._link.execute(cron.resume(*_place(view)))

    def run(self, view: PeriodicView) -> TaskInfo:
        """
        Enqueue its task now, whether it is paused or not; its ticks go on as before.

        Raises:
            DuplicateTask, TaskIdConflict: An option of the entry stands in the way.
        """
        declared = _complete(view)
        own = TaskOptions(task_id=f"cron:{view.name}:run:{new_id()}")
        options = replace(declared.options.over(own), process_in=None, process_at=None)
        task = _COMPOSER.compose(declared.task_type, declared.payload, options, now=self._clock())
        ((_, outcome),) = self._enqueue(view, [task])
        if isinstance(outcome, QdError):
            raise outcome
        return outcome

    def passed(
        self, view: PeriodicView, start: datetime, end: datetime
    ) -> tuple[list[datetime], int]:
        """
        Return its ticks in [start, end] that are not in its history, and how many are.

        Only those that were decided: later ones are the schedulers' business. The history has the
        last 1,000 tasks.

        Raises:
            UsageError: There are more than 10,000.
        """
        declared = _complete(view)
        last = view.decided or datetime.fromtimestamp(self._clock(), UTC)
        schedule = declared.schedule("UTC")
        events = self._schedulers.events(view.id, constants.HISTORY_MAX)
        known = {event.task_id for event in events}
        found, before = [], 0
        due = schedule.between(moment(start.timestamp() - 1) or start, min(end, last))
        for tick in due:
            if tick_id(view.name, int(tick.timestamp())) in known:
                before += 1
                continue
            found.append(tick)
            if len(found) > MOST_TICKS:
                raise UsageError(
                    f"{view.name} was due more than {MOST_TICKS:,} times from {iso(start)}"
                    f" to {iso(end)}",
                    hint="Choose a shorter time.",
                )
        return found, before

    def backfill(
        self, view: PeriodicView, ticks: Iterable[datetime]
    ) -> list[tuple[datetime, TaskInfo | QdError]]:
        """
        Enqueue the tasks of ticks that have passed, under the ids they would have had.

        So a tick whose task still exists is refused. Returns what became of each.
        """
        # Their time is over, so nothing delays them any more.
        declared = replace(_complete(view), jitter=0.0)
        options = replace(declared.options, process_in=None, process_at=None)
        declared = replace(declared, options=options)
        now = self._clock()
        chosen = list(ticks)
        out: list[tuple[datetime, TaskInfo | QdError]] = []
        for first in range(0, len(chosen), _BATCH):
            part = chosen[first : first + _BATCH]
            tasks = [compose_tick(declared, _COMPOSER, int(t.timestamp()), now) for t in part]
            out += [
                (tick, outcome)
                for tick, (_, outcome) in zip(part, self._enqueue(view, tasks), strict=True)
            ]
        return out

    def _enqueue(
        self, view: PeriodicView, tasks: Sequence[Composed]
    ) -> list[tuple[Composed, TaskInfo | QdError]]:
        now_ns = int(self._clock() * 1_000_000_000)
        batch = Batch(tasks, now_ns=now_ns)
        outcomes = batch.outcomes(self._link.execute_many(batch.ops))
        history = [
            op
            for outcome in outcomes
            if isinstance(outcome, TaskInfo)
            for op in cron.record_event(view.id, outcome.id, now_ns=now_ns)
        ]
        if history:
            self._link.execute_many(history)
        return list(zip(tasks, outcomes, strict=True))

    def _stored(self, queue_prefix: str) -> dict[str, Declared]:
        found = {}
        for name, document in self._link.execute(cron.stored(queue_prefix)).items():
            try:
                found[name] = from_json(document)
            except DecodeError:
                # The schedulers tell of it in their logs.
                continue
        return found

    def _with_standing(self, views: Sequence[PeriodicView]) -> list[PeriodicView]:
        placed = [view for view in views if view.queue is not None]
        ops = [cron.standing(view.queue or "", view.name) for view in placed]
        known = dict(
            zip(
                (one.id for one in placed), self._link.execute_many(ops) if ops else (), strict=True
            )
        )
        now = datetime.fromtimestamp(self._clock(), UTC)
        return [_now(view, known.get(view.id, _UNKNOWN), now) for view in views]


def _of_entries(entries: Sequence[EntryView]) -> PeriodicView:
    """What several schedulers, or one, publish of the same entry."""
    entry = entries[0]
    one = entry.declared
    return PeriodicView(
        id=entry.id,
        name=entry.id if one is None else one.name,
        spec=entry.spec,
        type=entry.type,
        payload=entry.payload,
        queue=None if one is None else one.options.queue,
        options=entry.options,
        source="asynq" if one is None else one.source,
        hosts=tuple(sorted(one.host for one in entries)),
        next=entry.next,
        prev=max((one.prev for one in entries if one.prev is not None), default=None),
        late=None,
        decided=None,
        paused_since=None,
        declared=one,
    )


def _of_stored(one: Declared, queue_prefix: str) -> PeriodicView:
    """What was added at run time, and no live scheduler knows."""
    queue = one.options.queue
    return PeriodicView(
        id=entry_id(queue_prefix, one.name),
        name=one.name,
        spec=one.spec,
        type=one.task_type,
        payload=one.payload or b"",
        queue=None if queue is None else queue_prefix + queue,
        options=(),
        source=one.source,
        hosts=(),
        next=None,
        prev=None,
        late=None,
        decided=None,
        paused_since=None,
        declared=one,
    )


def _now(view: PeriodicView, known: Standing, now: datetime) -> PeriodicView:
    """Return the view with what is known of its ticks, and its next one as of *now*."""
    next_at = view.next
    if view.declared is not None:
        paused = known.paused_since is not None
        alive = view.hosts and not paused
        next_at = view.declared.schedule("UTC").next(now) if alive else None
    return replace(
        view,
        next=next_at,
        prev=moment(known.fired) or view.prev,
        late=known.late,
        decided=moment(known.tick),
        paused_since=moment(known.paused_since),
    )


def _complete(view: PeriodicView) -> Declared:
    if view.declared is None:
        raise WrongState(
            f"{view.name} belongs to a scheduler of Go, which alone can enqueue its task",
            hint="`qd enqueue` enqueues a task like it.",
        )
    if not view.hosts:
        raise WrongState(
            f"no live scheduler knows {view.name}, so the options of its task are not known",
            hint="Start one with `qd worker` or `qd scheduler`.",
        )
    return view.declared


def _place(view: PeriodicView) -> tuple[str, str]:
    """Return queue and name, beside which its state is kept."""
    if view.queue is None:
        _complete(view)
    return view.queue or "", view.name
