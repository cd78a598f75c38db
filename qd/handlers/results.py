"""What the links of a flow leave for those behind them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from qd import jsoncodec
from qd.errors import FlowNotFound
from qd.protocol.flow import Place
from qd.protocol.op import Op
from qd.protocol.ops import flows

_AT_ONCE = 500

Execute = Callable[[Op[Any]], Awaitable[Any]]


async def results_before(place: Place, execute: Execute) -> list[Any]:
    """Return what the links directly before one have left, in their order; see `Context.results`."""
    numbers = await execute(flows.before(place))
    if numbers is None:
        raise FlowNotFound(f'There is no flow "{place.flow}" any more; its results went with it.')
    found: list[Any] = []
    for at in range(0, len(numbers), _AT_ONCE):
        found += await execute(flows.results(place.flow, numbers[at : at + _AT_ONCE]))
    return [read_result(one) for one in found]


def read_result(stored: bytes | None) -> Any:
    """Return what a link has left: read as JSON if it is that, else as bytes; None if there is nothing."""
    if stored is None:
        return None
    try:
        return jsoncodec.loads(stored)
    except ValueError:
        return stored
