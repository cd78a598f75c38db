"""
A link to Redis for asynchronous code: the loops of a worker, `aenqueue()`.

Many coroutines share one connection: commands are written turn by turn of the loop, answers are matched
in order, so nobody waits for anybody's round trip. A caller that is cancelled leaves the stream
intact. The client library never retries; neither does this.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import hiredis

from qd.broker.failures import is_answer, row_of, translate
from qd.broker.lean import exceptions
from qd.broker.link import all_or_first_error
from qd.broker.replies import Replies
from qd.broker.wire import dialect, pack
from qd.errors import BrokerUnavailable
from qd.protocol.op import Op
from qd.protocol.timeline import Timeline

T = TypeVar("T")
Push = Callable[[list[Any]], None]

_SECOND_LOOK = 0.05
"""Seconds that an overdue answer has to be read, if it is there."""


class AsyncLink(Protocol):
    """What asynchronous code needs of Redis. Both forms raise only `BrokerError`s."""

    @property
    def one_node(self) -> bool:
        """True if one command may name keys of several queues."""

    async def execute(self, op: Op[T]) -> T:
        """Carry out one operation and return its answer."""

    async def execute_many(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """
        Carry out operations in one round trip (per node) and return their answers in order.

        They are not atomic together. If one fails, the others are carried out all the same, and
        the first error is raised.
        """

    async def execute_each(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """The same, but what failed stands as a `BrokerError` in its place instead of raising."""

    async def connect(self) -> None:
        """Open the connection now instead of on first use."""

    async def close(self) -> None:
        """Close all connections; the link opens new ones if it is used again."""


class _Exchange:
    """Commands written together, and the answers that have come so far."""

    __slots__ = ("future", "missing", "overdue", "replies", "sent_at")

    def __init__(self, count: int, future: asyncio.Future[list[Any]], sent_at: float) -> None:
        self.missing = count
        self.overdue = False
        self.replies: list[Any] = []
        self.future = future
        self.sent_at = sent_at


class AsyncNodeLink:
    """
    A link to one server over one connection, opened on first use and again after it broke.

    *greeting* commands are sent first on every new connection. *on_push* gets what the server
    sends unasked (needs a RESP3 connection), *on_lost* hears that the connection broke.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Any]],
        where: str,
        *,
        call_timeout: float,
        greeting: Sequence[tuple[Any, ...]] = (),
        on_push: Push | None = None,
        on_lost: Callable[[], None] | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self._dial = dial
        self._where = where
        self._call_timeout = call_timeout
        self._greeting = greeting
        self._on_push = on_push
        self._on_lost = on_lost
        self._dialect = dialect(timeline)
        self._waiting: deque[_Exchange] = deque()
        self._outgoing: list[tuple[Any, ...]] = []
        self._connection: Any = None
        self._connecting: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None

    @property
    def one_node(self) -> bool:
        return True

    async def execute(self, op: Op[T]) -> T:
        result: T = (await self.execute_many((op,)))[0]
        return result

    async def execute_many(self, ops: Sequence[Op[Any]]) -> list[Any]:
        return all_or_first_error(await self.execute_each(ops))

    async def execute_each(self, ops: Sequence[Op[Any]]) -> list[Any]:
        if not ops:
            return []
        replies = await self._exchange([self._dialect.command(op) for op in ops])
        results: list[Any] = []
        for op, reply in zip(ops, replies, strict=True):
            if isinstance(reply, exceptions.NoScriptError):
                reply = await self._resend(op)
            if isinstance(reply, Exception):
                results.append(self._refused(reply, op.name))
            else:
                results.append(op.parse(reply))
        return results

    async def connect(self) -> None:
        if self._connection is None:
            await self._connect()

    def _refused(self, error: Exception, step: str) -> Exception:
        row = row_of(error)
        if row is not None and row.reconnect:
            self._drop(error)
        return translate(error, step, self._where)

    async def _resend(self, op: Op[Any]) -> Any:
        """Send an operation whose script the server did not know again, in full."""
        sent = self._dialect.in_full(op)
        (reply,) = await self._exchange([sent])
        if isinstance(reply, Exception) and self._dialect.refused_flags(sent, reply):
            (reply,) = await self._exchange([self._dialect.in_full(op)])
        return reply

    async def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if self._connection is None:
            await self._connect()
        if self._connection is None:
            raise BrokerUnavailable(f"call: Redis at {self._where} closed the new connection")
        loop = asyncio.get_running_loop()
        exchange = _Exchange(len(commands), loop.create_future(), loop.time())
        if self._watchdog is None:
            self._watchdog = loop.call_later(self._call_timeout, self._check_overdue)
        # Appended to both without a pause between: answers come in the order of writing.
        self._waiting.append(exchange)
        if not self._outgoing:
            loop.call_soon(self._send)
        self._outgoing += commands
        return await exchange.future

    def _send(self) -> None:
        """Write what was asked for in one turn of the loop: in one piece, it is read and answered in one."""
        commands, self._outgoing = self._outgoing, []
        if not commands:
            return  # the connection was lost meanwhile
        # Not by the library's method: it waits for the socket, and breaks off when its caller is cancelled.
        try:
            self._connection._writer.write(pack(commands))
        except (OSError, RuntimeError) as error:  # uvloop raises the latter for a closed socket
            self._drop(error)

    async def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open())
            self._connecting.add_done_callback(self._connected)
        try:
            # Shielded: one impatient caller must not break the connection of the others.
            await asyncio.shield(self._connecting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise BrokerUnavailable(f"connect: the link to {self._where} was closed") from None

    def _connected(self, task: asyncio.Task[None]) -> None:
        # Here and not in a caller: all callers may have been cancelled meanwhile.
        self._connecting = None
        if not task.cancelled():
            task.exception()

    async def _open(self) -> None:
        connection = None
        try:
            connection = await self._dial()
            # A server that is stopped still accepts connections; it only never answers.
            async with asyncio.timeout(self._call_timeout):
                await connection.connect()
                connection._parser.set_invalidation_push_handler(_as_it_is)
                for command in self._greeting:
                    await connection.send_packed_command([pack([command])], check_health=False)
                    # A subscription is answered by a push.
                    await connection.read_response(push_request=command[0] == "SUBSCRIBE")
        except BaseException as error:
            if connection is not None:
                _abort(connection)
            if isinstance(error, (exceptions.RedisError, OSError)):
                raise translate(error, "connect", self._where) from error
            raise
        self._connection = connection
        self._keeper = asyncio.create_task(self._keep(connection))
        Replies(
            connection, partial(self._on_reply, connection), partial(self._lose, connection)
        ).start()

    async def _keep(self, connection: Any) -> None:
        """Close the connection of who ends the loop without a word."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            # If not by `_drop`, the loop comes to its end, and nobody else closes the socket.
            if self._connection is connection:
                self._drop(ConnectionError("the event loop ended"), closing=True)

    def _lose(self, connection: Any, error: BaseException) -> None:
        if self._connection is connection:
            self._drop(error)

    def _on_reply(self, connection: Any, reply: Any) -> None:
        if self._connection is not connection:
            return  # given up, for what came before this
        if isinstance(reply, hiredis.PushNotification):
            if self._on_push is not None:
                self._on_push(reply)
            return
        if not self._waiting or (isinstance(reply, Exception) and not is_answer(reply)):
            # Redis says why it closes a connection before anything was asked.
            self._drop(reply if isinstance(reply, Exception) else ConnectionError(repr(reply)))
            return
        exchange = self._waiting[0]
        exchange.replies.append(reply)
        exchange.missing -= 1
        if not exchange.missing:
            self._waiting.popleft()
            if not exchange.future.done():
                exchange.future.set_result(exchange.replies)

    def _check_overdue(self) -> None:
        # One timer for all calls: it looks at the oldest, and comes back when that could be overdue.
        self._watchdog = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        oldest = self._waiting[0]
        age = loop.time() - oldest.sent_at
        if age < self._call_timeout:
            self._watchdog = loop.call_later(self._call_timeout - age, self._check_overdue)
        elif not oldest.overdue:
            # If something held up the loop, the answer may be here and only wait to be read.
            oldest.overdue = True
            self._watchdog = loop.call_later(_SECOND_LOOK, self._check_overdue)
        else:
            self._drop(TimeoutError(f"nothing came for {age:.1f} s"))

    def _drop(self, error: BaseException, *, closing: bool = False) -> None:
        """Give up the connection; every waiting call fails, whether it was carried out or not."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._keeper is not None:
            self._keeper.cancel()
        _abort(connection)
        waiting, self._waiting = self._waiting, deque()
        self._outgoing = []
        for exchange in waiting:
            if not exchange.future.done():
                exchange.future.set_exception(translate(error, "call", self._where))
        if self._on_lost is not None and not closing:
            self._on_lost()

    async def close(self) -> None:
        ending = [
            task
            for task in (self._connecting, self._keeper)
            if task is not None and task is not asyncio.current_task()
        ]
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop(ConnectionError("the link was closed"), closing=True)
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        await asyncio.gather(*ending, return_exceptions=True)


def _abort(connection: Any) -> None:
    # Breaking off is abrupt on purpose: a polite close could wait for a dead peer.
    if connection._writer is not None:
        connection._writer.transport.abort()
        connection._close()


async def _as_it_is(message: list[Any]) -> list[Any]:
    return message
