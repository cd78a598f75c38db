"""What becomes of a task when its run has ended: the policy, with what the application has to say."""

from __future__ import annotations

import logging
from collections.abc import Callable

from qd.errors import TaskDirective
from qd.handlers.context import Context
from qd.handlers.retries import RetryRules
from qd.policy import outcome
from qd.policy.outcome import Outcome
from qd.runtime.looks import Looks
from qd.runtime.run import Run

OnError = Callable[[Context | None, BaseException], None]
IsFailure = Callable[[BaseException], bool]

_log = logging.getLogger("qd.worker")


class Judge:
    """Decides by *rules* when a task is retried, by *looks*, if there are polls, when they look again."""

    def __init__(
        self,
        rules: RetryRules,
        looks: Looks | None,
        *,
        is_failure: IsFailure | None,
        on_error: OnError | None,
    ) -> None:
        self._rules = rules
        self._looks = looks
        self._is_failure = is_failure
        self._on_error = on_error

    def decide(self, run: Run, error: BaseException | None) -> Outcome:
        """Return the outcome of a run that ended with *error*, or well."""
        terms = run.message.terms
        if error is None:
            return outcome.succeeded(terms.retention)
        if self._looks is not None and (decided := self._looks.ended(run, error)) is not None:
            return decided
        is_failure = True
        if not isinstance(error, TaskDirective):
            # A user's callback must not decide the fate of a task by raising.
            try:
                if self._is_failure is not None:
                    is_failure = bool(self._is_failure(error))
                if self._on_error is not None:
                    self._on_error(run.context, error)
            except BaseException:  # noqa: BLE001
                _log.exception("a callback for errors failed")
        return outcome.failed(
            error,
            retried=terms.retried,
            max_retry=terms.max_retry,
            delay=lambda: self._rules.safe_delay(run.message, error),
            is_failure=is_failure,
        )
