"""What the caller of a flow gets back: how it stands, and how to wait for its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link
from qd.durations import format_duration
from qd.errors import DecodeError, FlowNotFound, FlowStopped, TimedOut
from qd.handlers.results import read_result
from qd.protocol import codec
from qd.protocol.flow import Place
from qd.protocol.ops import flows, inspect
from qd.protocol.ops.flows import FlowState, Shown

if TYPE_CHECKING:
    from qd.client.waiting import Waiting

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class FlowEnd:
    """
    How a flow stands, which is most often how it has ended.

    `state` is running, done, failed (a link is dead: the flow goes on when that is brought back and
    succeeds) or broken (a link is gone: what is behind it never runs). Of `links`, `ended` have
    succeeded. `stopped_at`: the id of the link that died or went, `error`: its last error.
    `results`: those of the last links, when it is done.
    """

    id: str
    state: FlowState
    links: int
    ended: int
    stopped_at: str = ""
    error: str = ""
    results: tuple[bytes | None, ...] = ()
    wide: bool = False

    def value(self) -> Any:
        """
        Return the result of the last link, or of the last ones as a list if they stand side by side.

        Raises:
            FlowStopped: It is not done; the message says where it stopped and why.
        """
        if self.state is not FlowState.DONE:
            why = f": {self.error}" if self.error else ""
            at = f" at {self.stopped_at}" if self.stopped_at else ""
            raise FlowStopped(f"flow {self.id} is {self.state}{at}{why}")
        values = [read_result(one) for one in self.results]
        return values if self.wide else values[0]


@dataclass(frozen=True, slots=True)
class FlowInfo:
    """A flow that has begun."""

    id: str
    waiting: Waiting = field(compare=False, repr=False)

    def wait(self, timeout: float) -> FlowEnd:
        """
        Wait until the flow is done, failed or broken, at most *timeout* seconds; nobody polls.

        Raises:
            TimedOut: None of them yet; it goes on all the same.
            FlowNotFound: It has ended, and is forgotten.
            BrokerError: Redis went away.
            UsageError: Called on an event loop; use `await_end` there.
        """
        return self.waiting.blocking(self.await_end(timeout), "await flow.await_end(...)")

    async def await_end(self, timeout: float) -> FlowEnd:  # noqa: ASYNC109 - as in `wait`
        """`wait` for coroutines."""
        from qd.client.waiting import until

        seen = FlowState.RUNNING

        async def look(link: AsyncLink) -> FlowEnd | None:
            nonlocal seen
            shown = await _required(link, self.id)
            seen = shown.state
            over = seen not in (FlowState.STORING, FlowState.RUNNING)
            return await _end(link, self.id, shown) if over else None

        try:
            return await until(self.waiting.endpoint, look, timeout=timeout)
        except TimeoutError:
            raise TimedOut(
                f"flow {self.id} is still {seen} after {format_duration(timeout)}",
                hint=f"It goes on. Look at it with `qd flow show {self.id}`, or wait longer.",
            ) from None

    def info(self) -> FlowEnd:
        """Return how the flow stands now; raises what `wait` raises, but TimedOut."""
        return self.waiting.blocking(self.ainfo(), "await flow.ainfo()")

    async def ainfo(self) -> FlowEnd:
        """`info` for coroutines."""
        link = open_async_link(self.waiting.endpoint)
        try:
            return await _end(link, self.id, await _required(link, self.id))
        finally:
            await link.close()

    def result(self, timeout: float) -> Any:
        """Wait for the end, and return `FlowEnd.value()`; raises what `wait` and that raise."""
        return self.wait(timeout).value()

    async def aresult(self, timeout: float) -> Any:  # noqa: ASYNC109 - as in `wait`
        """`result` for coroutines."""
        return (await self.await_end(timeout)).value()


async def _required(link: AsyncLink, flow: str) -> Shown:
    shown = await link.execute(flows.show(flow))
    if shown is None:
        raise FlowNotFound(f'There is no flow "{flow}".')
    return shown


async def _end(link: AsyncLink, flow: str, shown: Shown) -> FlowEnd:
    results: list[bytes | None] = []
    stopped_at = error = ""
    if shown.state is FlowState.DONE:
        parts = [shown.ends[at : at + _AT_ONCE] for at in range(0, len(shown.ends), _AT_ONCE)]
        for found in await asyncio.gather(
            *(link.execute(flows.results(flow, part)) for part in parts)
        ):
            results += found
    elif shown.stopped_at is not None and shown.state is not FlowState.RUNNING:
        stopped_at = Place(flow, shown.stopped_at).task_id
        error = await _error_of(link, flow, shown.stopped_at)
    return FlowEnd(
        flow, shown.state, shown.links, shown.ended, stopped_at, error, tuple(results), shown.wide
    )


async def _error_of(link: AsyncLink, flow: str, number: int) -> str:
    (node,) = await link.execute(flows.read_links(flow, [number]))
    if node is None:
        return ""
    stored = await link.execute(inspect.read_task(node.queue, Place(flow, number).task_id))
    if stored is None:
        return "it is gone: deleted, or revoked"
    try:
        return codec.decode_task(stored.message).terms.error
    except DecodeError as unreadable:
        return str(unreadable)
