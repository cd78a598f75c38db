"""Tasks and queues of tests in few words, brought in by the operations themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qd.broker.link import Link
from qd.protocol import codec, keys
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import endings, tasks
from qd.protocol.ops.endings import Ending, Fate, Held
from qd.protocol.ops.tasks import NewTask, Refused, Taken

NOW = 4_102_444_800
"""2100-01-01T00:00:00Z, the present of tests: what is to expire later must not be gone today."""

NOW_NS = NOW * 1_000_000_000
UNTIL = NOW + 15
DAY = "2100-01-01"
OWNER = "worker-1"


def message(
    task_id: str, queue: str = "mail", *, payload: bytes = b'{"n":1}', **terms: Any
) -> bytes:
    """The bytes of a task message of type `email:send`."""
    said = Terms(queue=queue, max_retry=25, timeout=1800, **terms)
    return codec.encode_task(TaskMessage("email:send", payload, task_id, said))


def new(
    task_id: str,
    queue: str = "mail",
    *,
    unique: str = "",
    ttl: int = 60,
    process_at: int = 0,
    group: str = "",
    **terms: Any,
) -> NewTask:
    """A task on its way in; `unique` is the last part of its lock's key."""
    lock = keys.unique_prefix(queue) + f"email:send:{unique}" if unique else ""
    stored = message(task_id, queue, unique_key=lock, group=group, **terms)
    return NewTask(task_id, stored, lock, ttl if unique else 0, process_at, group)


def lock_key(unique: str, queue: str = "mail") -> str:
    return keys.unique_prefix(queue) + f"email:send:{unique}"


class Queue:
    """One queue, moved about by operations over a link."""

    def __init__(self, link: Link, name: str = "mail") -> None:
        self.link = link
        self.name = name

    def enqueue(self, *new_tasks: NewTask | str, now_ns: int = NOW_NS) -> list[Refused | None]:
        """Bring tasks in; a text stands for a plain task with that id."""
        made = [new(one, self.name) if isinstance(one, str) else one for one in new_tasks]
        return self.link.execute(tasks.enqueue(self.name, made, now_ns=now_ns))

    def take(
        self, count: int = 1, *, owner: str = OWNER, nonce: str = "n", until: int = UNTIL
    ) -> list[Taken] | None:
        return self.link.execute(
            tasks.dequeue(self.name, count=count, owner=owner, nonce=nonce, lease_until=until)
        )

    def hold(self, *ids: str, owner: str = OWNER, until: int = UNTIL) -> list[Held]:
        """Bring plain tasks in and take them at once, under a nonce of their own."""
        self.enqueue(*ids)
        taken = self.take(len(ids), owner=owner, nonce=f"hold {ids}", until=until)
        assert [one.id for one in taken or ()] == list(ids)
        return held(*ids, until=until)

    def done(
        self, endings_or_held: Sequence[Ending | Held], *, owner: str = OWNER, now: int = NOW
    ) -> list[Fate]:
        made = [one if isinstance(one, Ending) else Ending(one) for one in endings_or_held]
        return self.link.execute(endings.done(self.name, owner, made, day=DAY, now=now))


def held(*ids: str, until: int = UNTIL) -> list[Held]:
    """The lease of each id, as its worker knows it."""
    return [Held(one, until, until) for one in ids]
