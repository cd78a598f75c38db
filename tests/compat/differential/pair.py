"""
The same sequence on both sides, compared after every step.

What a wanted difference explains is made equal on asynq's side before the next step, so that it hides
nothing that comes later. Everything else raises `Unexplained`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from tests.compat.asynq import Asynq
from tests.compat.asynq_program import Steps
from tests.compat.differential.alphabet import kinds
from tests.compat.differential.asynq_side import AsynqSide
from tests.compat.differential.differences import Difference, differences
from tests.compat.differential.qd_side import QdSide
from tests.compat.differential.store import PREFIX, QUEUE, Store, View, content, listed
from tests.compat.differential.wanted import ANSWER, WANTED, Step
from tests.support.servers import RedisServer


class Unexplained(AssertionError):
    """The two sides differ, and no entry of the table says why."""


class Walk:
    """Makes an operation of the alphabet definite: which task is held, which set is staged."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        # In the order they were staged: their ids are random.
        self._sets: dict[str, str] = {}

    def resolve(self, op: dict[str, Any], view: View) -> dict[str, Any] | None:
        """The operation with its names filled in; None if there is nothing it could be done to."""
        if "pick" in op and op["op"] in ("run", "archive", "delete", "update-payload", "lose"):
            op = _named(op, view)
        task = content(view, f"t:{op.get('id')}")
        match op["op"]:
            case "end":
                return self._of_all_held(op, view)
            case "result" | "extend":
                return self._of_held(op)
            case "merge":
                return self._of_set(op)
            case "enqueue" if not task and op["id"] in listed(view):
                # The id would be listed twice, on both sides alike.
                return None
            case "lose" if not task or task.get("state") == "active":
                # A worker that ends a lost task revives it in asynq and does not in qd.
                return None
        return op

    def _of_held(self, op: dict[str, Any]) -> dict[str, Any] | None:
        if not self.held:
            return None
        definite = {name: value for name, value in op.items() if name != "pick"}
        task_id = op.get("id") or sorted(self.held)[op["pick"] % len(self.held)]
        return {**definite, "id": task_id, "by": self.held[task_id]}

    def _of_all_held(self, op: dict[str, Any], view: View) -> dict[str, Any] | None:
        """`tasks` that end, with their retentions: the chosen one and others of its holder."""
        if not self.held:
            return None
        ids = op.get("ids") or [sorted(self.held)[op["pick"] % len(self.held)]]
        by = self.held[ids[0]]
        others = [one for one, holder in self.held.items() if holder == by and one not in ids]
        ids = [*ids, *others[: op.get("count", 1) - 1]]
        messages = {task_id: content(view, f"t:{task_id}")["msg"] for task_id in ids}
        tasks = {task_id: message.get("retention", 0) for task_id, message in messages.items()}
        return {"op": "end", "tasks": tasks, "how": op["how"], "by": by}

    def _of_set(self, op: dict[str, Any]) -> dict[str, Any] | None:
        if not self._sets:
            return None
        chosen = list(self._sets)[op["pick"] % len(self._sets)] if "pick" in op else op["set"]
        return {"op": "merge", "id": op["id"], "set": chosen, "group": self._sets[chosen]}

    def note(self, op: dict[str, Any], answer: Any, after: View) -> None:
        """Remember who holds what, after the operation was carried out."""
        if op["op"] == "dequeue":
            self.held.update(dict.fromkeys(answer, op.get("by", "qd")))
        if op["op"] == "stage" and answer:
            self._sets[answer] = op["group"]
        active = content(after, "active") or ()
        self.held = {one: by for one, by in self.held.items() if one in active}
        staged = [key.rpartition(":")[2] for key in content(after, "aggregation_sets") or ()]
        self._sets = {one: group for one, group in self._sets.items() if one in staged}


def _named(op: dict[str, Any], view: View) -> dict[str, Any]:
    """One of the tasks there are; sometimes one that is not."""
    prefix = PREFIX + "t:"
    there = [key.removeprefix(prefix) for key in sorted(view) if key.startswith(prefix)]
    names = [*there, "nobody"]
    definite = {name: value for name, value in op.items() if name != "pick"}
    return {**definite, "id": names[op["pick"] % len(names)]}


class Pair:
    """Two servers, a session of asynq on each, a link of qd on the second."""

    def __init__(
        self, servers: tuple[RedisServer, RedisServer], sessions: tuple[Steps, Steps], link: Link
    ) -> None:
        self._servers = servers
        self._clients = tuple(server.client() for server in servers)
        self._sessions = sessions
        self._link = link
        self.operations = 0
        self.changed: set[str] = set()
        """The kinds of operations that have changed something, as `kind` names them."""
        self.explained: Counter[str] = Counter()

    def run(self, ops: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        Carry the operations out on both sides; return what was done, what asynq answered and what
        that changed in its database.

        Raises:
            Unexplained: With the sequence up to there, ready to be made a case of its own.
        """
        now = int(time.time())
        asynq, qd, stores = self.open(now)
        foreign = AsynqSide(self._sessions[1], now)
        walk = Walk()
        before = stores[1].view()
        record: list[dict[str, Any]] = []
        for drawn in ops:
            op = walk.resolve(drawn, before)
            if op is None:
                continue
            self.operations += 1
            answer, theirs = _carry_out(op, stores, asynq, foreign, qd)
            left, right = stores[0].view(), stores[1].view()
            changed = changes(before, left)
            record.append({"op": op, "answer": answer, "changes": changed})
            if changed:
                self.changed.update(kinds(op))
            step = Step(op, before, left, right, (answer, theirs), dict(walk.held))
            found = differences(left, right, time.time() - now)
            if answer != theirs:
                found.append(Difference(ANSWER, ":value", answer, theirs))
            names = explain(step, found, [one["op"] for one in record])
            self.explained.update(names)
            if names:
                today = dt.datetime.fromtimestamp(now, dt.UTC).date().isoformat()
                differing = {one.key.replace("TODAY", today) for one in found}
                stores[0].copy(differing - {ANSWER}, stores[1])
            walk.note(op, theirs, right)
            before = right
        return record

    def open(self, now: int) -> tuple[AsynqSide, QdSide, tuple[Store, Store]]:
        """Empty both databases and return the sides and what they work on, at that present."""
        for client in self._clients:
            client.flushall()
            client.sadd("asynq:queues", QUEUE)
        one, other = (Store(client, now) for client in self._clients)
        return AsynqSide(self._sessions[0], now), QdSide(self._link, now), (one, other)

    def close(self) -> None:
        for client in self._clients:
            client.close()


def _carry_out(
    op: dict[str, Any],
    stores: tuple[Store, Store],
    asynq: AsynqSide,
    foreign: AsynqSide,
    qd: QdSide,
) -> tuple[Any, Any]:
    """The answers of both sides; `by` "go" is done by asynq on qd's database as well."""
    match op["op"]:
        case "age":
            for store in stores:
                store.age(op["seconds"])
            qd.age(op["seconds"])
            return None, None
        case "lose":
            for store in stores:
                store.lose(op["id"])
            return None, None
    answer = asynq.apply(op)
    if op["op"] == "stage":
        op["set"] = answer or "none"
    return answer, foreign.apply(op) if op.get("by") == "go" else qd.apply(op)


def explain(step: Step, found: list[Difference], ops: list[dict[str, Any]]) -> list[str]:
    """The names of the entries that explain these differences, each once."""
    names: dict[str, None] = {}
    unexplained = []
    for one in found:
        entry = next((entry for entry in WANTED if entry.explains(step, one)), None)
        if entry:
            names[entry.name] = None
        else:
            unexplained.append(one)
    if unexplained:
        sequence = ",\n  ".join(json.dumps(op) for op in ops)
        lines = "\n".join(
            f"{one.key} {one.part}: asynq {one.asynq!r}, qd {one.qd!r}" for one in unexplained
        )
        raise Unexplained(f"after\n[\n  {sequence}\n]\n{lines}")
    return list(names)


def changes(before: View, after: View) -> dict[str, Any]:
    """What is different: the new content of each key, None for one that is gone."""
    return {
        key: after.get(key)
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """A pair with servers of its own."""
    with contextlib.ExitStack() as stack:
        servers = (stack.enter_context(RedisServer()), stack.enter_context(RedisServer()))
        one, other = (stack.enter_context(Asynq(server.url).steps()) for server in servers)
        link = stack.enter_context(contextlib.closing(open_link(parse_addresses([servers[1].url]))))
        yield stack.enter_context(contextlib.closing(Pair(servers, (one, other), link)))
