"""A flow in the store of the command line's tests."""

from __future__ import annotations

import time

from qd.client.builder import TaskBuilder
from qd.client.continuing import go_on
from qd.client.flow import chain, gather
from qd.client.starting import begin, compose
from qd.client.steps import carry_out_now
from qd.handlers.options import NO_OPTIONS
from qd.protocol.ops.flows import News, NodeState
from tests.cli.conftest import Store
from tests.maintenance.lab import COMPOSER

ORDER = "order-7"


def store_order(store: Store) -> None:
    """Store a >> gather(b, c) >> gather(d, e), of which a has succeeded."""
    flow = chain(link("a"), gather([link("b"), link("c")]), gather([link("d"), link("e")]))
    new = compose(flow, COMPOSER, flow_id=ORDER, options_of=lambda _: NO_OPTIONS, headers={})
    carry_out_now(store.link, begin(new, None))
    tell(store, 1, NodeState.DONE)


def link(task_type: str) -> TaskBuilder:
    return TaskBuilder(None, task_type).payload({"n": 1})  # type: ignore[arg-type]


def tell(store: Store, number: int, state: NodeState) -> None:
    """Let the flow hear what became of a link."""
    later = time.time() + 5
    carry_out_now(store.link, go_on("", ORDER, [News(number, state)], clock=lambda: later))
