"""What becomes of the looks of polls, and what they remember for the next."""

from __future__ import annotations

from typing import Self

from qd import clock
from qd.errors import NotYet
from qd.handlers.retries import RetryRules
from qd.handlers.routing import Router
from qd.policy.outcome import Outcome, describe
from qd.policy.poll import not_yet, remember
from qd.protocol import polling
from qd.runtime.run import Run


class Looks:
    """Decides about the runs of polls. *rules* read the delays that handlers give."""

    def __init__(self, router: Router, rules: RetryRules) -> None:
        self._router = router
        self._rules = rules

    @classmethod
    def among(cls, router: Router, rules: RetryRules) -> Self | None:
        """Return one if any handler is for polls, else None: nobody pays for what he does not use."""
        return cls(router, rules) if any(one.poll is not None for one in router) else None

    def is_poll(self, run: Run) -> bool:
        handler = self._router.find(run.message.type)
        return handler is not None and handler.poll is not None

    def ended(self, run: Run, error: BaseException) -> Outcome | None:
        """
        Note with a poll what its next run must know, and return what becomes of it.

        None if that is not for a poll to decide: the run has failed, or is none of a poll.
        """
        handler, context = self._router.find(run.message.type), run.context
        if handler is None or handler.poll is None or context is None:
            return None
        looked = isinstance(error, NotYet)
        before = polling.read(run.message.terms.headers)
        after = remember(handler.poll.rules, before, started=run.started_at, looked=looked)
        context.carry(polling.HEADER, polling.write(after))
        if not isinstance(error, NotYet):
            return None
        delay = self._rules.safe_delay(run.message, error) if error.has_delay else None
        return not_yet(handler.poll.rules, after, describe(error), now=clock.now(), delay=delay)
