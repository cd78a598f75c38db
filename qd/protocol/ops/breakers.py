"""Operations on circuit breakers: may a task start, how did it end. They hold over all queues and hosts."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct

from qd.protocol import keys
from qd.protocol.op import Argument, Op, command, script, text
from qd.protocol.ops.limits import Member, wake
from qd.protocol.scripts import Script

_ASK = Script("breaker_ask")
_TELL = Script("breaker_tell")
_CALL = Script("breaker_call")
_RENEW = Script("breaker_renew")
_SHOW = Script("breaker_show")

Steps = Generator[Sequence[Op[Any]], list[Any], None]

_SHOWN = 1000
"""Keys that are shown of one breaker."""


class Rules(Struct, frozen=True):
    """
    When a breaker opens and closes.

    It opens after so many `failures` in a row (0: never), or when in a `window` (seconds) of at least
    `runs` runs the `share` of failures is reached (0: never). It is `open` for so many seconds; then
    `tries` tasks at a time may start, and `successes` of them close it, or one failure opens it again.
    """

    name: str
    failures: int = 5
    share: float = 0.0
    runs: int = 20
    window: float = 60.0
    open: float = 30.0
    tries: int = 3
    successes: int = 2


class Ended(IntEnum):
    """What the end of a run says of what it depends on."""

    NEITHER = -1
    FAILURE = 0
    SUCCESS = 1


class Change(Struct, frozen=True):
    """A key of a breaker has another state: closed, open or half-open. One process sees each change."""

    key: str
    before: str
    state: str


class Answer(Struct, frozen=True):
    """
    `verdicts`, by task: 0 it may start, 1 it may start as a try, below: to ask again in -n seconds.

    `called` are to be brought to the head of their queues (see `bring`).
    """

    verdicts: list[float]
    changes: list[Change]
    called: list[Member]


class Shown(Struct, frozen=True):
    """One key of a breaker. `since` and `until` in Unix seconds; `failures` are those in a row."""

    key: str
    state: str
    since: float | None
    until: float | None
    failures: int
    successes: int
    trying: int
    waiting: int
    runs: int
    failed: int


def ask(of: Rules, members: Sequence[Member]) -> Op[Answer]:
    """Let taken tasks start, or stand in line. Atomic. Safe to repeat: a try stays one."""
    return script(_ASK, [keys.breaker_index(of.name)], [*_rules(of), *_flat(members)], _answer)


def tell(of: Rules, ends: Sequence[tuple[Member, Ended]]) -> Op[Answer]:
    """Count how runs have ended. Atomic. Sent twice, a failure counts twice: after a lost answer, don't."""
    args = _rules(of)
    for member, how in ends:
        args += (member.task, member.key, int(how))
    return script(_TELL, [keys.breaker_index(of.name)], args, _answer, repeatable=False)


def call_next(of: Rules, gone: Sequence[Member]) -> Op[Answer]:
    """Take *gone* out of their lines, and call who is next there. Safe to repeat."""
    return script(_CALL, [keys.breaker_index(of.name)], [*_rules(of), 0, *_flat(gone)], _answer)


def bring(of: Rules, answer: Answer, *, now_ns: int) -> Steps:
    """
    Bring those who are called to the head of their queues; who does not come makes way for the next.

    Yields what is to be carried out in one go, wants the answers, and ends when nobody is called any more.
    Whoever dies in between leaves tasks that come by themselves, later.
    """
    seen: set[Member] = set()
    while fresh := [one for one in answer.called if one not in seen]:
        seen.update(fresh)
        answers = yield wake(fresh, now_ns=now_ns)
        gone = [one for some in answers for one in some]
        same_keys = [Member("", key) for key in sorted({one.key for one in fresh})]
        (answer,) = yield [call_next(of, [*gone, *same_keys])]


def reset(name: str, key: str) -> Op[Answer]:
    """Close a breaker for one key, and call the first of those who wait. Safe to repeat."""
    args: list[Argument] = [*_rules(Rules(name)), 1, "", key]
    return script(_CALL, [keys.breaker_index(name)], args, _answer)


def renew(name: str, tries: Sequence[Member]) -> Op[int]:
    """Keep the tries of tasks that still run. Safe to repeat."""
    prefix = keys.breaker_prefix(name)
    return script(_RENEW, [keys.breaker_index(name)], [prefix, *_flat(tries)], int)


def show(name: str) -> Op[list[Shown]]:
    """Read the keys of a breaker that are not at rest; changes nothing."""

    def parse(reply: Any) -> list[Shown]:
        rows = zip(*[iter(reply)] * 10, strict=True)
        return [
            Shown(text(row[0]), text(row[1]) or "closed", _moment(row[2]), _moment(row[3]),
                  *map(int, row[4:]))
            for row in rows
        ]  # fmt: skip

    return script(_SHOW, [keys.breaker_index(name)], [keys.breaker_prefix(name), _SHOWN], parse)


def publish(documents: Mapping[str, bytes]) -> Op[int]:
    """Make breakers known to tools, by name, as JSON. Safe to repeat."""
    args = [value for pair in documents.items() for value in pair]
    return command("HSET", [keys.BREAKERS], args, int)


def published() -> Op[dict[str, bytes]]:
    """Read the breakers that workers have made known."""

    def parse(reply: Any) -> dict[str, bytes]:
        # RESP3 has a map, RESP2 has names and values one after the other.
        pairs = reply.items() if isinstance(reply, dict) else zip(*[iter(reply)] * 2, strict=True)
        return {text(name): document for name, document in pairs}

    return command("HGETALL", [keys.BREAKERS], [], parse)


def _rules(of: Rules) -> list[Argument]:
    return [
        keys.breaker_prefix(of.name),
        of.failures,
        repr(of.share),
        of.runs,
        repr(of.window),
        repr(of.open),
        of.tries,
        of.successes,
    ]


def _flat(members: Sequence[Member]) -> list[Argument]:
    return [part for one in members for part in (one.task, one.key)]


def _answer(reply: Any) -> Answer:
    verdicts, changes, called = reply
    return Answer(
        [n / 1e6 if n < 0 else n for n in verdicts],
        [Change(*map(text, one)) for one in zip(*[iter(changes)] * 3, strict=True)],
        [Member(text(task), text(key)) for task, key in zip(*[iter(called)] * 2, strict=True)],
    )


def _moment(value: Any) -> float | None:
    return float(value) / 1e6 if value else None
