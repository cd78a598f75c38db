"""
Operations on flows: tasks that follow each other. A flow and the queues of its links may lie on different
nodes of a cluster, so that to end a link and to enqueue what is behind it are steps apart, each safe to repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from qd.protocol import keys
from qd.protocol.flow import Place
from qd.protocol.op import Argument, Op, command, script, text
from qd.protocol.ops.endings import Fate
from qd.protocol.scripts import Script

_STORE = Script("flow_store")
_START = Script("flow_start")
_MOVE = Script("flow_move")
_LOOK = Script("flow_look")
_BEFORE = Script("flow_before")
_DUE = Script("flows_due")
_END_LINKS = {name: Script("end_links", around=name) for name in ("complete", "archive", "done")}

# Arguments of the scripts that end tasks: those before the tasks, and those of each.
_SHAPES = {"complete": (3, 7), "archive": (6, 3), "done": (4, 2)}

KEEP_BROKEN = 7 * 24 * 3600
"""Seconds that a flow is kept which cannot go on."""

_ROOM = 1 << 20
"""Bytes of messages after which a step gives no more of them."""


class FlowState(StrEnum):
    """How a flow stands."""

    STORING = "storing"
    """It is being stored, and has not begun."""
    RUNNING = "running"
    FAILED = "failed"
    """A link is dead; when it is brought back and succeeds, the flow goes on."""
    BROKEN = "broken"
    """A link is gone, deleted or revoked: what is behind it never runs."""
    DONE = "done"


class NodeState(StrEnum):
    """What a flow knows of one of its nodes; a node without a state waits for others."""

    ENQUEUED = "e"
    DONE = "d"
    DEAD = "a"
    GONE = "g"


class Kept(Struct, frozen=True):
    """
    A node as it is stored: its number, what is before and behind it.

    A link has its `queue`, `type`, `message`, and when to run it: so many seconds after it could, or
    not before a moment (Unix seconds). A join has none of these.
    """

    number: int
    before: Sequence[int]
    behind: Sequence[int]
    queue: str = ""
    type: str = ""
    message: bytes = b""
    delay: float = 0.0
    not_before: float = 0.0


class Ready(Struct, frozen=True):
    """A node that is to be enqueued, or if it is a join, to be called done at once."""

    number: int
    queue: str = ""
    message: bytes = b""
    delay: float = 0.0
    not_before: float = 0.0


class News(Struct, frozen=True):
    """What became of a node."""

    number: int
    state: NodeState
    result: bytes = b""


class Moved(Struct, frozen=True):
    """How a flow stands (None: there is none), whether it may go on, and what is to be enqueued."""

    state: FlowState | None
    may_go_on: bool
    ready: list[Ready]


class Enqueued(Struct, frozen=True):
    """A link that is enqueued and has not ended, as far as its flow knows."""

    number: int
    state: NodeState
    queue: str


class Seen(Struct, frozen=True):
    """What a look at a flow shows; `changed` is when it last got any further (Unix seconds)."""

    state: FlowState | None
    changed: float
    links: list[Enqueued]


class Shown(Struct, frozen=True):
    """
    A flow as a whole. `stopped_at`: the link that died or went last; `ends`: its last links; `wide`:
    they stand side by side, so that its result is a list. `created`, `changed`: Unix seconds.
    """

    state: FlowState
    created: float
    changed: float
    links: int
    ended: int
    dead: int
    gone: int
    stopped_at: int | None
    ends: tuple[int, ...]
    wide: bool
    queue_prefix: str


class Link(Struct, frozen=True):
    """One node of a flow, without its message and its result. `waits` for so many nodes."""

    number: int
    state: NodeState | None
    queue: str
    type: str
    before: tuple[int, ...]
    behind: tuple[int, ...]
    waits: int


# --- into Redis -----------------------------------------------------------------------------------


def store(flow: str, token: str, nodes: Sequence[Kept], *, ttl: int) -> Op[bool]:
    """
    Keep nodes of a flow for *ttl* seconds, or until it starts. To be sent after `describe`. Safe to repeat.

    False: it has expired, or somebody else stores a flow under this id.
    """
    fields: list[Argument] = []
    for node in nodes:
        n = node.number
        if node.queue:
            when = f"{node.delay:g} {node.not_before:.3f}"
            fields += (f"t{n}", f"{node.queue}\n{node.type}\n{when}", f"m{n}", node.message)
        if node.behind:
            fields += (f">{n}", " ".join(map(str, node.behind)))
        if node.before:
            fields += (f"<{n}", " ".join(map(str, node.before)))
        if len(node.before) > 1:
            fields += (f"w{n}", len(node.before))
    return script(_STORE, [keys.flow(flow)], [token, 0, ttl, *fields], bool)


def describe(
    flow: str,
    token: str,
    *,
    links: int,
    ends: Sequence[int],
    wide: bool,
    keep: int,
    queue_prefix: str,
    ttl: int,
) -> Op[bool]:
    """
    Begin to store a flow, with what holds for it as a whole. *keep*: seconds after its end. Safe to repeat.

    One that somebody else is storing makes way. False: there is a flow with this id.
    """
    fields: list[Argument] = ["links", links, "ends", " ".join(map(str, ends)), "wide", int(wide)]
    fields += ("keep", keep, "prefix", queue_prefix)
    return script(_STORE, [keys.flow(flow)], [token, 1, ttl, *fields], bool)


def start(flow: str, token: str, roots: Sequence[int], *, now: float) -> Op[bool]:
    """Let a flow begin with *roots*; False: it has expired, or its id is in use. Safe to repeat."""
    return script(
        _START, [keys.flow(flow), keys.flow_ready(flow)], [token, f"{now:.3f}", *roots], bool
    )


def look_after(queue_prefix: str, flow: str, *, at: float) -> Op[int]:
    """Let a scheduler look at a flow at *at* (Unix seconds), or before if that was to be. Safe to repeat."""
    return command("ZADD", [keys.flows(queue_prefix)], ["LT", f"{at:.3f}", flow], int)


# --- on its way -----------------------------------------------------------------------------------


def noting_ends(op: Op[list[Fate]], queue: str, *, now: float) -> Op[list[Fate]]:
    """
    End links as *op* ends tasks (`complete`, `archive`, `done`), and note each that has ended. Atomic.

    The note stays until `noted` is told that the flow knows.
    """
    assert op.script is not None  # noqa: S101 - those that end tasks are scripts
    name = op.script.name
    where = (keys.ended_links(queue), *op.keys)
    args = (f"{now:.3f}", *_SHAPES[name], *op.args)
    return replace(op, script=_END_LINKS[name], keys=where, args=args)


def ended(queue: str, *, until: float, limit: int) -> Op[list[str]]:
    """Read the oldest links that have ended until then, and whose flows may not know."""
    return command(
        "ZRANGE",
        [keys.ended_links(queue)],
        ["-inf", f"{until:.3f}", "BYSCORE", "LIMIT", 0, limit],
        lambda reply: [text(one) for one in reply],
    )


def noted(queue: str, ids: Sequence[str]) -> Op[int]:
    """The flows of these links know of their ends. Safe to repeat."""
    return command("ZREM", [keys.ended_links(queue)], list(ids), int)


def read_end(queue: str, place: Place) -> Op[News]:
    """Read what became of a link, from its task."""

    def parse(reply: Any) -> News:
        state, result = reply
        if state == b"completed":
            return News(place.number, NodeState.DONE, result or b"")
        if state == b"archived":
            return News(place.number, NodeState.DEAD)
        return News(place.number, NodeState.ENQUEUED if state else NodeState.GONE)

    return command("HMGET", [keys.task(queue, place.task_id)], ["state", "result"], parse)


def move(
    flow: str, news: Sequence[News], *, now: float, hold: float, limit: int = 100
) -> Op[Moved]:
    """
    Tell a flow what became of nodes, and take what is to be enqueued now. Atomic; safe to repeat.

    What is given is the caller's for *hold* seconds; once it is enqueued, that is news again.
    """
    args: list[Argument] = [f"{now:.3f}", f"{now + hold:.3f}", limit, _ROOM, KEEP_BROKEN]
    for one in news:
        args += (one.number, one.state, one.result)

    def parse(reply: Any) -> Moved:
        rows = zip(*[iter(reply[2:])] * 3, strict=True)
        return Moved(_state(reply[0]), bool(reply[1]), [_ready(*row) for row in rows])

    return script(_MOVE, _keys(flow), args, parse)


def look(flow: str, *, now: float, limit: int) -> Op[Seen]:
    """Read up to *limit* links that are enqueued, those first at which nobody has looked for longest."""

    def parse(reply: Any) -> Seen:
        rows = zip(*[iter(reply[2:])] * 3, strict=True)
        links = [
            Enqueued(int(n), NodeState(text(state)), text(task).partition("\n")[0])
            for n, state, task in rows
        ]
        return Seen(_state(reply[0]), float(reply[1] or 0), links)

    return script(_LOOK, [keys.flow(flow), keys.flow_open(flow)], [f"{now:.3f}", limit], parse)


def due(queue_prefix: str, *, now: float, hold: float, limit: int) -> Op[list[str]]:
    """Take flows that are to be looked at; unless told otherwise, they are due again in *hold* seconds."""
    return script(
        _DUE,
        [keys.flows(queue_prefix)],
        [f"{now:.3f}", f"{now + hold:.3f}", limit],
        lambda reply: [text(one) for one in reply],
    )


def look_no_more(queue_prefix: str, flow: str) -> Op[int]:
    """A flow is over. Safe to repeat."""
    return command("ZREM", [keys.flows(queue_prefix)], [flow], int)


# --- reading --------------------------------------------------------------------------------------


def before(place: Place) -> Op[list[int] | None]:
    """Read which links are directly before one, in their order; None if the flow is gone."""
    return script(
        _BEFORE,
        [keys.flow(place.flow)],
        [place.number],
        lambda reply: None if reply is None else [int(one) for one in reply],
    )


def results(flow: str, numbers: Sequence[int]) -> Op[list[bytes | None]]:
    """Read what links have left; None for those that left nothing, or have not ended."""
    return command("HMGET", [keys.flow(flow)], [f"r{n}" for n in numbers], list)


def show(flow: str) -> Op[Shown | None]:
    """Read a flow as a whole; None if there is none."""

    def parse(reply: Any) -> Shown | None:
        state, created, changed, links, ended, dead, gone, at, ends, wide, prefix = map(
            text, (one or b"" for one in reply)
        )
        if not state:
            return None
        return Shown(
            FlowState(state),
            float(created or 0),
            float(changed or 0),
            int(links or 0),
            int(ended or 0),
            int(dead or 0),
            int(gone or 0),
            int(at) if at else None,
            tuple(map(int, ends.split())),
            wide == "1",
            prefix,
        )

    names = "state created changed links ended dead gone at ends wide prefix"
    return command("HMGET", [keys.flow(flow)], names.split(), parse)


def read_links(flow: str, numbers: Sequence[int]) -> Op[list[Link | None]]:
    """Read nodes of a flow; None for those that it does not have."""

    def parse(reply: Any) -> list[Link | None]:
        rows = zip(*[iter(reply)] * 5, strict=True)
        return [_link(n, *row) for n, row in zip(numbers, rows, strict=True)]

    fields = [f"{kind}{n}" for n in numbers for kind in "ts<>w"]
    return command("HMGET", [keys.flow(flow)], fields, parse)


def alive(queue_prefix: str, *, offset: int, limit: int) -> Op[list[str]]:
    """Read flows that are not over, those to be looked at next first."""
    return command(
        "ZRANGE",
        [keys.flows(queue_prefix)],
        [offset, offset + limit - 1],
        lambda reply: [text(one) for one in reply],
    )


def _keys(flow: str) -> list[str | bytes]:
    return [keys.flow(flow), keys.flow_ready(flow), keys.flow_open(flow)]


def _state(reply: Any) -> FlowState | None:
    return FlowState(text(reply)) if reply else None


def _ready(number: Any, task: Any, message: Any) -> Ready:
    if task is None:
        return Ready(int(number))
    queue, _, when = text(task).split("\n")
    delay, not_before = map(float, when.split(" "))
    return Ready(int(number), queue, message or b"", delay, not_before)


def _link(number: int, task: Any, state: Any, before: Any, behind: Any, waits: Any) -> Link | None:
    if task is None and before is None and behind is None:
        return None
    queue, type_, _ = text(task).split("\n") if task else ("", "", "")
    return Link(
        number,
        NodeState(text(state)) if state else None,
        queue,
        type_,
        tuple(map(int, (before or b"").split())),
        tuple(map(int, (behind or b"").split())),
        int(waits or 1),
    )
