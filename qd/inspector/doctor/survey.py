"""
The walk over everything that is stored, in slices, which picks out what is worth a closer look.

Containers are walked first and the keys after them. What moves meanwhile may look wrong and is then
looked at once more; what stands still is always met. Memory: a number for each pending and active
task, and what is suspect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, field

from qd.broker.link import Link
from qd.errors import BrokerUnavailable, DecodeError, QdError
from qd.inspector.doctor.parts import CONTAINERS
from qd.protocol import codec, keys
from qd.protocol.op import Op, text
from qd.protocol.ops import doctor, inspect_queues
from qd.protocol.ops.inspect import Container
from qd.protocol.state import TaskState

_WALKED = tuple(state for state in TaskState if state is not TaskState.AGGREGATING)

Progress = Callable[[int], None]
_Look = tuple[str, list[bytes]]
"""A queue and ids of tasks in it, to be looked at in one step."""


class Suspects(Struct):
    """
    What is worth a closer look in one queue.

    `tasks` maps ids to the key of the group that listed them, behind the prefix, or to nothing.
    `listed` is the number of ids in lists, `tasks_seen` that of task hashes, `keys_seen` of all keys.
    """

    tasks: dict[bytes, str] = field(default_factory=dict)
    locks: list[bytes] = field(default_factory=list)
    groups: set[bytes] = field(default_factory=set)
    others: set[bytes] = field(default_factory=set)
    listed: int = 0
    any_listed: bool = False
    tasks_seen: int = 0
    keys_seen: int = 0
    pending: set[int] = field(default_factory=set)
    active: set[int] = field(default_factory=set)


class Survey:
    """One walk. *prefix* is what names of queues begin with; *only* names the queues, if given."""

    def __init__(
        self, link: Link, *, prefix: str, only: Sequence[str] | None, progress: Progress
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._only = only
        self._progress = progress
        self.found: dict[str, Suspects] = {}

    def run(self, registered: Sequence[str], *, cluster: bool) -> dict[str, Suspects]:
        """Walk over all queues and return what is suspect in each, the unregistered ones too."""
        queues = list(self._only if self._only is not None else registered)
        for queue in queues:
            self._open(queue)
        if cluster or self._only is not None:
            # A queue is on one node, so each is looked for where it is.
            for queue in queues:
                self._walk_keys(queue, _escape(keys.prefix(queue)) + "*")
        else:
            self._walk_keys("default", _escape(keys.BY_QUEUE + self._prefix) + "*")
        for queue, suspects in self.found.items():
            self._walk_groups(queue, suspects)
            suspects.pending.clear()
            suspects.active.clear()
        return self.found

    def _open(self, queue: str) -> Suspects:
        """The suspects of a queue; when it is met for the first time, its containers are walked."""
        if queue not in self.found:
            suspects = self.found[queue] = Suspects()
            for state in _WALKED:
                self._walk_container(Container(queue, state), suspects)
            self._walk_leases(queue, suspects)
        return self.found[queue]

    def _walk_container(self, source: Container, suspects: Suspects, seen: str = "") -> None:
        members = {TaskState.PENDING: suspects.pending, TaskState.ACTIVE: suspects.active}
        known = members.get(source.state)
        before: list[bytes] = []
        for ids, doubtful in self._pages(source):
            suspects.any_listed = True
            for task_id in doubtful:
                suspects.tasks.setdefault(task_id, seen)
            if seen:
                # Whose hash does not name the group was not found in it by its key.
                suspects.tasks.update((one, seen) for one in ids if one in suspects.tasks)
            if known is None:
                continue
            suspects.listed += len(ids)
            # What was pushed meanwhile has moved the rest on: the page begins with what was read.
            again = _overlap(before, ids)
            for task_id in ids[again:]:
                if hash(task_id) in known:
                    suspects.tasks.setdefault(task_id, seen)
                known.add(hash(task_id))
            before = ids

    def _pages(self, source: Container) -> Iterator[tuple[list[bytes], list[bytes]]]:
        offset = 0
        while True:
            ids, doubtful = self._link.execute(doctor.page(source, offset=offset))
            if ids:
                yield ids, doubtful
            if len(ids) < doctor.SLICE:
                return
            offset += len(ids)

    def _walk_leases(self, queue: str, suspects: Suspects) -> None:
        for ids in self._slices(lambda offset: doctor.leased(queue, offset=offset)):
            for task_id in ids:
                if hash(task_id) not in suspects.active:
                    suspects.tasks.setdefault(task_id, "")

    def _walk_groups(self, queue: str, suspects: Suspects) -> None:
        """Members of groups and staged sets; and those that are listed without being there."""
        prefix = keys.group_prefix(queue)
        for key in sorted(suspects.groups):
            name = text(key)[len(prefix) :]
            source = Container(queue, TaskState.AGGREGATING, name)
            self._walk_container(source, suspects, "g:" + name)
        for ids in self._slices(lambda offset: doctor.staged_sets(queue, offset=offset)):
            suspects.groups.update(one for one in ids if one.startswith(prefix.encode()))
        cursor = "0"
        while True:
            try:
                step = inspect_queues.group_sizes(queue, cursor)
                cursor, sizes = self._link.execute(step)
            except BrokerUnavailable:
                raise
            except QdError:
                return
            suspects.groups.update(
                (prefix + name).encode() for name, size in sizes.items() if not size
            )
            if cursor == "0":
                return

    def _slices(self, op: Callable[[int], Op[list[bytes]]]) -> Iterator[list[bytes]]:
        """The pages of a sorted set; none of a key of another type, which is found by itself."""
        offset = 0
        while True:
            try:
                ids = self._link.execute(op(offset))
            except BrokerUnavailable:
                raise
            except QdError:
                return
            yield ids
            if len(ids) < doctor.SLICE:
                return
            offset += len(ids)

    def _walk_keys(self, via: str, pattern: str) -> None:
        cursor = "0"
        looks: list[_Look] = []
        while True:
            # The tasks of one page are looked at in the same round trip that reads the next.
            steps = [doctor.tasks(queue, ids) for queue, ids in looks]
            (cursor, page), *replies = self._link.execute_many(
                [doctor.scan(via, pattern, cursor), *steps]
            )
            looks = self._judge(looks, replies) + self._sort(page)
            if cursor == "0":
                break
        while looks:
            replies = self._link.execute_many([doctor.tasks(queue, ids) for queue, ids in looks])
            looks = self._judge(looks, replies)

    def _sort(self, page: Sequence[bytes]) -> list[_Look]:
        """Note the keys of one page, and return the tasks among them, by queue and in slices."""
        names: dict[bytes, list[bytes]] = {}
        for key in page:
            head, brace, name = key.partition(b"}:")
            if brace:
                names.setdefault(head[len(keys.BY_QUEUE) :], []).append(name)
        looks: list[_Look] = []
        for head, some in names.items():
            queue = text(head)
            self._open(queue).keys_seen += len(some)
            ids = [name[2:] for name in some if name[:2] == b"t:"]
            looks += [
                (queue, ids[start : start + doctor.SLICE])
                for start in range(0, len(ids), doctor.SLICE)
            ]
            if len(ids) < len(some):
                self._note(queue, [name for name in some if name[:2] != b"t:"])
        return looks

    def _note(self, queue: str, names: Sequence[bytes]) -> None:
        """Note keys that are no tasks; locks are looked at here and now."""
        suspects = self._open(queue)
        prefix = keys.prefix(queue).encode()
        suspects.groups.update(prefix + name for name in names if name.startswith(b"g:"))
        locks = [prefix + name for name in names if name.startswith(b"unique:")]
        suspects.others.update(
            prefix + name
            for name in names
            if not name.startswith((b"g:", b"unique:")) and text(name) not in CONTAINERS
        )
        if locks:
            for lock in self._link.execute(doctor.locks(queue, locks)):
                if lock.holder:
                    suspects.locks.append(lock.key)
                else:
                    suspects.others.add(lock.key)

    def _judge(
        self, looks: Sequence[_Look], replies: Sequence[list[tuple[bytes, bytes]]]
    ) -> list[_Look]:
        """Pick out the suspects; return the tasks that were too large to be looked at yet."""
        left: list[_Look] = []
        for (queue, ids), reply in zip(looks, replies, strict=True):
            suspects = self._open(queue)
            places = {b"p": suspects.pending, b"a": suspects.active}
            for task_id, (verdict, message) in zip(ids, reply, strict=False):
                known = places.get(verdict)
                fine = verdict == b"f" if known is None else hash(task_id) in known
                if not fine or (message and not _readable(message)):
                    suspects.tasks.setdefault(task_id, "")
            suspects.tasks_seen += len(reply)
            self._progress(len(reply))
            if len(reply) < len(ids):
                left.append((queue, ids[len(reply) :]))
        return left


def _readable(message: bytes) -> bool:
    try:
        codec.decode_task(message)
    except DecodeError:
        return False
    return True


def _overlap(before: Sequence[bytes], page: Sequence[bytes]) -> int:
    """How many ids at the beginning of *page* are the last of the page *before*."""
    if not before or page[0] not in before:
        return 0
    count = len(before) - before.index(page[0])
    return count if list(before[-count:]) == list(page[:count]) else 0


def _escape(literal: str) -> str:
    return re.sub(r"([*?\[\]\\^])", r"\\\1", literal)
