"""
Hands back what a dead worker process of this host held, without waiting for its leases to end.

Whoever hears of the death may do it, and several may: what was handed back once is not the dead
worker's any more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from qd import failpoint
from qd.broker.async_link import AsyncLink
from qd.client.calling import bring
from qd.errors import BrokerError, BrokerUnavailable
from qd.maintenance.redis_clock import time_of
from qd.observability import tally
from qd.protocol import constants, keys
from qd.protocol.op import Op
from qd.protocol.ops import upkeep
from qd.protocol.ops.limits import Bounds, Member, free

_log = logging.getLogger("qd.orphans")

_LONGEST_BACKOFF = 1.0


async def hand_back(
    link: AsyncLink,
    queues: Sequence[str],
    owner: str,
    cause: str,
    running: Sequence[str] | None,
    *,
    killed: bool = False,
    limits: Sequence[Bounds] = (),
) -> tuple[int, int]:
    """
    Put all that *owner* held back at the head of its queues; no retry is charged.

    The death, with its *cause*, is counted for the tasks whose keys are in *running* (None: not known, so all
    that it held may have seen it); one that has now killed its worker twice is archived as poison. If the worker was *killed* by somebody else,
    the tasks may well be innocent, see `upkeep.hand_back`. While Redis is away this is tried again,
    until the leases have run out and the tasks are recovered anyway. Safe to repeat.

    A task that is put back keeps its slots under *limits* for whoever takes it; those of an archived
    one are freed.

    Returns:
        How many tasks were put back, and how many were archived.
    """
    give_up_at = time.monotonic() + constants.LEASE
    put_back = archived = attempt = 0
    left = list(queues)
    while left:
        failpoint.hit("hand_back.before")
        step = partial(upkeep.hand_back, owner=owner, running=running, cause=cause, killed=killed)
        answers = await _ask(link, left, step)
        failpoint.hit("hand_back.after")
        missing = []
        for queue, answer in zip(left, answers, strict=True):
            if isinstance(answer, BrokerUnavailable):
                missing.append(queue)
            elif isinstance(answer, BaseException):
                _log.error(
                    "tasks of %s in %s wait for their leases to end: %s", owner, queue, answer
                )
            else:
                back, poison = answer
                put_back += len(back)
                archived += len(poison)
                for task_id in poison:
                    _log.error(
                        "task %s in %s is archived: worker processes keep dying while they run it, "
                        "the last one: %s",
                        task_id,
                        queue,
                        cause,
                    )
                await _free_slots(link, limits, owner, queue, poison)
        left = missing
        if left:
            if time.monotonic() >= give_up_at:
                _log.error("tasks of %s in %s wait for their leases to end", owner, ", ".join(left))
                break
            await asyncio.sleep(min(0.05 * 2 ** min(attempt, 8), _LONGEST_BACKOFF))
            attempt += 1
    if running is None and not (put_back or archived):
        # Nobody told of this death: it is found again by each who looks.
        return put_back, archived
    _log.info("worker %s is gone (%s): %d tasks put back", owner, cause, put_back)
    counting = tally.current()
    if counting is not None:
        # What follows the comma differs from death to death.
        counting.add(tally.DEATHS, cause.partition(",")[0])
        counting.add(tally.HANDED_BACK, "put back", by=put_back)
        counting.add(tally.HANDED_BACK, "archived", by=archived)
    return put_back, archived


async def _free_slots(
    link: AsyncLink, limits: Sequence[Bounds], owner: str, queue: str, ids: list[str]
) -> None:
    if not ids:
        return
    members = [Member(keys.task(queue, task_id), "") for task_id in ids]
    for bounds in limits:
        try:
            called = await link.execute(free(bounds, members, owner=owner))
            await bring(link, bounds, called)
        except BrokerError as error:
            _log.warning("slots of the limit %s end later: %s", bounds.name, error)


async def _ask(
    link: AsyncLink, queues: list[str], step: Callable[..., Op[tuple[list[str], list[str]]]]
) -> list[tuple[list[str], list[str]] | BaseException]:
    try:
        # By which clock those leases end that may have been the dead worker's.
        now = await time_of(link)
        day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        now_ns = int(now * 1_000_000_000)
        return await link.execute_each([step(one, day=day, now_ns=now_ns) for one in queues])
    except BrokerError as error:
        return [error] * len(queues)
