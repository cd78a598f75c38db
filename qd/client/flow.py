"""
Tasks that follow each other, as a value: `chain(a, b)`, `gather([a, b]) >> c`, and any mixture of these.

A flow is pure: it says what is to run after what. `plan` makes a graph of it, which is what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qd.errors import UsageError

if TYPE_CHECKING:
    from qd.client.builder import TaskBuilder
    from qd.client.client import Client
    from qd.client.flow_info import FlowInfo

MOST_LINKS = 100_000
WIDEST = 500
"""Nodes behind one node: what a step of Redis does when that has ended. For more, joins stand between."""

_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Flow:
    """
    Links in a row, or side by side. Immutable: parts may be used in several flows, and more than once.

    Made by `chain`, `gather` and `>>`. A link is a task that is not enqueued yet: what `handle.link(...)`
    and `app.new_task(...)` give.
    """

    parts: tuple[TaskBuilder | Flow, ...]
    wide: bool

    def __rshift__(self, other: TaskBuilder | Flow) -> Flow:
        return chain(self, other)

    def enqueue(self, *, id: str | None = None) -> FlowInfo:
        """
        Store the flow and enqueue its first links; the others follow one after the other.

        With an *id* of your own a second call, as by a handler that runs twice, is refused. Once the
        flow has begun it goes on, whatever dies; if this call fails before, nothing of it is kept.

        Raises:
            FlowIdConflict: There is a flow with this id.
            QueueFull: A queue of the first links has no room. Links that follow are never refused.
            UsageError: It has too many links, or one cannot be a link; nothing was sent.
            PayloadTooLarge, PayloadError, InvalidName: Of a link; nothing was sent.
            BrokerUnavailable: No answer; with an *id* it is safe to call again.
        """
        return self._client().enqueue_flow(self, id)

    async def aenqueue(self, *, id: str | None = None) -> FlowInfo:
        """`enqueue` for coroutines."""
        return await self._client().aenqueue_flow(self, id)

    def links(self) -> Iterable[TaskBuilder]:
        """Yield the links in the order of their numbers."""
        for part in self.parts:
            if isinstance(part, Flow):
                yield from part.links()
            else:
                yield part

    def _client(self) -> Client:
        return next(iter(self.links())).client


def chain(*parts: TaskBuilder | Flow) -> Flow:
    """
    Return a flow in which each part begins when the one before it has succeeded as a whole.

    Raises:
        UsageError: There is nothing in it, or something that is no link.
    """
    return _made(parts, wide=False)


def gather(parts: Iterable[TaskBuilder | Flow]) -> Flow:
    """
    Return a flow in which all parts run side by side; what follows it waits for all of them.

    Raises what `chain` raises.
    """
    return _made(parts, wide=True)


def _made(given: Iterable[TaskBuilder | Flow], *, wide: bool) -> Flow:
    from qd.client.builder import TaskBuilder

    parts: list[TaskBuilder | Flow] = []
    for part in given:
        if isinstance(part, Flow) and part.wide == wide:
            # A chain in a chain is one chain.
            parts.extend(part.parts)
        elif isinstance(part, (Flow, TaskBuilder)):
            parts.append(part)
        else:
            raise UsageError(
                f"{part!r} is no link of a flow",
                hint="Links are task.link(...), app.new_task(...), qd.chain(...) and qd.gather([...]).",
            )
    if not parts:
        raise UsageError(f"a {'gather' if wide else 'chain'} of nothing has no end")
    return Flow(tuple(parts), wide)


@dataclass(slots=True)
class Node:
    """A link, or if it has none, a join: a node without a task, between two stages that are both wide."""

    link: TaskBuilder | None
    before: list[int]
    behind: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """
    The graph of a flow. Links have the numbers from 1 on, joins those below 0.

    `roots` wait for nothing; nothing waits for `ends`, which stand side by side if `wide`. No node has
    more than `WIDEST` behind it, so that no step is long.
    """

    nodes: dict[int, Node] = field(default_factory=dict)
    roots: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    wide: bool = False
    links: int = 0

    def add(self, part: TaskBuilder | Flow, before: list[int], depth: int = 0) -> list[int]:
        """Put *part* behind the nodes *before*; returns its last nodes."""
        if not isinstance(part, Flow):
            self.links += 1
            if self.links > MOST_LINKS:
                raise UsageError(
                    f"the flow has more than {MOST_LINKS:,} links",
                    hint="Let one link enqueue a flow of its own.",
                )
            return [self._put(self.links, part, before)]
        if depth > _DEEPEST:
            raise UsageError(f"the flow is nested more than {_DEEPEST} levels deep")
        if not part.wide:
            for one in part.parts:
                before = self.add(one, before, depth + 1)
            return before
        if len(before) > 1 and len(part.parts) > 1:
            # As many edges as there are nodes on both sides, instead of the product.
            before = [self.join(before)]
        return [last for one in part.parts for last in self.add(one, before, depth + 1)]

    def join(self, before: list[int]) -> int:
        """Add a join behind these nodes; returns its number."""
        joins = len(self.nodes) - self.links if self.nodes else 0
        return self._put(-1 - joins, None, before)

    def heads(self) -> list[int]:
        """Return the links that wait for nothing but joins."""
        found, left = [], list(self.roots)
        while left:
            number = left.pop()
            if number > 0:
                found.append(number)
            else:
                left += self.nodes[number].behind
        return found

    def narrow(self) -> None:
        """Put joins behind nodes that have too many behind them, and before too many roots."""
        if len(self.roots) > WIDEST:
            heads, self.roots = self.roots, []
            first = self.join([])
            for head in heads:
                self.nodes[head].before = [first]
            self.nodes[first].behind = heads
        for number, node in list(self.nodes.items()):
            if len(node.behind) > WIDEST:
                # Each of them has this node alone before it.
                behind, node.behind = node.behind, []
                for start in range(0, len(behind), WIDEST):
                    between = self.join([number])
                    self.nodes[between].behind = behind[start : start + WIDEST]
                    for one in self.nodes[between].behind:
                        self.nodes[one].before = [between]

    def _put(self, number: int, link: TaskBuilder | None, before: list[int]) -> int:
        self.nodes[number] = Node(link, before)
        for one in before:
            self.nodes[one].behind.append(number)
        if not before:
            self.roots.append(number)
        return number


def plan(flow: Flow) -> Plan:
    """
    Return the graph of a flow. Pure.

    Raises:
        UsageError: It has more than 100,000 links, or is nested too deeply.
    """
    made = Plan(wide=_is_wide(flow))
    made.ends = made.add(flow, [])
    made.narrow()
    return made


def _is_wide(part: TaskBuilder | Flow) -> bool:
    while isinstance(part, Flow):
        if part.wide:
            return True
        part = part.parts[-1]
    return False
