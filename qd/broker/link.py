"""
A link to Redis for synchronous code: the command line, `enqueue()`, the heartbeat thread.

Safe to share between threads and to carry over a fork (a child opens its own connections). The
client library never retries here; an operation is sent a second time only if it is repeatable and
the connection turned out to have been closed while it was idle.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from qd.broker.failures import is_answer, row_of, translate
from qd.broker.lean import exceptions
from qd.broker.wire import dialect, pack
from qd.errors import BrokerError
from qd.protocol.op import Op
from qd.protocol.timeline import Timeline

T = TypeVar("T")


class Link(Protocol):
    """What synchronous code needs of Redis. Both forms raise only `BrokerError`s."""

    @property
    def one_node(self) -> bool:
        """True if one command may name keys of several queues."""

    def execute(self, op: Op[T]) -> T:
        """Carry out one operation and return its answer."""

    def execute_many(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """
        Carry out operations in one round trip (per node) and return their answers in order.

        They are not atomic together. If one fails, the others are carried out all the same, and
        the first error is raised.
        """

    def execute_each(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """The same, but what failed stands as a `BrokerError` in its place instead of raising."""

    def execute_in_turn(self, batches: Iterable[Sequence[Op[Any]]]) -> Iterator[list[Any]]:
        """
        `execute_each` for one batch after the other, each sent when the one before is answered.

        The next batch is drawn, and answers are handed out, while the server works.
        """

    def close(self) -> None:
        """Close all connections; the link opens new ones if it is used again."""


def all_or_first_error(results: list[Any]) -> list[Any]:
    """Return *results*, or raise the first of them that is an error."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


class NodeLink:
    """A link to one server. `dial` opens a connection of the client library."""

    def __init__(
        self, dial: Callable[[], Any], where: str, timeline: Timeline | None = None
    ) -> None:
        self._dial = dial
        self._where = where
        self._idle: list[Any] = []
        self._pid = os.getpid()
        self._dialect = dialect(timeline)

    @property
    def one_node(self) -> bool:
        return True

    def execute(self, op: Op[T]) -> T:
        result: T = self.execute_many((op,))[0]
        return result

    def execute_many(self, ops: Sequence[Op[Any]]) -> list[Any]:
        return all_or_first_error(self.execute_each(ops))

    def execute_each(self, ops: Sequence[Op[Any]]) -> list[Any]:
        return self._begin(ops)()

    def execute_in_turn(self, batches: Iterable[Sequence[Op[Any]]]) -> Iterator[list[Any]]:
        finish: Callable[[], list[Any]] | None = None
        for ops in batches:
            results = finish and finish()
            finish = self._begin(ops)
            if results is not None:
                yield results
        if finish is not None:
            yield finish()

    def _begin(self, ops: Sequence[Op[Any]]) -> Callable[[], list[Any]]:
        """Send operations; the function returned waits for the answers, and must be called."""
        if not ops:
            return list
        connection, reused = self._take()
        unsent: Exception | None = None
        try:
            self._write(connection, ops)
        except (exceptions.RedisError, OSError) as error:
            unsent = error
        except BaseException:
            connection.disconnect()
            raise
        return partial(self._finish, ops, connection, reused, unsent)

    def _finish(
        self, ops: Sequence[Op[Any]], connection: Any, reused: bool, unsent: Exception | None
    ) -> list[Any]:
        return [
            translate(reply, op.name, self._where)
            if isinstance(reply, Exception)
            else op.parse(reply)
            for op, reply in zip(ops, self._replies(ops, connection, reused, unsent), strict=True)
        ]

    def _replies(
        self, ops: Sequence[Op[Any]], connection: Any, reused: bool, unsent: Exception | None
    ) -> list[Any]:
        try:
            try:
                if unsent is not None:
                    raise unsent
                replies = [self._read(connection) for _ in ops]
            except (exceptions.ConnectionError, OSError):
                if not (reused and all(op.repeatable for op in ops)):
                    raise
                # Closed by the server while it was idle, most likely.
                connection.disconnect()
                connection = self._open()
                self._write(connection, ops)
                replies = [self._read(connection) for _ in ops]
            self._resend_unknown(connection, ops, replies)
        except (exceptions.RedisError, OSError) as error:
            connection.disconnect()
            raise translate(error, ops[0].name, self._where) from error
        except BaseException:
            connection.disconnect()
            raise
        if any(
            (row := row_of(one)) and row.reconnect for one in replies if isinstance(one, Exception)
        ):
            connection.disconnect()
        else:
            self._idle.append(connection)
        return replies

    def _resend_unknown(self, connection: Any, ops: Sequence[Op[Any]], replies: list[Any]) -> None:
        """Send the operations whose scripts the server did not know again, in full."""
        for index, op in enumerate(ops):
            if isinstance(replies[index], exceptions.NoScriptError):
                sent = self._dialect.in_full(op)
                reply = self._ask(connection, sent)
                if isinstance(reply, Exception) and self._dialect.refused_flags(sent, reply):
                    reply = self._ask(connection, self._dialect.in_full(op))
                replies[index] = reply

    def _write(self, connection: Any, ops: Sequence[Op[Any]]) -> None:
        sent = pack([self._dialect.command(op) for op in ops])
        connection.send_packed_command([sent], check_health=False)

    def _ask(self, connection: Any, command: tuple[Any, ...]) -> Any:
        connection.send_packed_command([pack([command])], check_health=False)
        return self._read(connection)

    @staticmethod
    def _read(connection: Any) -> Any:
        try:
            return connection.read_response(disconnect_on_error=False)
        except exceptions.RedisError as error:
            if not is_answer(error):
                raise
            return error

    def _take(self) -> tuple[Any, bool]:
        if self._pid != os.getpid():
            # The parent's connections are not ours: two processes must never share a stream.
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop(), True
        except IndexError:
            return self._open(), False

    def _open(self) -> Any:
        try:
            connection = self._dial()
            connection.connect()
        except (exceptions.RedisError, OSError) as error:
            raise translate(error, "connect", self._where) from error
        return connection

    def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.disconnect()


class ClusterLink:
    """A link to a Redis Cluster: the client library finds the node of each key."""

    def __init__(
        self, open_client: Callable[[], Any], where: str, timeline: Timeline | None = None
    ) -> None:
        self._open_client = open_client
        self._where = where
        self._client: Any = None
        self._pid = 0
        self._dialect = dialect(timeline)

    @property
    def one_node(self) -> bool:
        return False

    def execute(self, op: Op[T]) -> T:
        try:
            if self._client is None or self._pid != os.getpid():
                self._client, self._pid = self._open_client(), os.getpid()
            reply = self._call(op)
        except (exceptions.RedisError, OSError) as error:
            raise translate(error, op.name, self._where) from error
        return op.parse(reply)

    def _call(self, op: Op[Any]) -> Any:
        try:
            return self._client.execute_command(*self._dialect.command(op))
        except exceptions.NoScriptError:
            sent = self._dialect.in_full(op)
            try:
                return self._client.execute_command(*sent)
            except exceptions.ResponseError as error:
                if not self._dialect.refused_flags(sent, error):
                    raise
                return self._client.execute_command(*self._dialect.in_full(op))

    def execute_many(self, ops: Sequence[Op[Any]]) -> list[Any]:
        return all_or_first_error(self.execute_each(ops))

    def execute_each(self, ops: Sequence[Op[Any]]) -> list[Any]:
        # Keys of different queues live on different nodes, so one pipeline cannot carry them.
        results: list[Any] = []
        for op in ops:
            try:
                results.append(self.execute(op))
            except BrokerError as error:
                results.append(error)
        return results

    def execute_in_turn(self, batches: Iterable[Sequence[Op[Any]]]) -> Iterator[list[Any]]:
        return map(self.execute_each, batches)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
