"""Which retry rule holds for a task type: the YAML's, then the handler's own, then the default."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

from qd.config.tasks import RetrySettings, TaskOverrides
from qd.durations import seconds
from qd.errors import RetryAfter, Snooze
from qd.handlers.routing import Router
from qd.handlers.task import Task
from qd.policy.retry import RetryKind, RetryPolicy
from qd.protocol.message import TaskMessage

_BROKEN_RULE_DELAY = 60.0

_log = logging.getLogger("qd.retry")


class RetryRules:
    """Answers how long to wait after a failed run. *random* gives numbers in [0, 1)."""

    def __init__(
        self,
        default: RetrySettings,
        tasks: Mapping[str, TaskOverrides],
        router: Router,
        random: Callable[[], float],
    ) -> None:
        self._default = policy_from(default)
        self._by_type = {
            name: policy_from(overrides.retry)
            for name, overrides in tasks.items()
            if overrides.retry is not None
        }
        self._router = router
        self._random = random

    def delay(self, message: TaskMessage, error: BaseException) -> float:
        """Return the seconds until the next attempt of *message* after *error*."""
        if isinstance(error, (RetryAfter, Snooze)):
            return seconds(error.delay)
        rule = self._by_type.get(message.type)
        if rule is None:
            handler = self._router.find(message.type)
            own = handler.retry if handler is not None else None
            if own is not None and not isinstance(own, RetryPolicy):
                return seconds(own(message.terms.retried, error, Task(message)))
            rule = own or self._default
        return rule.delay(message.terms.retried, self._random)

    def safe_delay(self, message: TaskMessage, error: BaseException) -> float:
        """`delay`, but 60 s where a rule of the user's fails: that must not keep a task from its retry."""
        try:
            delay = self.delay(message, error)
            if not math.isfinite(delay):
                raise ValueError(f"a delay of {delay} s")
            return max(delay, 0.0)
        except BaseException:  # noqa: BLE001 - what is in a rule is the user's
            _log.exception("the retry rule of %s failed; retrying in 60 s", message.type)
            return _BROKEN_RULE_DELAY


def policy_from(settings: RetrySettings) -> RetryPolicy:
    """Return the policy that the settings describe."""
    return RetryPolicy(
        kind=RetryKind(settings.policy),
        initial=settings.initial,
        factor=settings.factor,
        longest=settings.max,
        jitter=settings.jitter,
        delays=tuple(settings.delays),
    )
