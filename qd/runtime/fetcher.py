"""
Takes tasks while slots are free: never more than can start now.

A queue is asked as long as it has had tasks; one that had too few is watched instead. The draw over
queues is made for each free slot, so weights and strict priority hold as with single fetches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from qd import failpoint
from qd.broker.async_link import AsyncLink
from qd.client.ids import new_id
from qd.errors import BrokerError, BrokerRefused
from qd.policy.queue_order import draw, strict_order
from qd.protocol import constants
from qd.protocol.op import Op
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import Taken

Arm = Callable[[list[str]], Awaitable[list[str]]]
_LONGEST_BACKOFF = 1.0


class Fetcher:
    """
    Fetches for one worker process.

    *free* says how many slots are free, *waits* is told for how many of them it waits for tasks, *lease_until* when a lease that begins now ends, *deliver* takes what was fetched: queue, tasks, and the
    lease score (Unix seconds) written for them.
    """

    def __init__(
        self,
        link: AsyncLink,
        weights: Mapping[str, int],
        *,
        strict: bool,
        owner: str,
        random: Callable[[], float],
        free: Callable[[], int],
        lease_until: Callable[[], int],
        arm: Arm,
        deliver: Callable[[str, list[Taken], int], None],
        waits: Callable[[int], None] = lambda _free: None,
    ) -> None:
        self._link = link
        self._weights = dict(weights)
        self._order = strict_order(weights) if strict else None
        self._owner = owner
        self._random = random
        self._free = free
        self._lease_until = lease_until
        self._arm = arm
        self._deliver = deliver
        self._waits = waits
        self._ready: set[str] = set(weights)
        # Fetches whose answer was lost: to be asked again with the same nonce.
        self._unsure: dict[str, tuple[str, int]] = {}
        self._broken: set[str] = set()
        self._woken = asyncio.Event()
        self._quiet = False
        self._failing = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._log = logging.getLogger("qd.fetcher")

    @property
    def neglects_work(self) -> bool:
        """True if a queue may have tasks, and Redis is not what keeps them from being taken."""
        return bool(self._ready) and not self._failing and not self._quiet

    @property
    def idle(self) -> bool:
        """True if no queue is known to have tasks."""
        return not self._ready

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="fetcher")

    async def stop(self) -> None:
        """Take nothing more; a fetch under way is delivered."""
        self._stopping = True
        self._woken.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def quiet(self, quiet: bool) -> None:
        """Pause or resume fetching."""
        self._quiet = quiet
        self._woken.set()

    def slot_freed(self) -> None:
        self._woken.set()

    def ready(self, queues: Iterable[str]) -> None:
        """Queues that may have tasks."""
        self._ready.update(queue for queue in queues if queue in self._weights)
        self._woken.set()

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            self._failing = failures > 0
            self._woken.clear()
            free = 0 if self._quiet else self._free()
            # Less than none: a fetch that was asked for again gave what the first one took.
            if free <= 0 or not self._ready:
                self._waits(free)
                await self._woken.wait()
                continue
            try:
                await self._fetch(free)
                if failures:
                    self._log.info("Redis answers again; taking tasks")
                failures = 0
            except BrokerError as error:
                if not failures:
                    self._log.warning("waiting for Redis: %s", error)
                failures += 1
                self._ready.update(self._weights)
                await self._pause(min(0.05 * 2 ** min(failures, 8), _LONGEST_BACKOFF))
            except Exception:  # noqa: BLE001 - a worker that takes nothing any more is worse
                self._log.exception("a fetch failed; it is asked for again")
                await self._pause(_LONGEST_BACKOFF)
        self._waits(0)

    async def _pause(self, seconds: float) -> None:
        jitter = 0.5 + self._random() / 2
        await asyncio.sleep(seconds * jitter)

    async def _fetch(self, free: int) -> None:
        if self._order is None:
            asked = draw({q: self._weights[q] for q in self._ready}, free, self._random)
        else:
            # Lower queues are asked only once the higher ones are known to be empty.
            asked = {next(queue for queue in self._order if queue in self._ready): free}
        asked = {queue: min(count, constants.BATCH_MAX) for queue, count in asked.items()}
        short, failed = await self._take(asked)
        if short:
            self._ready.difference_update(short)
            self._ready.update(await self._arm(short))
        if failed is not None:
            raise failed

    async def take_one(self, queues: Iterable[str]) -> bool:
        """Take a task from the first of *queues* that has one, for who did not `start` this; False if none has."""
        for queue in queues:
            short, failed = await self._take({queue: 1})
            if failed is not None:
                raise failed
            if not short:
                return True
        return False

    async def _take(self, asked: Mapping[str, int]) -> tuple[list[str], BrokerError | None]:
        """Deliver what there is; returns the queues that had fewer, and what went wrong with one."""
        lease_until = self._lease_until()
        failpoint.hit("dequeue.before")
        answers = await self._link.execute_each(
            [self._dequeue(queue, count, lease_until) for queue, count in asked.items()]
        )
        failpoint.hit("dequeue.after")
        short = []
        failed: BrokerError | None = None
        for (queue, count), answer in zip(asked.items(), answers, strict=True):
            if isinstance(answer, BrokerRefused):
                self._leave_out(queue, answer)
                continue
            if isinstance(answer, BrokerError):
                failed = failed or answer
                continue
            self._broken.discard(queue)
            del self._unsure[queue]
            if answer:
                self._deliver(queue, answer, lease_until)
            if answer is None or len(answer) < count:
                short.append(queue)
        return short, failed

    def _leave_out(self, queue: str, error: BrokerRefused) -> None:
        """What is wrong with one queue must not slow down the others: it is asked again later."""
        if queue not in self._broken:
            self._broken.add(queue)
            self._log.warning("queue %s is left out until this is mended: %s", queue, error)
        self._ready.discard(queue)
        asyncio.get_running_loop().call_later(_LONGEST_BACKOFF, self.ready, [queue])

    def _dequeue(self, queue: str, count: int, lease_until: int) -> Op[list[Taken] | None]:
        nonce, count = self._unsure.setdefault(queue, (new_id(), count))
        return tasks.dequeue(
            queue, count=count, owner=self._owner, nonce=nonce, lease_until=lease_until
        )
