"""Named locks: one holder over all processes and hosts, as long as it keeps the lock alive."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

from qd.app.app import App
from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link, open_link
from qd.durations import seconds
from qd.errors import BrokerError, TimedOut, UsageError
from qd.handlers.options import Duration
from qd.protocol.op import Op
from qd.protocol.ops import locks

_RETRY_INTERVAL = 0.1


class Lock:
    """
    A lock that ends by itself after *ttl* unless it is extended; only its holder can release it.

    Use it as a context manager (`with`, `async with`), or call `acquire`, `extend`, `release`; in
    coroutines `aacquire`, `aextend`, `arelease`. A holder that is paused for longer than the ttl has
    lost the lock: `extend` and `release` then say so, and leave the lock of the next holder alone.

    All may raise BrokerError. After one, a lock that was being acquired may be taken until its ttl
    ends; to extend or release again is safe. It is as safe as the Redis it is kept in: a failover to a
    replica that has not heard of it loses it.
    """

    def __init__(self, app: App, name: str, ttl: Duration) -> None:
        self.name = name
        self._stored = app.settings.queue_prefix + name
        self._ttl_ms = _milliseconds(ttl)
        self._owner = ""
        self._endpoint = app.connection.endpoint
        self._link = open_link(self._endpoint)

    def acquire(self, wait: Duration = 0) -> bool:
        """Take the lock, trying for *wait*; False if somebody else has it all that time."""
        owner, until = uuid.uuid4().hex, time.monotonic() + seconds(wait)
        while not self._link.execute(self._acquiring(owner)):
            if time.monotonic() >= until:
                return False
            time.sleep(_RETRY_INTERVAL)
        self._owner = owner
        return True

    async def aacquire(self, wait: Duration = 0) -> bool:
        """`acquire` for coroutines."""
        owner, until = uuid.uuid4().hex, time.monotonic() + seconds(wait)
        async with self._connected() as link:
            while not await link.execute(self._acquiring(owner)):
                if time.monotonic() >= until:
                    return False
                await asyncio.sleep(_RETRY_INTERVAL)
        self._owner = owner
        return True

    def extend(self, ttl: Duration | None = None) -> bool:
        """Keep the lock for another *ttl* from now; False if it was lost."""
        return self._link.execute(self._extending(ttl))

    async def aextend(self, ttl: Duration | None = None) -> bool:
        """`extend` for coroutines."""
        async with self._connected() as link:
            return await link.execute(self._extending(ttl))

    def release(self) -> bool:
        """Give the lock back; False if it was lost before."""
        return self._link.execute(self._releasing())

    async def arelease(self) -> bool:
        """`release` for coroutines."""
        async with self._connected() as link:
            return await link.execute(self._releasing())

    def __enter__(self) -> Lock:
        if not self.acquire():
            raise self._held()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.release()
        except BrokerError:
            # It ends by itself; an error of the body must not be replaced by this one.
            if error is None:
                raise

    async def __aenter__(self) -> Lock:
        if not await self.aacquire():
            raise self._held()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.arelease()
        except BrokerError:
            if error is None:
                raise

    def _acquiring(self, owner: str) -> Op[bool]:
        return locks.acquire(self._stored, owner, ttl_ms=self._ttl_ms)

    def _extending(self, ttl: Duration | None) -> Op[bool]:
        ttl_ms = self._ttl_ms if ttl is None else _milliseconds(ttl)
        return locks.extend(self._stored, self._owner, ttl_ms=ttl_ms)

    def _releasing(self) -> Op[bool]:
        return locks.release(self._stored, self._owner)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncLink]:
        """A connection for one call: it belongs to a loop, and loops end without telling the lock."""
        link = open_async_link(self._endpoint)
        try:
            yield link
        finally:
            await link.close()

    def _held(self) -> TimedOut:
        return TimedOut(
            f"lock {self.name!r} is held by somebody else", hint="Wait for it: acquire(wait=...)."
        )


def _milliseconds(ttl: Duration) -> int:
    milliseconds = int(seconds(ttl) * 1000)
    if milliseconds < 1:
        raise UsageError(
            f"a lock with the ttl {ttl!r} would end before it begins",
            hint="Give a time in which its holder surely calls extend() or release().",
        )
    return milliseconds


def lock(name: str, ttl: Duration, *, app: App | None = None) -> Lock:
    """
    Return the lock *name*; nothing is taken yet.

    *app* may be left out where there is only one in this process.

    Raises:
        UsageError: The ttl is shorter than a millisecond, or there is not exactly one app.
    """
    return Lock(app or App.only(), name, ttl)
