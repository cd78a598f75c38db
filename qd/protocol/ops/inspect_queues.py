"""Operations on whole queues: sizes and counters, pause and resume, removal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from qd.protocol import keys
from qd.protocol.op import Op, command, script, text
from qd.protocol.ops.inspect import whole
from qd.protocol.scripts import Script

_INFO = Script("queue_info")
_MEMORY = Script("queue_memory")
_GROUP_SIZES = Script("group_sizes")
_FLUSH_GROUP = Script("flush_group")
_SCAN_KEYS = Script("scan_keys")
_REMOVE = Script("remove_queue")
_SWEEP = Script("sweep_queue")

_MEMORY_SAMPLE = 20
_MEMORY_GROUPS = 5
_GROUPS_PAGE = 500
_FLUSH_BATCH = 500
_FLUSH_BY = 400 * 86_400
"""Seconds that a flushed group is made older by: more than any grace period."""

_SCAN_PAGE = 1000


class QueueCounts(Struct, frozen=True):
    """Sizes and counters of one moment. `leased` are the active tasks with a live lease."""

    pending: int
    active: int
    leased: int
    scheduled: int
    retry: int
    archived: int
    completed: int
    groups: int
    paused: bool
    paused_at: int | None
    paused_by: str
    processed: int
    processed_today: int
    failed: int
    failed_today: int
    pending_since_ns: int | None
    pressure: str
    refused: int
    dropped: int
    problems: tuple[str, ...]


class Removal(Struct, frozen=True):
    """Whether a queue was removed, and the tasks it has (or had) in each state."""

    removed: bool
    pending: int
    active: int
    scheduled: int
    retry: int
    archived: int
    completed: int
    aggregating: int

    @property
    def tasks(self) -> int:
        return (
            self.pending
            + self.active
            + self.scheduled
            + self.retry
            + self.archived
            + self.completed
            + self.aggregating
        )


def names() -> Op[list[str]]:
    """Every queue that was ever written to, by name."""
    return command("SMEMBERS", [keys.QUEUES], [], lambda reply: sorted(map(text, reply)))


def exists(queue: str) -> Op[bool]:
    return command("SISMEMBER", [keys.QUEUES], [queue], bool)


def info(queue: str, *, day: str, now: int) -> Op[QueueCounts]:
    """The sizes and counters of a queue in one atomic look; *day* (UTC) is "today"."""
    return script(
        _INFO,
        [
            keys.pending(queue),
            keys.active(queue),
            keys.lease(queue),
            keys.scheduled(queue),
            keys.retry(queue),
            keys.archived(queue),
            keys.completed(queue),
            keys.groups(queue),
            keys.paused(queue),
            keys.processed(queue),
            keys.processed_on(queue, day),
            keys.failed(queue),
            keys.failed_on(queue, day),
            keys.paused_by(queue),
            keys.pressure(queue),
        ],
        [keys.task_prefix(queue), now],
        _counts,
    )


def _counts(reply: Any) -> QueueCounts:
    pending, active, leased, scheduled, retry, archived, completed, groups = reply[:8]
    paused, processed, processed_today, failed, failed_today, since, problems, by = reply[8:16]
    pressure, refused, dropped = reply[16:]
    # Another program may have resumed and paused it since: then the moment is another one.
    moment, _, paused_by = text(by).partition(" ")
    return QueueCounts(
        pending=pending,
        active=active,
        leased=leased,
        scheduled=scheduled,
        retry=retry,
        archived=archived,
        completed=completed,
        groups=groups,
        paused=bool(paused),
        paused_at=whole(paused),
        paused_by=paused_by if paused and moment == text(paused) else "",
        processed=whole(processed) or 0,
        processed_today=whole(processed_today) or 0,
        failed=whole(failed) or 0,
        failed_today=whole(failed_today) or 0,
        pending_since_ns=whole(since),
        pressure=text(pressure),
        refused=int(refused),
        dropped=int(dropped),
        problems=tuple(text(one) for one in problems),
    )


def memory(queue: str, *, aggregating: int) -> Op[int]:
    """About how many bytes a queue takes, from a sample of its tasks."""
    return script(
        _MEMORY,
        [
            keys.pending(queue),
            keys.active(queue),
            keys.scheduled(queue),
            keys.retry(queue),
            keys.archived(queue),
            keys.completed(queue),
            keys.groups(queue),
        ],
        [
            keys.task_prefix(queue),
            keys.group_prefix(queue),
            aggregating,
            _MEMORY_SAMPLE,
            _MEMORY_GROUPS,
        ],
        int,
    )


def group_sizes(queue: str, cursor: str) -> Op[tuple[str, dict[str, int]]]:
    """Some groups and how many tasks wait in each, and the next cursor ("0": begin, end)."""

    def parse(reply: Any) -> tuple[str, dict[str, int]]:
        flat = reply[1]
        return text(reply[0]), {text(flat[i]): flat[i + 1] for i in range(0, len(flat), 2)}

    return script(
        _GROUP_SIZES,
        [keys.groups(queue)],
        [keys.group_prefix(queue), cursor, _GROUPS_PAGE],
        parse,
    )


def flush_group(queue: str, group: str, *, until: int) -> Op[int]:
    """
    Make up to 500 tasks that came until then look so old that their group is merged at the next look.

    Returns how many those were; to be repeated until there are none.
    """
    return script(
        _FLUSH_GROUP,
        [keys.group(queue, group)],
        [until, _FLUSH_BY, _FLUSH_BATCH],
        int,
    )


def history(queue: str, days: Sequence[str]) -> Op[list[tuple[int, int]]]:
    """(processed, failed) of each of *days*, which are UTC dates."""
    wanted = [
        key for day in days for key in (keys.processed_on(queue, day), keys.failed_on(queue, day))
    ]

    def parse(reply: Any) -> list[tuple[int, int]]:
        numbers = [whole(one) or 0 for one in reply]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    return command("MGET", wanted, [], parse)


def pause(queue: str, *, now: int) -> Op[bool]:
    """Let no task of a queue be taken any more; False when it was paused before."""
    return command(
        "SET",
        [keys.paused(queue)],
        [now, "NX"],
        lambda reply: reply is not None,
        repeatable=False,
    )


def sign_pause(queue: str, who: str, *, now: int) -> Op[bool]:
    """Note who has paused a queue; *now* is what `pause` was given."""
    return command("SET", [keys.paused_by(queue)], [f"{now} {who}"], bool)


def unsign_pause(queue: str) -> Op[int]:
    return command("DEL", [keys.paused_by(queue)], [], int)


def resume(queue: str) -> Op[bool]:
    """Let tasks be taken again; False when the queue was not paused."""
    return command("DEL", [keys.paused(queue)], [], bool, repeatable=False)


def remove(queue: str, *, limit: int) -> Op[Removal]:
    """
    Delete the containers of a queue, with at most *limit* tasks in them. Atomic.

    With more tasks, or a running one, nothing is changed; so a limit of -1 only looks.
    """
    return script(
        _REMOVE,
        [
            keys.pending(queue),
            keys.active(queue),
            keys.scheduled(queue),
            keys.retry(queue),
            keys.archived(queue),
            keys.completed(queue),
            keys.groups(queue),
            keys.aggregation_sets(queue),
            keys.lease(queue),
            keys.paused(queue),
            keys.paused_by(queue),
            keys.pressure(queue),
        ],
        [keys.task_prefix(queue), keys.group_prefix(queue), limit],
        lambda reply: Removal(bool(reply[0]), *reply[1:]),
        repeatable=False,
    )


def forget(queue: str) -> Op[int]:
    """Take a queue's name off the list that every tool reads."""
    return command("SREM", [keys.QUEUES], [queue], int)


def find_groups(queue: str, cursor: str) -> Op[tuple[str, list[str]]]:
    """
    Names of groups and staged sets that have members, listed or not; and the next cursor.

    A name with a colon may be a staged set, `<group>:<set id>`. Walks over all keys of the node.
    """
    prefix = keys.group_prefix(queue)

    def parse(reply: Any) -> tuple[str, list[str]]:
        return text(reply[0]), [text(key)[len(prefix) :] for key in reply[1]]

    return script(
        _SCAN_KEYS, [keys.pending(queue)], [_escape(prefix) + "*", cursor, _SCAN_PAGE], parse
    )


def sweep(queue: str, cursor: str) -> Op[tuple[str, int]]:
    """
    Delete what a removed queue has left, and say how many keys that were; and the next cursor.

    Walks over all keys of the node. Tasks that a container lists stay.
    """
    return script(
        _SWEEP,
        [keys.pending(queue), keys.active(queue), keys.aggregation_sets(queue)],
        [
            keys.prefix(queue),
            f"*:{{{_escape(queue)}}}:*",
            cursor,
            _SCAN_PAGE,
            keys.events(queue),
        ],
        lambda reply: (text(reply[0]), reply[1]),
    )


def _escape(literal: str) -> str:
    """Return a glob pattern that matches just *literal*."""
    return "".join(f"\\{one}" if one in "*?[]\\^" else one for one in literal)
