"""Flows: how they stand, what became of each link, and where a task stands in its flow."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from qd.broker.link import Link
from qd.errors import FlowNotFound
from qd.inspector.values import iso, moment
from qd.inspector.views import TaskView
from qd.protocol.flow import Place, place_in, place_of_id
from qd.protocol.ops import flows, inspect
from qd.protocol.ops.flows import NodeState, Shown

_NEAR = 5
"""Links before and behind a task that are named."""

_AT_ONCE = 500

_ENDED = {NodeState.DONE: "done", NodeState.DEAD: "dead", NodeState.GONE: "gone"}


class FlowView(Struct, frozen=True):
    """
    A flow. `state`: running, failed (a link is dead), broken (one is gone), done, storing.

    Of `links`, `ended` have succeeded, `dead` are archived, `gone` are deleted or revoked;
    `stopped_at`: the link that died or went last. `changed`: when it last got any further.
    """

    id: str
    state: str
    links: int
    ended: int
    dead: int
    gone: int
    stopped_at: str
    created: datetime | None
    changed: datetime | None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "created": iso(self.created), "changed": iso(self.changed)}


class LinkView(Struct, frozen=True):
    """A link. `state`: waiting (it is not enqueued yet), done, dead, gone, or that of its task."""

    id: str
    number: int
    queue: str
    type: str
    state: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class PlaceView(Struct, frozen=True):
    """Where a task stands in its flow: its number, and the first few links before and behind it."""

    flow: FlowView
    number: int
    before: tuple[str, ...]
    before_count: int
    behind: tuple[str, ...]
    behind_count: int

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "flow": self.flow.as_dict()}


class Flows:
    """Looks at flows, and changes none."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def get(self, flow: str) -> FlowView:
        """
        Return one flow.

        Raises:
            FlowNotFound: There is none with this id; it may have ended, and be forgotten.
        """
        shown = self._link.execute(flows.show(flow))
        if shown is None:
            raise FlowNotFound(
                f'There is no flow "{flow}".',
                hint="One that has ended is kept as long as its last links: an hour or more. "
                "`qd flow ls` lists those that are not over.",
            )
        return _view(flow, shown)

    def list(self, queue_prefix: str = "", *, limit: int = 30) -> builtins.list[FlowView]:
        """Return up to *limit* flows that are not over; those that got further last come first."""
        ids = self._link.execute(flows.alive(queue_prefix, offset=0, limit=limit))
        shown = self._link.execute_many([flows.show(one) for one in ids])
        return [_view(one, seen) for one, seen in zip(ids, shown, strict=True) if seen is not None]

    def links(self, flow: str, *, first: int = 1, limit: int = 30) -> builtins.list[LinkView]:
        """Return up to *limit* links of a flow, from number *first* on; raises FlowNotFound."""
        count = self.get(flow).links
        return self._links(flow, range(first, min(first + limit, count + 1)))

    def place(self, task: TaskView) -> PlaceView | None:
        """Return where a task stands in its flow; None for one of no flow, or if that is forgotten."""
        place = place_in(task.id, task.headers)
        shown = None if place is None else self._link.execute(flows.show(place.flow))
        if place is None or shown is None:
            return None
        before = self._link.execute(flows.before(place)) or []
        behind, behind_count = self._behind(place)
        return PlaceView(
            _view(place.flow, shown),
            place.number,
            _ids(place.flow, before[:_NEAR]),
            len(before),
            _ids(place.flow, behind),
            behind_count,
        )

    def absent(self, task_id: str) -> str:
        """Return why the task of a link is not there, as a sentence; empty if it is no link."""
        place = place_of_id(task_id)
        found = [] if place is None else self._links(place.flow, [place.number])
        if place is None or not found:
            return ""
        (link,) = found
        name = f"Link {place.number} of flow {place.flow}"
        if link.state == "waiting":
            before = self._link.execute(flows.before(place)) or []
            awaited = [
                f"{one.id} ({one.state})"
                for one in self._links(place.flow, before[:_AT_ONCE])
                if one.state != "done"
            ]
            more = ", ..." if len(awaited) > _NEAR else ""
            return f"{name} is not enqueued yet: it waits for {', '.join(awaited[:_NEAR])}{more}."
        if link.state == "done":
            return f"{name} has succeeded, and its task was kept as long as it was to be."
        return f"{name} is {link.state}: its task was deleted, or revoked."

    def _links(self, flow: str, numbers: Sequence[int]) -> builtins.list[LinkView]:
        nodes = [
            one for one in self._link.execute(flows.read_links(flow, numbers)) if one is not None
        ] if numbers else []  # fmt: skip
        # What became of those that are enqueued is known to their tasks.
        alive = [one for one in nodes if one.state is NodeState.ENQUEUED]
        read = [inspect.read_task(one.queue, Place(flow, one.number).task_id) for one in alive]
        tasks = self._link.execute_many(read) if read else []
        states = {
            one.number: "gone" if task is None else task.state
            for one, task in zip(alive, tasks, strict=True)
        }
        return [
            LinkView(
                Place(flow, one.number).task_id,
                one.number,
                one.queue,
                one.type,
                states.get(one.number) or ("waiting" if one.state is None else _ENDED[one.state]),
            )
            for one in nodes
        ]

    def _behind(self, place: Place) -> tuple[builtins.list[int], int]:
        """The first links behind one, and how many there are; joins are seen through."""
        found: builtins.list[int] = []
        left = [place.number]
        while left:
            nodes = self._link.execute(flows.read_links(place.flow, left[:_AT_ONCE]))
            behind = [n for one in nodes if one is not None for n in one.behind]
            left = [*left[_AT_ONCE:], *(n for n in behind if n < 0)]
            found += [n for n in behind if n > 0]
        return found[:_NEAR], len(found)


def _ids(flow: str, numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(Place(flow, one).task_id for one in numbers)


def _view(flow: str, shown: Shown) -> FlowView:
    stopped = shown.stopped_at if shown.dead or shown.gone else None
    return FlowView(
        flow,
        shown.state,
        shown.links,
        shown.ended,
        shown.dead,
        shown.gone,
        "" if stopped is None else Place(flow, stopped).task_id,
        moment(shown.created),
        moment(shown.changed),
    )
