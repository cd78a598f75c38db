"""Named locks: one holder over all processes and hosts, as long as it keeps the lock alive."""

from __future__ import annotations

import time
import uuid
from types import TracebackType

from qd.app.app import App
from qd.broker.connect import open_link
from qd.durations import seconds
from qd.errors import BrokerError, TimedOut, UsageError
from qd.handlers.options import Duration
from qd.protocol.ops import locks

_RETRY_INTERVAL = 0.1


class Lock:
    """
    A lock that ends by itself after *ttl* unless it is extended; only its holder can release it.

    Use it as a context manager, or call `acquire`, `extend`, `release`. A holder that is paused for
    longer than the ttl has lost the lock: `extend` and `release` then say so.
    """

    def __init__(self, app: App, name: str, ttl: Duration) -> None:
        self.name = name
        self._ttl_ms = _milliseconds(ttl)
        self._owner = uuid.uuid4().hex
        self._link = open_link(app.connection.endpoint)

    def acquire(self, wait: Duration = 0) -> bool:
        """Take the lock, trying for *wait*; False if somebody else has it all that time."""
        until = time.monotonic() + seconds(wait)
        while not self._link.execute(locks.acquire(self.name, self._owner, ttl_ms=self._ttl_ms)):
            if time.monotonic() >= until:
                return False
            time.sleep(_RETRY_INTERVAL)
        return True

    def extend(self, ttl: Duration | None = None) -> bool:
        """Keep the lock for another *ttl* from now; False if it was lost."""
        ttl_ms = self._ttl_ms if ttl is None else _milliseconds(ttl)
        return self._link.execute(locks.extend(self.name, self._owner, ttl_ms=ttl_ms))

    def release(self) -> bool:
        """Give the lock back; False if it was lost before."""
        return self._link.execute(locks.release(self.name, self._owner))

    def __enter__(self) -> Lock:
        if not self.acquire():
            raise TimedOut(f"lock {self.name!r} is held by somebody else")
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
