"""Circuit breakers: which are open, who waits behind them, and a hand that closes them."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from qd import jsoncodec
from qd.broker.link import Link
from qd.errors import NotFound
from qd.inspector.values import moment
from qd.inspector.views import BreakerView
from qd.protocol.ops import breakers
from qd.protocol.ops.breakers import Rules, Shown
from qd.suggest import did_you_mean

_AT_REST = Shown("", "closed", None, None, 0, 0, 0, 0, 0, 0)


class Breakers:
    """The breakers that workers have made known when they started. *clock* gives Unix seconds."""

    def __init__(self, link: Link, clock: Callable[[], float]) -> None:
        self._link = link
        self._clock = clock

    def list(self) -> builtins.list[BreakerView]:
        """
        Return all breakers by name, one view for each key that is not at rest, else one for all.

        Of many keys, the first thousand are looked at.
        """
        found = sorted(self._link.execute(breakers.published()).items())
        shown = self._link.execute_many([breakers.show(name) for name, _ in found])
        return [
            _view(name, jsoncodec.loads(document), one)
            for (name, document), some in zip(found, shown, strict=True)
            for one in sorted(some, key=lambda one: one.key) or [_AT_REST]
        ]

    def get(self, name: str, key: str) -> BreakerView | None:
        """Return a breaker for one key; None if no worker has made such a breaker known."""
        return next(
            (one for one in self.list() if (one.name, one.key) == (name, key)),
            None,
        )

    def reset(self, name: str, key: str | None = None) -> builtins.list[str]:
        """
        Close a breaker for *key*, or for all keys that are not at rest; return those keys.

        Tasks that wait are called to the head of their queues. Safe to repeat.

        Raises:
            NotFound: No worker has made such a breaker known.
        """
        known = self._link.execute(breakers.published())
        if name not in known:
            raise NotFound(
                f'There is no breaker "{name}".{did_you_mean(name, known)}',
                hint="Workers make their breakers known when they start; `qd breaker ls` lists them.",
            )
        shown = [one.key for one in self._link.execute(breakers.show(name))]
        chosen = sorted(one for one in shown if key in (None, one))
        for one in chosen:
            self._close(name, one)
        return chosen

    def _close(self, name: str, key: str) -> None:
        answer = self._link.execute(breakers.reset(name, key))
        steps = breakers.bring(Rules(name), answer, now_ns=int(self._clock() * 1e9))
        ops = next(steps, None)
        while ops is not None:
            answers = self._link.execute_many(ops)
            try:
                ops = steps.send(answers)
            except StopIteration:
                ops = None


def _view(name: str, document: dict[str, Any], shown: Shown) -> BreakerView:
    return BreakerView(
        name,
        shown.key,
        shown.state,
        moment(shown.since),
        moment(shown.until) if shown.state == "open" else None,
        shown.failures,
        shown.successes,
        shown.trying,
        shown.waiting,
        shown.runs,
        shown.failed,
        tuple(document.get("types", ())),
        str(document.get("key", "")),
    )
