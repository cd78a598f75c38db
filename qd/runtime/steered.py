"""A worker that takes nothing by itself: whoever made it says which task runs when. For tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from qd.policy.outcome import Outcome
from qd.runtime.judge import Judge
from qd.runtime.run import Run
from qd.runtime.worker import Worker, WorkerOptions

OnDecided = Callable[[Run, Outcome, BaseException | None], None]


class _TellingJudge(Judge):
    """Decides as *judge* does, and tells."""

    def __init__(self, judge: Judge, told: OnDecided) -> None:
        self._judge = judge
        self._told = told

    def decide(self, run: Run, error: BaseException | None) -> Outcome:
        decided = self._judge.decide(run, error)
        self._told(run, decided, error)
        return decided


class SteeredWorker(Worker):
    """
    In all else the usual worker. *on_decided* is told what becomes of each run, and its error.

    The arguments are those of `Worker`.
    """

    def __init__(
        self,
        endpoint: Any,
        router: Any,
        rules: Any,
        options: WorkerOptions,
        *,
        on_decided: OnDecided,
        **more: Any,
    ) -> None:
        super().__init__(endpoint, router, rules, replace(options, polling=False), **more)
        self._judge = _TellingJudge(self._judge, on_decided)

    async def run_next(self, queues: Sequence[str]) -> bool:
        """
        Run a task of the first of *queues* that has one, or have it wait where a gate lets it not pass.

        Returns when Redis knows what became of it, and all who wait for its end; False if there was none.
        """
        if not await self._fetcher.take_one(queues):
            return False
        await self._held.wait_empty()
        await self._finisher.flows_settled()
        if self._admission is not None:
            await self._admission.settled()
        return True
