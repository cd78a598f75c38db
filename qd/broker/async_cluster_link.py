"""A link to a Redis Cluster for asynchronous code; otherwise as `async_link`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from qd.broker.failures import translate
from qd.broker.lean import exceptions
from qd.broker.link import all_or_first_error
from qd.broker.wire import dialect
from qd.errors import BrokerUnavailable
from qd.protocol.op import Op
from qd.protocol.timeline import Timeline

T = TypeVar("T")


class AsyncClusterLink:
    """A link to a Redis Cluster: the client library finds the node of each key."""

    def __init__(
        self,
        open_client: Callable[[], Any],
        where: str,
        *,
        call_timeout: float,
        timeline: Timeline | None = None,
    ) -> None:
        self._open_client = open_client
        self._where = where
        self._call_timeout = call_timeout
        self._client: Any = None
        self._dialect = dialect(timeline)

    @property
    def one_node(self) -> bool:
        return False

    async def execute(self, op: Op[T]) -> T:
        try:
            async with asyncio.timeout(self._call_timeout):
                if self._client is None:
                    self._client = self._open_client()
                reply = await self._call(self._client, op)
        except TimeoutError as error:
            raise BrokerUnavailable(
                f"{op.name}: no answer from {self._where} within {self._call_timeout:g} s"
            ) from error
        except (exceptions.RedisError, OSError) as error:
            raise translate(error, op.name, self._where) from error
        return op.parse(reply)

    async def _call(self, client: Any, op: Op[Any]) -> Any:
        # Before it knows the slots, the library sends commands to nodes at random.
        await client.initialize()
        try:
            return await client.execute_command(*self._dialect.command(op))
        except exceptions.NoScriptError:
            sent = self._dialect.in_full(op)
            try:
                return await client.execute_command(*sent)
            except exceptions.ResponseError as error:
                if not self._dialect.refused_flags(sent, error):
                    raise
                return await client.execute_command(*self._dialect.in_full(op))

    async def execute_many(self, ops: Sequence[Op[Any]]) -> list[Any]:
        return all_or_first_error(await self.execute_each(ops))

    async def execute_each(self, ops: Sequence[Op[Any]]) -> list[Any]:
        return await asyncio.gather(*map(self.execute, ops), return_exceptions=True)

    async def connect(self) -> None:
        """Does nothing: connections are opened as keys are used."""

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        # Not by the client's own method: once a node has failed, that closes nothing.
        manager = client.nodes_manager
        nodes = [*manager.nodes_cache.values(), *manager.startup_nodes.values()]
        await asyncio.gather(*(node.disconnect() for node in nodes), return_exceptions=True)
        client._initialize = True  # else its finalizer would report it as left open
