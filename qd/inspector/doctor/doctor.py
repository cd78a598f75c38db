"""Look through the store for what is not as it should be, and repair it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from qd import clock as wall
from qd.broker.link import Link
from qd.errors import BrokerError, BrokerUnavailable
from qd.inspector.doctor import parts
from qd.inspector.doctor.finding import ORDER, Finding
from qd.inspector.doctor.survey import Progress, Survey, Suspects
from qd.inspector.doctor.tasks import Ward, judge_task
from qd.inspector.known import require_queue
from qd.inspector.servers import Servers
from qd.protocol import keys
from qd.protocol.ops import doctor, inspect_presence, inspect_queues

_SEARCH = 400_000
"""List elements that one script may search: some 3 ms."""

_AT_ONCE = 100
_GROUPS_AT_ONCE = 100

_AGAIN = 2
"""A repair's answer: done for a slice, call it again."""

_MANY = 1_000_000


class Mended(StrEnum):
    """What became of a finding."""

    REPAIRED = "repaired"
    CHANGED = "changed"
    """It was not the same any more, so nothing was done."""
    REFUSED = "refused"
    """Redis refused the step; nothing was done."""
    LEFT = "left"
    """There is no repair: a person must decide."""


class Report(Struct, frozen=True):
    """What a look has found: `tasks` in `queues` were looked at, within `seconds`."""

    findings: list[Finding]
    tasks: int
    queues: int
    seconds: float


class _Look(Struct):
    """What one closer look needs to know of everything."""

    now: float
    alive: frozenset[str]
    registered: frozenset[str]
    findings: list[Finding] = field(default_factory=list)


def _no_progress(count: int) -> None:
    pass


class Doctor:
    """
    The store check, over a `Link`. Looking changes nothing; repairs are only made by `mend`.

    Args:
        link: Where to; the caller closes it.

        prefix: What the names of the queues in question begin with.

        clock: The present as Unix seconds.

        between: Seconds between the two closer looks; a step of several commands, left open in the
            first, should be over by the second.
    """

    def __init__(
        self,
        link: Link,
        *,
        prefix: str = "",
        clock: Callable[[], float] = lambda: wall.now(),
        between: float = 0.2,
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._clock = clock
        self._between = between
        self._servers = Servers(link, clock)

    def look(
        self, queues: Sequence[str] | None = None, *, progress: Progress = _no_progress
    ) -> Report:
        """
        Look at all queues, or at those named, and return what is wrong, in the order of repairs.

        Only what two closer looks agree in is reported, so a system at work gives no
        false alarm. *progress* is told how many more tasks were looked at. On a cluster, queues that
        are not registered are only looked at if they are named.

        Raises:
            QueueNotFound: A queue that was named is not registered, and there is nothing of it.
        """
        began = time.monotonic()
        info = self._link.execute(inspect_presence.redis_info())
        cluster = info.get("cluster_enabled") == "1" or info.get("redis_mode") == "cluster"
        names = [one for one in self._names() if one.startswith(self._prefix)]
        survey = Survey(self._link, prefix=self._prefix, only=queues, progress=progress)
        suspects = survey.run(names, cluster=cluster)
        for queue in queues or ():
            if not suspects[queue].keys_seen:
                require_queue(self._link, queue)
        tasks, count = sum(one.tasks_seen for one in suspects.values()), len(suspects)
        first = self._closer(suspects, presence=queues is None)
        confirmed: list[Finding] = []
        if first:
            time.sleep(self._between)
            seen = {one.identity for one in first}
            narrowed = _narrow(suspects, first)
            second = self._closer(narrowed, presence=queues is None)
            confirmed = [one for one in second if one.identity in seen]
        confirmed.sort(key=lambda one: (ORDER[one.rule], one.queue, one.subject))
        return Report(confirmed, tasks, count, time.monotonic() - began)

    def mend(
        self, findings: Sequence[Finding], *, progress: Progress = _no_progress
    ) -> list[tuple[Finding, Mended]]:
        """
        Repair what `look` has found, in its order, and say what became of each.

        Each repair is one script (a large set takes several) that does nothing if its subject has
        changed since the look. Safe to repeat, and to interrupt.
        """
        done: list[tuple[Finding, Mended]] = []
        for finding in findings:
            done.append((finding, self._mend(finding)))
            progress(1)
        return done

    def _mend(self, finding: Finding) -> Mended:
        if finding.repair is None:
            return Mended.LEFT
        try:
            for _ in range(_MANY):
                answer = self._link.execute(finding.repair)
                if answer != _AGAIN:
                    return Mended.REPAIRED if answer else Mended.CHANGED
        except BrokerUnavailable:
            raise
        except BrokerError:
            return Mended.REFUSED
        return Mended.CHANGED

    def _names(self) -> list[str]:
        return self._link.execute(inspect_queues.names())

    def _closer(self, suspects: dict[str, Suspects], *, presence: bool) -> list[Finding]:
        look = _Look(
            now=self._clock(),
            alive=frozenset(one.id for one in self._servers.list()),
            registered=frozenset(self._names()),
        )
        for queue, some in suspects.items():
            look.findings += self._keys(queue, some, look)
            groups = self._groups(queue, some, look)
            tasks = list(self._tasks(queue, some, groups, look))
            look.findings += groups + tasks
            look.findings += self._locks(queue, some)
            if queue not in look.registered:
                look.findings += self._registration(queue, some, tasks)
        if presence:
            counts = self._link.execute_many(parts.count_dead_entries(now=look.now))
            look.findings += parts.dead_entries(counts, now=look.now)
        return look.findings

    def _keys(self, queue: str, some: Suspects, look: _Look) -> list[Finding]:
        prefix = keys.prefix(queue).encode()
        wanted = [prefix + name.encode() for name in parts.CONTAINERS]
        wanted += sorted(some.others | some.groups)
        found: list[Finding] = []
        for start in range(0, len(wanted), doctor.SLICE):
            piece = wanted[start : start + doctor.SLICE]
            described = self._link.execute(doctor.describe_keys(piece))
            for key, one in zip(piece, described, strict=True):
                finding = parts.judge_key(queue, key, one, now=look.now)
                found += [finding] if finding else []
        return found

    def _groups(self, queue: str, some: Suspects, look: _Look) -> list[Finding]:
        wanted = sorted(some.groups)
        found: list[Finding] = []
        for start in range(0, len(wanted), doctor.SLICE):
            piece = wanted[start : start + doctor.SLICE]
            seen = self._link.execute(doctor.groups(queue, piece))
            for key, one in zip(piece, seen, strict=True):
                finding = parts.judge_group(queue, key, one, now=look.now)
                found += [finding] if finding else []
        return found

    def _tasks(
        self, queue: str, some: Suspects, groups: Sequence[Finding], look: _Look
    ) -> Iterator[Finding]:
        prefix = keys.prefix(queue)
        # Sets that no list names hold tasks as well; those are not lost.
        unlisted = [one.name[len(prefix) :] for one in groups if one.rule == "unlisted-set"]
        ward = Ward(queue, look.now, look.alive, queue in look.registered)
        for seen, ids in _by_group(some.tasks).items():
            known = list(dict.fromkeys([seen, *unlisted] if seen else unlisted))[:_GROUPS_AT_ONCE]
            size = max(1, min(_AT_ONCE, _SEARCH // (some.listed + 1)))
            for start in range(0, len(ids), size):
                op = doctor.facts(queue, ids[start : start + size], known)
                for task in self._link.execute(op):
                    finding = judge_task(task, ward)
                    if finding is not None:
                        yield finding

    def _locks(self, queue: str, some: Suspects) -> list[Finding]:
        found: list[Finding] = []
        for start in range(0, len(some.locks), doctor.SLICE):
            piece = some.locks[start : start + doctor.SLICE]
            for lock in self._link.execute(doctor.locks(queue, piece)):
                finding = parts.judge_lock(queue, lock) if lock.holder else None
                found += [finding] if finding else []
        return found

    def _registration(self, queue: str, some: Suspects, tasks: Sequence[Finding]) -> list[Finding]:
        stays = some.any_listed or not all(one.gone for one in tasks)
        finding = parts.judge_registration(queue, has_tasks=stays, left=some.others)
        return [finding] if finding else []


def _narrow(suspects: dict[str, Suspects], findings: Sequence[Finding]) -> dict[str, Suspects]:
    """Only what the first closer look has found: of tasks and locks, which may be many."""
    found = {(one.queue, one.subject) for one in findings}
    return {
        queue: replace(
            some,
            tasks={one: seen for one, seen in some.tasks.items() if (queue, one) in found},
            locks=[one for one in some.locks if (queue, one) in found],
        )
        for queue, some in suspects.items()
    }


def _by_group(tasks: dict[bytes, str]) -> dict[str, list[bytes]]:
    groups: dict[str, list[bytes]] = {}
    for task_id, seen in tasks.items():
        groups.setdefault(seen, []).append(task_id)
    return groups
