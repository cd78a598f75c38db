"""Tells the application's hooks which tasks this process has moved, once Redis has confirmed it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from qd.errors import DecodeError
from qd.handlers.moved import OnTransition, TaskMoved
from qd.policy.outcome import Action
from qd.protocol import codec
from qd.protocol.message import TaskMessage
from qd.protocol.ops.endings import Ending
from qd.protocol.ops.tasks import Taken
from qd.protocol.state import TaskState
from qd.runtime.run import Run

Deliver = Callable[[str, list[Taken], int], None]

_AFTER: dict[Action, TaskState | None] = {
    Action.DONE: None,
    Action.REVOKE: None,
    Action.COMPLETE: TaskState.COMPLETED,
    Action.RETRY: TaskState.RETRY,
    Action.ARCHIVE: TaskState.ARCHIVED,
    Action.PARK: TaskState.SCHEDULED,
}
_DUE_AGAIN = (Action.RETRY, Action.PARK)


class Transitions:
    """Calls *hooks* one after the other, on the loop; what one of them raises is logged."""

    def __init__(self, hooks: Sequence[OnTransition]) -> None:
        self._hooks = hooks
        self._log = logging.getLogger("qd.worker")

    def before(self, deliver: Deliver) -> Deliver:
        """Return *deliver*, telling of each fetch before it."""

        def tell_and_deliver(queue: str, taken: list[Taken], lease_until: int) -> None:
            for one in taken:
                try:
                    message = codec.decode_task(one.message)
                except DecodeError:
                    continue
                self._tell(message, queue, TaskState.PENDING, TaskState.ACTIVE)
            deliver(queue, taken, lease_until)

        return tell_and_deliver

    def ended(self, action: Action, ended: Sequence[tuple[Run, Ending]]) -> None:
        """Tasks that were active are where *action* brings them."""
        for run, ending in ended:
            error = codec.decode_task(ending.message).terms.error if ending.message else ""
            self._tell(
                run.message,
                run.queue,
                TaskState.ACTIVE,
                _AFTER[action],
                "revoked" if action is Action.REVOKE else ending.waits or error,
                float(ending.at) if action in _DUE_AGAIN else None,
            )

    def put_back(self, runs: Sequence[Run]) -> None:
        """Tasks that were active are pending again."""
        for run in runs:
            self._tell(
                run.message,
                run.queue,
                TaskState.ACTIVE,
                TaskState.PENDING,
                "put back by its worker",
            )

    def _tell(
        self,
        message: TaskMessage,
        queue: str,
        before: TaskState,
        after: TaskState | None,
        reason: str = "",
        next_at: float | None = None,
    ) -> None:
        terms = message.terms
        moved = TaskMoved(
            task_id=message.id,
            type=message.type,
            queue=queue,
            before=before.value,
            after=None if after is None else after.value,
            attempt=terms.retried + 1,
            reason=reason,
            next_at=next_at,
            headers=dict(terms.headers),
        )
        for hook in self._hooks:
            # A user's callback must not decide the fate of a task by raising.
            try:
                hook(moved)
            except BaseException:  # noqa: BLE001
                self._log.exception("a hook for transitions failed")
