"""
Ends tasks that hung until their whole process was ended: an attempt has failed, as at any time limit.

The process is dead and reports nothing itself. Its neighbours are handed back by `orphans.py`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError, DecodeError, TaskTimeout
from qd.handlers.retries import RetryRules
from qd.maintenance.redis_clock import time_of
from qd.policy import outcome
from qd.policy.outcome import Action
from qd.protocol import codec, constants, keys
from qd.protocol.op import Op
from qd.protocol.ops import endings, inspect
from qd.protocol.ops.endings import Ending, Fate, Held

_log = logging.getLogger("qd.overdue")


async def charge(
    link: AsyncLink,
    queues: Sequence[str],
    rules: RetryRules,
    owner: str,
    running: Sequence[str],
    *,
    now: float,
) -> list[str]:
    """
    Record for tasks of the dead *owner* that their time limit was reached; *now* is Unix seconds.

    *running* are their keys. Each is retried or archived, as its terms say, under the fence. Safe to
    repeat. Returns the keys for which that was not possible: Redis is away, or it is the owner's no
    more.
    """
    left = list(running)
    for queue in queues:
        prefix = keys.task_prefix(queue)
        for key in [one for one in left if one.startswith(prefix)]:
            task_id = key.removeprefix(prefix)
            try:
                if await _charge_one(link, queue, rules, owner, task_id, now):
                    left.remove(key)
            except (BrokerError, DecodeError) as error:
                _log.error("time limit of task %s in %s not recorded: %s", task_id, queue, error)
    return left


async def _charge_one(
    link: AsyncLink, queue: str, rules: RetryRules, owner: str, task_id: str, now: float
) -> bool:
    stored = await link.execute(inspect.read_task(queue, task_id))
    if stored is None:
        return False
    message = codec.decode_task(stored.message)
    error = TaskTimeout()
    decided = outcome.failed(
        error,
        retried=message.terms.retried,
        max_retry=message.terms.max_retry,
        delay=lambda: rules.safe_delay(message, error),
    )
    retry = decided.action is Action.RETRY
    changed = codec.with_terms(
        message,
        retried=message.terms.retried + retry,
        error=decided.error,
        last_failed_at=int(now),
    )
    ending = Ending(
        # Whatever the owner may have written: it writes nothing any more.
        Held(task_id, 0, int(await time_of(link)) + constants.LEASE + 1),
        message=codec.encode_task(changed),
        at=math.ceil(now + decided.delay),
    )
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    record: Any = endings.retry if retry else endings.archive
    step: Op[list[Fate]] = record(queue, owner, [ending], day=day, now=int(now))
    [fate] = await link.execute(step)
    if fate is Fate.OK:
        verb = "will be retried" if retry else "is archived"
        _log.warning("task %s in %s hung at its time limit and %s", task_id, queue, verb)
    return fate is Fate.OK
