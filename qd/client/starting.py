"""
A flow on its way into Redis: stored piece by piece, then started in one step, then moved on as ever.

Until it is started it expires by itself, so that whoever dies on the way leaves nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from qd import clock
from qd.client.compose import Composer
from qd.client.continuing import go_on
from qd.client.flow import Flow, Plan, plan
from qd.client.ids import new_id
from qd.client.room import QueueBounds
from qd.client.steps import Steps, asked
from qd.errors import BrokerError, FlowIdConflict, InvalidName, QueueFull, UsageError
from qd.handlers.options import TaskOptions
from qd.protocol import names
from qd.protocol.flow import HEADER, Place
from qd.protocol.ops import flows, pressure, tasks
from qd.protocol.ops.flows import Kept

LINK_RETENTION = 3600.0
"""
Seconds that links are kept at least after their end: there a scheduler sees that a Go server has ended one,
and as long as its id is in use a link is not enqueued again.
"""

_TTL = 600
"""Seconds that a flow is kept which has not started; each piece of it begins them anew."""

_PIECE = 500
_ROOM = 1 << 20
"""Nodes, and bytes of messages, that are stored in one step."""

_FIRST_LOOK = 1.0

_log = logging.getLogger("qd.flows")

_CANNOT = ("task_id", "unique", "group")


class NewFlow(Struct, frozen=True):
    """A flow ready to be sent. `first`: the queues of the links that begin at once; `keep`: see `describe`."""

    id: str
    prefix: str
    plan: Plan
    nodes: list[Kept]
    first: list[str]
    keep: int


def compose(
    flow: Flow,
    composer: Composer,
    *,
    flow_id: str | None,
    options_of: Callable[[str], TaskOptions],
    headers: Mapping[str, str],
) -> NewFlow:
    """
    Return a flow as it will be stored. *options_of*: what each type has by itself; *headers*: for all links.

    Raises:
        UsageError: A link has an option that no link can have, or there are too many links.
        InvalidName, PayloadTooLarge, PayloadError: As for any task.
    """
    made = plan(flow)
    prefix = composer.stored("")
    own_id = new_id() if flow_id is None else prefix + _checked(flow_id)
    nodes: list[Kept] = []
    keep = 0
    for number, node in made.nodes.items():
        if node.link is None:
            nodes.append(Kept(number, node.before, node.behind))
            continue
        task_type = node.link.type
        options = node.link.options.over(options_of(task_type))
        _check(task_type, options)
        place = Place(own_id, number)
        retention = max(composer.complete(options).retention or 0.0, LINK_RETENTION)
        if not node.behind:
            keep = max(keep, int(retention))
        own = replace(
            options,
            task_id=place.task_id,
            retention=retention,
            process_in=None,
            process_at=None,
            headers={**headers, **(options.headers or {}), HEADER: place.header},
        )
        task = composer.compose(task_type, node.link.body, own, now=0.0)
        at = options.process_at
        nodes.append(
            Kept(
                number,
                node.before,
                node.behind,
                task.queue,
                task_type,
                task.new.message,
                delay=max(options.process_in or 0.0, 0.0),
                not_before=0.0 if at is None else at.timestamp(),
            )
        )
    queues = {node.number: node.queue for node in nodes}
    return NewFlow(own_id, prefix, made, nodes, sorted({queues[n] for n in made.heads()}), keep)


def _checked(flow_id: str) -> str:
    names.check_id(flow_id)
    if "{" in flow_id or "}" in flow_id:
        raise InvalidName(
            f"flow id {flow_id!r} contains a brace",
            hint="Braces mark the Redis Cluster hash tag; use letters, digits, and - _ . :",
        )
    return flow_id


def _check(task_type: str, options: TaskOptions) -> None:
    for name in _CANNOT:
        if getattr(options, name) is not None:
            raise UsageError(
                f"{task_type} has {name}={getattr(options, name)!r}, which no link of a flow can have",
                hint="A link has an id of its flow's, and must not be refused or merged with others.",
            )


def begin(new: NewFlow, bounds: QueueBounds | None) -> Steps[None]:
    """
    Store a flow, let it begin, and enqueue its first links; raises what `store_and_start` raises.

    Once it has begun there is no error any more: what could not be enqueued here, a scheduler enqueues.
    """
    yield from store_and_start(new, bounds)
    try:
        yield from go_on(new.prefix, new.id)
    except BrokerError as error:
        _log.warning("flow %s has begun, and waits for a scheduler to move it: %s", new.id, error)


def store_and_start(new: NewFlow, bounds: QueueBounds | None) -> Steps[None]:
    """
    Store a flow and let it begin; its first links are then ready to be enqueued (`go_on`).

    Raises:
        QueueFull: A queue of the first links has no room; nothing was stored.
        FlowIdConflict: Its id is in use; nothing of this flow is kept.
        BrokerError: Redis is away, or refuses. It has not begun, unless this was the last step.
    """
    if bounds is not None:
        yield from _require_room(new, bounds)
    token = uuid.uuid4().hex
    as_a_whole = flows.describe(
        new.id,
        token,
        links=new.plan.links,
        ends=new.plan.ends,
        wide=new.plan.wide,
        keep=new.keep,
        queue_prefix=new.prefix,
        ttl=_TTL,
    )
    stored = yield from asked(as_a_whole)
    queues = sorted({node.queue for node in new.nodes if node.queue})
    for piece in _pieces(new.nodes) if stored[0] else ():
        stored = yield from asked(flows.store(new.id, token, piece, ttl=_TTL))
        if not stored[0]:
            break
    if stored[0]:
        at = clock.now() + _FIRST_LOOK
        yield from asked(tasks.announce(queues), flows.look_after(new.prefix, new.id, at=at))
        # Only now: from here on a scheduler moves it if nobody else does.
        stored = yield from asked(flows.start(new.id, token, new.plan.roots, now=clock.now()))
    if not stored[0]:
        raise FlowIdConflict(
            f"there is a flow {new.id!r}, or another call is just storing one",
            hint=f"See it with `qd flow show {new.id}`; one that has ended keeps its id for a while.",
        )


def _require_room(new: NewFlow, bounds: QueueBounds) -> Steps[None]:
    for queue in new.first:
        rule = bounds.of(queue)
        if rule is None:
            continue
        (seen,) = yield from asked(pressure.look(queue, rule.marks, now=int(clock.now())))
        bounds.note(queue, rule, seen)
        if seen.level == "critical":
            raise QueueFull(queue, seen.size, rule.marks.critical, rule.max_size)


def _pieces(nodes: list[Kept]) -> Iterator[list[Kept]]:
    piece: list[Kept] = []
    size = 0
    for node in nodes:
        if piece and (len(piece) >= _PIECE or size + len(node.message) > _ROOM):
            yield piece
            piece, size = [], 0
        piece.append(node)
        size += len(node.message)
    yield piece
