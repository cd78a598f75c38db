"""What is counted about runs, where somebody looks at metrics: how they end, how long they take and wait."""

from __future__ import annotations

from typing import Self

from qd import clock
from qd.observability import tally
from qd.observability.tally import Tally
from qd.policy.outcome import Action, Outcome
from qd.runtime.run import Run

_STATUS = {
    Action.DONE: "success",
    Action.REVOKE: "success",
    Action.COMPLETE: "success",
    Action.ARCHIVE: "dead",
}


class RunMeter:
    """Counts runs in a tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    @classmethod
    def of_this_process(cls) -> Self | None:
        """Return one if this process counts, else None."""
        current = tally.current()
        return None if current is None else cls(current)

    def started(self, run: Run) -> None:
        if run.pending_since:
            waited = max(run.started_at - run.pending_since / 1e9, 0.0)
            self._tally.observe(tally.LATENCY, run.queue, waited)

    def ended(self, run: Run, decided: Outcome) -> None:
        """Count an attempt; one that never started has no duration."""
        label = self._tally.type_label(run.message.type)
        status = _STATUS.get(decided.action) or ("failed" if decided.is_failure else "snoozed")
        self._tally.add(tally.PROCESSED, label, status)
        if run.started_at:
            self._tally.observe(tally.DURATION, label, max(clock.running() - run.started_at, 0.0))
