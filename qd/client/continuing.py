"""
Moves flows on: the worker that has ended a link does, and a scheduler where nobody else did.

Each step is safe to repeat, and whoever comes later goes on where another one has died: the end of a link
is noted in its queue until its flow knows; the flow marks it once, and knows what is to be enqueued until
it hears that it is; a link has an id, so that it is not enqueued twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from qd import clock as wall
from qd import failpoint
from qd.broker.async_link import AsyncLink
from qd.client.steps import Steps, asked, carry_out
from qd.errors import BrokerError
from qd.protocol.flow import Place, place_of_id
from qd.protocol.op import Op
from qd.protocol.ops import flows, tasks
from qd.protocol.ops.flows import Moved, News, NodeState, Ready
from qd.protocol.ops.tasks import NewTask

HOLD = 1.0
"""Seconds for which a flow takes it that whoever has nodes in hand is alive."""

_FIRST_LOOK = 1.0
"""Seconds after a link was enqueued until a scheduler looks whether it has ended."""

_AT_ONCE = 100


def go_on(
    queue_prefix: str,
    flow: str,
    news: Sequence[News] = (),
    *,
    clock: Callable[[], float] = lambda: wall.now(),
) -> Steps[Moved]:
    """
    Tell a flow *news*, enqueue what can be, and tell it of that, until nothing is left to do.

    Raises:
        BrokerError: Some of it could not be enqueued, or told; all else was done.
    """
    failed: BrokerError | None = None
    more: list[Op[Any]] = []
    while True:
        # One part after the other: Redis serves others in between.
        *parts, last = _parts(news)
        for part in parts:
            yield from asked(flows.move(flow, part, now=clock(), hold=HOLD, limit=0))
        take = flows.move(flow, last, now=clock(), hold=HOLD, limit=_AT_ONCE)
        answers = yield from asked(take, *more)
        moved: Moved = answers[0]
        if not moved.ready:
            break
        failpoint.hit("flow.told")
        taken = _by_queue(flow, moved.ready, clock())
        answers = yield [op for op, _ in taken]
        failpoint.hit("flow.enqueued")
        # A join is no task: it is done as soon as it can be.
        news = [News(one.number, NodeState.DONE) for one in moved.ready if not one.queue]
        for (_, members), answer in zip(taken, answers, strict=True):
            if isinstance(answer, BrokerError):
                failed = answer
            else:
                # What is refused is there already.
                news += [News(one.number, NodeState.ENQUEUED) for one in members]
        more = [flows.look_after(queue_prefix, flow, at=clock() + _FIRST_LOOK)]
        if not news:
            break
    if not moved.may_go_on:
        yield [flows.look_no_more(queue_prefix, flow)]
    if failed is not None:
        raise failed
    return moved


def _parts(news: Sequence[News]) -> list[list[News]]:
    """News that can be told in one step each; joins by themselves, because there may be much behind them."""
    links = [one for one in news if one.number > 0]
    parts = [[one] for one in news if one.number < 0]
    parts += [links[at : at + _AT_ONCE] for at in range(0, len(links), _AT_ONCE)]
    return parts or [[]]


def _by_queue(flow: str, ready: Sequence[Ready], now: float) -> list[tuple[Op[Any], list[Ready]]]:
    lanes: dict[tuple[str, bool], list[tuple[Ready, NewTask]]] = {}
    for one in ready:
        if one.queue:
            at = max(now + one.delay if one.delay else 0.0, one.not_before)
            delayed = at > now
            # Rounded up: a delay of half a second must not become none.
            when = int(at) + (at % 1 > 0) if delayed else 0
            task = NewTask(Place(flow, one.number).task_id, one.message, process_at=when)
            lanes.setdefault((one.queue, delayed), []).append((one, task))
    out: list[tuple[Op[Any], list[Ready]]] = []
    for (queue, delayed), members in lanes.items():
        new = [task for _, task in members]
        op = tasks.schedule(queue, new) if delayed else tasks.enqueue(
            queue, new, now_ns=int(now * 1e9)
        )  # fmt: skip
        out.append((op, [one for one, _ in members]))
    return out


async def settle(link: AsyncLink, queue_prefix: str, queue: str, ids: Sequence[str]) -> int:
    """
    Move the flows on whose links in *queue* have ended, and take back the notes of it.

    Returns how many links there were. Safe to repeat, and at the same time as others do.

    Raises:
        BrokerError: Of some; their notes are still there, all others are done.
    """
    failpoint.hit("flow.ended")
    places = {task_id: place_of_id(task_id) for task_id in ids}
    known = [(task_id, place) for task_id, place in places.items() if place is not None]
    news = await link.execute_many([flows.read_end(queue, place) for _, place in known])
    by_flow: dict[str, list[tuple[str, News]]] = {}
    for (task_id, place), one in zip(known, news, strict=True):
        by_flow.setdefault(place.flow, []).append((task_id, one))
    outcomes = await asyncio.gather(
        *(
            carry_out(link, go_on(queue_prefix, flow, [one for _, one in members]))
            for flow, members in by_flow.items()
        ),
        return_exceptions=True,
    )
    failpoint.hit("flow.confirmed")
    done = [task_id for task_id, place in places.items() if place is None]
    failed: BaseException | None = None
    for members, outcome in zip(by_flow.values(), outcomes, strict=True):
        if isinstance(outcome, BaseException):
            failed = outcome
        else:
            done += [task_id for task_id, _ in members]
    if done:
        await link.execute(flows.noted(queue, done))
    if failed is not None:
        raise failed
    return len(ids)
