"""asynq's semaphore (its package x/rate) holds for handlers of both sides, and qd leaves it alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

import qd
from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.inspector.doctor.doctor import Doctor
from tests.compat.apps.behaviours import Handlers
from tests.compat.asynq import Asynq, Steps
from tests.compat.peer import Peer
from tests.support.servers import RedisServer

pytestmark = pytest.mark.compat

KEY = "asynq:sema:mailer"
TOKENS = 3
TASKS = 40

# What a service needs to take part, as README.md has it.
ACQUIRE = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2] - 1)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  return 0
end
return redis.call('ZADD', KEYS[1], ARGV[3], ARGV[4])
"""


class WithToken(Handlers):
    """The usual behaviours, while there is a token; a task that gets none comes again."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self._url = url

    async def process_task(self, ctx: qd.Context, task: qd.Task) -> Any:
        async with redis.asyncio.Redis.from_url(self._url) as client:
            until = int(ctx.deadline_at or 0)
            if not await client.eval(ACQUIRE, 1, KEY, TOKENS, int(time.time()), until, ctx.task_id):
                raise qd.Snooze(0.1)
            try:
                return await super().process_task(ctx, task)
            finally:
                await client.zrem(KEY, ctx.task_id)


def at_once(journal: list[dict[str, Any]]) -> Iterator[int]:
    """How many were running after each start and end."""
    running = 0
    for line in sorted(journal, key=lambda one: one["time"]):
        running += 1 if line["event"] == "start" else -1
        yield running


def test_a_semaphore_holds_for_handlers_of_both_sides(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis, server: RedisServer
) -> None:
    # One token whose holder died long ago, one of a task that runs elsewhere.
    later = int(time.time()) + 3600
    raw.zadd(KEY, {"dead": 1, "elsewhere": later})
    for number in range(TASKS // 2):
        peer.client.enqueue("sleep:20ms", b"x", task_id=f"qd-{number}")
    asynq.enqueue_many(TASKS // 2, "sleep:20ms", id="go")
    limited = WithToken(peer.folder, server.url)
    go = asynq.work(
        semaphore=f"mailer:{TOKENS}", log=peer.journal.path,
        concurrency=5, task_check=0.02, delayed_check=0.1, retry_delay=0.1,
    )  # fmt: skip
    with (
        go as worker,
        peer.working(
            declare=lambda app: app.register_handler("sleep:20ms", limited),
            worker={"concurrency": 5},
        ),
    ):
        peer.journal.wait_count("end", TASKS, 40)
        steps.wait_queue("default", size=0)
        go_pid = worker.pid
    assert set(peer.journal.counts("start").values()) == {1}
    assert {one["pid"] == go_pid for one in peer.journal.events("end")} == {True, False}
    assert max(at_once(peer.journal.events("start") + peer.journal.events("end"))) == TOKENS - 1
    assert raw.zrange(KEY, 0, -1, withscores=True) == [(b"elsewhere", later)]
    assert raw.get("asynq:{default}:failed") is None


def test_tokens_are_left_alone_by_all_that_tidies_up(
    steps: Steps, peer: Peer, raw: redis.Redis, server: RedisServer
) -> None:
    """By the loops of the scheduler, by the removal of the queue, and by `qd doctor --fix`."""
    raw.zadd(KEY, {"dead": 1, "t1": int(time.time()) + 3600})
    before = raw.dump(KEY)
    steps.enqueue("ok", id="t1")
    with peer.working(scheduler={"recover_interval": 0.1, "janitor_interval": 0.1}):
        peer.journal.wait("end", "t1")
        steps.wait_queue("default", size=0)
    peer.inspector.queues.remove("default")
    with closing(open_link(parse_addresses([server.url]))) as link:
        assert Doctor(link).look().findings == []
    assert raw.dump(KEY) == before
