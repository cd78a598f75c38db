"""Limits: what they allow, who runs under them, who waits, and a hand on them."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from qd import jsoncodec
from qd.broker.link import Link
from qd.errors import NotFound, UsageError
from qd.inspector.views import LimitView, LineView, TaskView
from qd.protocol import keys
from qd.protocol.ops import limits
from qd.protocol.ops.limits import Member, Shown
from qd.suggest import did_you_mean

_PARTS = {"rate": "rate", "burst": "burst", "concurrency": "slots"}
"""What can be set, and how it is called in Redis."""

_HOLDERS = 5


class Limits:
    """The limits that workers have made known when they started."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def list(self) -> builtins.list[LimitView]:
        """Return all limits by name."""
        found = sorted(self._link.execute(limits.published()).items())
        shown = self._link.execute_many([limits.show(name) for name, _ in found])
        return [
            _view(name, jsoncodec.loads(document), one)
            for (name, document), one in zip(found, shown, strict=True)
        ]

    def show(self, name: str) -> tuple[LimitView, Shown]:
        """
        Return one limit, with the tasks that have slots and the lines of its keys.

        Raises:
            NotFound: No worker has made such a limit known.
        """
        document = self._require(name)
        shown = self._link.execute(limits.show(name))
        return _view(name, document, shown), shown

    def set(self, name: str, values: Mapping[str, float]) -> None:
        """
        Let other values hold for all workers from now on: rate (starts per second), burst, concurrency.

        They hold over restarts and changes of the configuration, until `reset`. Safe to repeat.

        Raises:
            NotFound: No worker has made such a limit known.
            UsageError: A value that no limit can have, or none at all.
        """
        self._require(name)
        for part, value in values.items():
            if part not in _PARTS:
                raise UsageError(f"A limit has no {part!r}.{did_you_mean(part, _PARTS)}")
            if value < (1 if part == "burst" else 0) or (part != "rate" and value != int(value)):
                raise UsageError(f"{part} of a limit cannot be {value!r}")
        if not values:
            raise UsageError(f"Nothing to set of {name}", hint="Give a rate, burst or concurrency.")
        step = limits.set_by_hand(name, {_PARTS[part]: value for part, value in values.items()})
        self._link.execute(step)

    def reset(self, name: str) -> None:
        """
        Let the configured values hold again. Safe to repeat.

        Raises:
            NotFound: No worker has made such a limit known.
        """
        self._require(name)
        self._link.execute(limits.set_by_hand(name, {}))

    def place(self, task: TaskView) -> LineView | None:
        """Return where a parked task stands in the line of its limit; None if that is not known."""
        _, name, key = (*task.waits, "", "")[:3]
        document = self._link.execute(limits.published()).get(name)
        if document is None:
            return None
        member = Member(keys.task(task.queue, task.id), key)
        shown = self._link.execute(limits.show(name))
        ahead = self._link.execute(limits.place(name, member))
        view = _view(name, jsoncodec.loads(document), shown)
        held = [slot.task.partition(":t:")[2] for slot in shown.slots if slot.key == key]
        more = ("...",) if len(held) > _HOLDERS else ()
        return LineView(
            ahead,
            len(held),
            view.concurrency,
            (*held[:_HOLDERS], *more),
            ahead / view.rate if ahead and view.rate else 0.0,
        )

    def _require(self, name: str) -> dict[str, Any]:
        known = self._link.execute(limits.published())
        if name not in known:
            raise NotFound(
                f'There is no limit "{name}".{did_you_mean(name, known)}',
                hint="Workers make their limits known when they start; `qd limit ls` lists them.",
            )
        document: dict[str, Any] = jsoncodec.loads(known[name])
        return document


def _view(name: str, document: dict[str, Any], shown: Shown) -> LimitView:
    configured = {part: document.get(part, 0) for part in _PARTS}
    by_hand = {
        part: float(shown.set_by_hand[stored])
        for part, stored in _PARTS.items()
        if stored in shown.set_by_hand
    }
    now = {**configured, **by_hand}
    return LimitView(
        name,
        float(now["rate"]),
        int(now["burst"]),
        int(now["concurrency"]),
        str(document.get("per", "")),
        str(document.get("key", "")),
        tuple(by_hand),
        {part: configured[part] for part in by_hand},
        shown.running,
        sum(line.waiting for line in shown.lines),
        shown.keys,
    )
