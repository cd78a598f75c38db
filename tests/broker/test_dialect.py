"""Servers before 7.0 cannot compile the flags in a script's first line; the links find that out."""

from __future__ import annotations

import asyncio

import pytest
import redis

from qd.broker.async_link import AsyncNodeLink
from qd.broker.wire import Dialect
from qd.protocol import keys
from qd.protocol.ops import tasks
from qd.protocol.scripts import Script
from tests.support.builders import Queue

FLAGGED = tasks.dequeue("mail", count=1, owner="w", nonce="n", lease_until=1)
REFUSAL = redis.ResponseError(
    "Error compiling script (new function): user_script:1: unexpected symbol near '#'"
)


def test_a_flagged_script_is_sent_with_its_flags_until_they_are_refused() -> None:
    dialect = Dialect()
    sent = dialect.in_full(FLAGGED)
    assert sent[1].startswith("#!lua flags=allow-oom\n")
    assert dialect.refused_flags(sent, REFUSAL)
    assert dialect.in_full(FLAGGED)[1] == Script("dequeue").plain
    assert dialect.command(FLAGGED)[1] == Script("dequeue").plain_sha


def test_everybody_whose_flags_were_refused_sends_again() -> None:
    """Several calls are under way before the first refusal arrives."""
    dialect = Dialect()
    first, second = dialect.in_full(FLAGGED), dialect.in_full(FLAGGED)
    assert dialect.refused_flags(first, REFUSAL)
    assert dialect.refused_flags(second, REFUSAL)


def test_a_plain_script_that_is_refused_is_not_sent_again() -> None:
    dialect = Dialect()
    dialect.plain = True
    assert not dialect.refused_flags(dialect.in_full(FLAGGED), REFUSAL)


def test_another_error_says_nothing_about_flags() -> None:
    dialect = Dialect()
    assert not dialect.refused_flags(dialect.in_full(FLAGGED), redis.ResponseError("WRONGTYPE x"))
    assert not dialect.plain


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags that no server can compile: what those of today are to a server of yesterday."""
    monkeypatch.setattr(Script, "text", property(lambda self: "#old\n" + self.plain))
    monkeypatch.setattr(Script, "sha", "0" * 40)


@pytest.mark.usefixtures("refusing")
def test_a_refused_script_is_carried_out_without_its_flags(queue: Queue) -> None:
    queue.enqueue("t1", "t2")
    taken = queue.take(2)
    assert taken is not None
    assert [one.id for one in taken] == ["t1", "t2"]


@pytest.mark.usefixtures("refusing")
async def test_many_first_calls_at_once_are_all_carried_out_without_flags(
    async_link: AsyncNodeLink, raw: redis.Redis
) -> None:
    raw.lpush(keys.pending("mail"), "ghost")
    answers = await asyncio.gather(*(async_link.execute(tasks.arm("mail")) for _ in range(10)))
    assert answers == [1] * 10
