"""A task under construction: one method per option, each gives a new builder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qd.client.client import Client, NewEnqueue
from qd.client.flow import Flow, chain
from qd.client.info import TaskInfo
from qd.errors import QdError
from qd.handlers.options import NO_OPTIONS, Duration, TaskOptions


@dataclass(frozen=True, slots=True)
class TaskBuilder:
    """
    Immutable: keep one as a template and derive others from it. Also a link of a flow, see `qd.chain`.

    The methods check what they are given and raise UsageError; `enqueue` raises what
    `Client.enqueue` raises.
    """

    client: Client
    type: str
    body: Any = None
    options: TaskOptions = NO_OPTIONS

    def payload(self, payload: Any) -> TaskBuilder:
        return TaskBuilder(self.client, self.type, payload, self.options)

    def queue(self, name: str) -> TaskBuilder:
        return self._with(queue=name)

    def max_retry(self, retries: int) -> TaskBuilder:
        return self._with(max_retry=retries)

    def timeout(self, duration: Duration) -> TaskBuilder:
        return self._with(timeout=duration)

    def deadline(self, moment: datetime) -> TaskBuilder:
        return self._with(deadline=moment)

    def process_in(self, duration: Duration) -> TaskBuilder:
        return self._with(process_in=duration)

    def process_at(self, moment: datetime) -> TaskBuilder:
        return self._with(process_at=moment)

    def task_id(self, task_id: str) -> TaskBuilder:
        return self._with(task_id=task_id)

    def unique(self, duration: Duration) -> TaskBuilder:
        return self._with(unique=duration)

    def retention(self, duration: Duration) -> TaskBuilder:
        return self._with(retention=duration)

    def group(self, name: str) -> TaskBuilder:
        return self._with(group=name)

    def headers(self, headers: Mapping[str, str]) -> TaskBuilder:
        return self._with(headers=headers)

    def __rshift__(self, other: TaskBuilder | Flow) -> Flow:
        """Return a flow in which *other* follows this task; see `qd.chain`."""
        return chain(self, other)

    def enqueue(self) -> TaskInfo:
        (outcome,) = self.client.enqueue_many([NewEnqueue(self.type, self.body, self.options)])
        if isinstance(outcome, QdError):
            raise outcome
        return outcome

    async def aenqueue(self) -> TaskInfo:
        new = [NewEnqueue(self.type, self.body, self.options)]
        (outcome,) = await self.client.aenqueue_many(new)
        if isinstance(outcome, QdError):
            raise outcome
        return outcome

    def _with(self, **option: Any) -> TaskBuilder:
        options = TaskOptions.of(**option).over(self.options)
        return TaskBuilder(self.client, self.type, self.body, options)
