"""
The way that tasks went: their transitions, as the scripts that made them have noted them.

Only what was moved by programs that keep a timeline is known. What must have happened besides, because
one transition does not begin where the one before has ended, is shown as a gap and not guessed at.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec import Struct

from qd.broker.link import Link
from qd.errors import BrokerUnavailable
from qd.inspector.values import iso, moment
from qd.protocol.ops import inspect_queues, timeline
from qd.protocol.ops.timeline import Entry

UNSEEN = "unseen"
"""The step of a transition that nobody has noted."""

_ELSEWHERE = "not noted: by a Go server, or by a program without timeline.keep"
_BEFORE = "not known any more, or not noted"

_LOOK = 0.25
"""Seconds between two looks where there is nothing to wait at: on a cluster, without a queue."""


class Transition(Struct, frozen=True):
    """
    A task went `before` one state `after` another; None is nowhere: it was new, or is gone.

    - `at`: when, by the clock of Redis; None if that is not known
    - `step`: what moved it, as in `enqueue`, `dequeue`, `retry`; `unseen` if nobody has noted it
    - `attempt`: the run that it began or ended; of a waiting task, the one that comes next
    - `host`, `pid`: the process that moved it; `user`: the person, if it was by a command
    - `next_at`: when it is to run, for those that were scheduled or are retried
    """

    queue: str
    task_id: str
    type: str
    at: datetime | None
    before: str | None
    after: str | None
    step: str
    attempt: int | None = None
    user: str = ""
    host: str = ""
    pid: int | None = None
    reason: str = ""
    next_at: datetime | None = None
    trace_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "at": iso(self.at),
            "queue": self.queue,
            "task_id": self.task_id,
            "type": self.type,
            "from": self.before,
            "to": self.after,
            "step": self.step,
            "attempt": self.attempt,
            "user": self.user or None,
            "host": self.host or None,
            "pid": self.pid,
            "reason": self.reason,
            "next_at": iso(self.next_at),
            "trace_id": self.trace_id or None,
        }


class Choice(Struct, frozen=True):
    """
    Which transitions are meant; what is not given is any. `states` are those that they lead to.

    "gone" is a state here.
    """

    types: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    task_id: str = ""
    trace_id: str = ""
    since: datetime | None = None

    def matches(self, entry: Entry) -> bool:
        return (
            (not self.types or entry.type in self.types)
            and (not self.states or (entry.after or "gone") in self.states)
            and self.task_id in ("", entry.task_id)
            and self.trace_id in ("", entry.trace)
            and (self.since is None or entry.order[0] >= self.begin)
        )

    @property
    def begin(self) -> int:
        """The first millisecond that is meant."""
        return 0 if self.since is None else int(self.since.timestamp() * 1000)


ALL = Choice()


class TimelineReader:
    """Reads transitions, those of programs whose settings have a `timeline.keep`; changes nothing."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def of_task(self, task_id: str, queues: Sequence[str] | None = None) -> list[Transition]:
        """
        Return the latest 100 transitions of a task at most, the oldest first, with gaps shown.

        Also of one that is gone. Empty if nothing is known. *queues*: where to look; else everywhere.
        """
        names = self._names(queues)
        found = self._link.execute_many([timeline.of_task(name, task_id) for name in names])
        return [one for state, entries in found for one in _with_gaps(entries, state)]

    def of_trace(self, trace_id: str, queues: Sequence[str] | None = None) -> list[Transition]:
        """Return the transitions of all tasks of a trace, in the order of time; see `recent`."""
        return self.recent(queues, Choice(trace_id=trace_id))

    def recent(
        self,
        queues: Sequence[str] | None = None,
        choice: Choice = ALL,
        *,
        limit: int | None = None,
    ) -> list[Transition]:
        """
        Return the latest *limit* transitions of a choice, the oldest of them first, without gaps.

        Of several queues, it is not known which was first within a millisecond.
        """
        found = filter(choice.matches, self._backwards(self._names(queues), choice))
        return [_transition(one) for one in islice(found, limit)][::-1]

    def follow(
        self,
        queues: Sequence[str] | None = None,
        choice: Choice = ALL,
        *,
        wait: float = 1.0,
        on_away: Callable[[BrokerUnavailable], None] | None = None,
    ) -> Iterator[list[Transition]]:
        """
        Yield transitions of a choice as they come, for ever: a list at least each *wait* seconds.

        From now on, or from `choice.since` on. Without *queues*, of all, those included that are new.
        *wait* must be shorter than `redis.call_timeout`. With *on_away*, Redis going away is no end: it
        is called each time Redis does not answer, and what came meanwhile is shown afterwards.

        Raises:
            BrokerUnavailable: Redis does not answer, at the begin or without *on_away*.
        """
        seen = self._ends(queues) if choice.since is None else {}
        while True:
            try:
                for name in self._names(queues):
                    seen.setdefault(name, str(max(choice.begin - 1, 0)))
                entries = self._next(seen, wait)
            except BrokerUnavailable as error:
                if on_away is None:
                    raise
                on_away(error)
                time.sleep(wait)
                continue
            for one in entries:
                seen[one.queue] = one.at
            chosen = filter(choice.matches, entries)
            yield [_transition(one) for one in sorted(chosen, key=_order)]

    def _ends(self, queues: Sequence[str] | None) -> dict[str, str]:
        names = self._names(queues)
        last = self._link.execute_many([timeline.latest(name, "", limit=1) for name in names])
        return {name: found[0].at for name, found in zip(names, last, strict=True) if found}

    def _next(self, seen: dict[str, str], wait: float) -> list[Entry]:
        if seen and self._link.one_node:
            return self._link.execute(timeline.wait(seen, milliseconds=max(int(wait * 1000), 1)))
        deadline = time.monotonic() + wait
        while True:
            steps = [timeline.since(name, at) for name, at in seen.items()]
            found = [one for entries in self._link.execute_many(steps) for one in entries]
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(_LOOK, left))

    def _backwards(self, names: Sequence[str], choice: Choice) -> Iterator[Entry]:
        """Yield entries, the latest first: all that may be meant, if need be all there are."""
        if choice.task_id:
            steps = [timeline.of_task(name, choice.task_id) for name in names]
        elif choice.trace_id:
            look = [timeline.tasks_of_trace(name, choice.trace_id) for name in names]
            ids = self._link.execute_many(look)
            steps = [
                timeline.of_task(name, one)
                for name, some in zip(names, ids, strict=True)
                for one in some
            ]
        else:
            pages = [self._pages(name, choice.begin) for name in names]
            return heapq.merge(*pages, key=_order, reverse=True)
        entries = [one for _, found in self._link.execute_many(steps) for one in found]
        return iter(sorted(entries, key=_order, reverse=True))

    def _pages(self, queue: str, begin: int) -> Iterator[Entry]:
        before = ""
        while page := self._link.execute(timeline.latest(queue, before)):
            yield from page
            before = page[-1].at
            if page[-1].order[0] < begin:
                return

    def _names(self, queues: Sequence[str] | None) -> list[str]:
        return list(queues) if queues is not None else self._link.execute(inspect_queues.names())


def _with_gaps(entries: Iterable[Entry], state: str) -> Iterator[Transition]:
    """Yield the transitions of one task, and what must have happened between and after them."""
    last: Entry | None = None
    for one in entries:
        if last is None:
            if one.before:
                yield _gap(one, "", one.before, _BEFORE)
        # Between two that fit, another run may have failed: then the attempt has grown meanwhile.
        elif one.before != last.after or int(one.attempt) > _most_attempts(last):
            yield _gap(one, last.after, one.before, _ELSEWHERE)
        yield _transition(one)
        last = one
    if last is not None and last.after != state:
        yield _gap(last, last.after, state, _ELSEWHERE)


def _order(entry: Entry) -> tuple[int, int]:
    return entry.order


def _most_attempts(entry: Entry) -> int:
    return int(entry.attempt) + (entry.step == "retry")


def _gap(near: Entry, before: str, after: str, reason: str) -> Transition:
    return Transition(
        queue=near.queue,
        task_id=near.task_id,
        type=near.type,
        at=None,
        before=before or None,
        after=after or None,
        step=UNSEEN,
        reason=reason,
    )


def _transition(entry: Entry) -> Transition:
    where, _, pid = entry.by.rpartition(":")
    user, _, host = where.rpartition("@")
    return Transition(
        queue=entry.queue,
        task_id=entry.task_id,
        type=entry.type,
        at=moment(entry.order[0] / 1000),
        before=entry.before or None,
        after=entry.after or None,
        step=entry.step,
        attempt=int(entry.attempt),
        user=user,
        host=host,
        pid=int(pid) if pid.isdigit() else None,
        reason=entry.reason,
        next_at=moment(int(entry.next_at)) if entry.next_at.isdigit() else None,
        trace_id=entry.trace,
    )
