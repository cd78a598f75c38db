"""
The log lines about runs: one for each end, with the handler's traceback where there is one.

On a terminal, and at debug, there is one for each start as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from qd import clock
from qd.observability.logs import FACTS, STARTS
from qd.observability.success_lines import success_lines
from qd.policy.outcome import Action, Outcome
from qd.runtime.run import Run

_log = logging.getLogger("qd.task")
_starts = logging.getLogger(STARTS)


class RunLog:
    """Writes them; payloads are never in it. *call_soon* is the loop's."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._lines = success_lines(call_soon)
        self.look_at_levels()

    def look_at_levels(self) -> None:
        """See what is to be written. To be called for each batch: for each task it would be dear."""
        self._starts = _starts.isEnabledFor(logging.INFO)
        self._ends = _log.isEnabledFor(logging.INFO)

    def started(self, run: Run) -> None:
        if self._starts:
            _starts.info("start", extra=_facts(run, "start"))

    def cancelled(self, run: Run) -> None:
        _log.info("cancelled", extra=_facts(run, "cancelled"))

    def ended(self, run: Run, decided: Outcome, error: BaseException | None) -> None:
        took = clock.running() - run.started_at if run.started_at else 0.0
        if decided.action in (Action.DONE, Action.COMPLETE):
            self._succeeded(run, took)
        elif decided.action is Action.REVOKE:
            _log.info(
                "revoked after %.3f s", took, extra=_facts(run, "revoked", duration=round(took, 6))
            )
        elif decided.action is Action.RETRY:
            _retried(run, took, decided, error)
        else:
            _log.error(
                "dead after %.3f s: %s",
                took,
                decided.error,
                extra=_facts(run, "dead", duration=round(took, 6), error=decided.error),
                exc_info=error if _has_traceback(error) else None,
            )

    def _succeeded(self, run: Run, took: float) -> None:
        if not self._ends:
            return
        if self._lines is None:
            _log.info("done in %.3f s", took, extra=_facts(run, "done", duration=round(took, 6)))
            return
        message = run.message
        self._lines.done(message.type, message.id, run.queue, message.terms.retried + 1, took)


def _retried(run: Run, took: float, decided: Outcome, error: BaseException | None) -> None:
    level = logging.WARNING if decided.is_failure else logging.INFO
    if _log.isEnabledFor(level):
        _log.log(
            level,
            "%s after %.3f s, again in %.1f s: %s",
            "failed" if decided.is_failure else "snoozed",
            took,
            decided.delay,
            decided.error,
            extra=_facts(
                run,
                "retry" if decided.is_failure else "snoozed",
                duration=round(took, 6),
                delay=decided.delay,
                error=decided.error,
            ),
            exc_info=error if decided.is_failure and _has_traceback(error) else None,
        )


def _facts(run: Run, event: str, **more: Any) -> dict[str, Any]:
    message = run.message
    return {
        FACTS: {
            "event": event,
            "type": message.type,
            "task_id": message.id,
            "queue": run.queue,
            "attempt": message.terms.retried + 1,
            **more,
        }
    }


def _has_traceback(error: BaseException | None) -> bool:
    # Errors of qd itself say all there is to say in one line.
    return error is not None and type(error).__module__ != "qd.errors"
