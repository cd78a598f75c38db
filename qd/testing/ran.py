"""What the kit tells of tasks that have run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qd.errors import RetryAfter, RevokeTask, Snooze

# A handler that raises one of these says when or whether it wants to run again; nothing went wrong.
_WISHES = (Snooze, RetryAfter, RevokeTask)


@dataclass(frozen=True)
class Ran:
    """
    One run of a task, and what became of it.

    - `at`: when it ran, by the clock of the kit; `attempt`: counted from 1
    - `payload`: as it was stored, read back from JSON; bytes that are no JSON stay bytes
    - `outcome`: done, complete (done, and kept for its retention), revoke, retry, archive (dead), or
      park: it has not run, for a limit or a breaker held it back
    - `result`: what its handler returned; `error`: what it raised
    - `delay`, `next_at`: of a retry, seconds and moment; else None
    - `charged`: a retry was used up
    """

    type: str
    id: str
    queue: str
    at: datetime
    attempt: int
    payload: Any
    outcome: str
    result: Any = None
    error: BaseException | None = None
    delay: float | None = None
    next_at: datetime | None = None
    charged: bool = False

    @property
    def ok(self) -> bool:
        """True if it succeeded."""
        return self.outcome in ("done", "complete")

    @property
    def failed(self) -> bool:
        """True if it is dead, or its handler raised something else than `Snooze` (and `NotYet`), `RetryAfter`, `RevokeTask`."""
        if self.error is None:
            return False
        return self.outcome == "archive" or not isinstance(self.error, _WISHES)

    def raise_error(self) -> None:
        """Raise what the handler raised, if it `failed`."""
        if self.failed:
            assert self.error is not None  # noqa: S101 - that is what failed means
            self.error.add_note(f"qd: {self}")
            raise self.error

    def __str__(self) -> str:
        fate = self.outcome
        if self.next_at is not None:
            fate += f" in {self.delay:g} s"
        if self.error is not None:
            fate += f", {type(self.error).__name__}: {self.error}"
        return f"{self.type} ({self.id}), attempt {self.attempt}: {fate}"


class Runs(list[Ran]):
    """Runs in the order in which they took place."""

    def of(self, task: Any) -> Runs:
        """Those of one task type, by its name or what `@app.task` gave back."""
        wanted = getattr(task, "type", task)
        return Runs(one for one in self if one.type == wanted)

    @property
    def types(self) -> list[str]:
        return [one.type for one in self]

    @property
    def failed(self) -> Runs:
        """Those whose handlers failed."""
        return Runs(one for one in self if one.failed)

    @property
    def counts(self) -> Counter[str]:
        """How often each type ran."""
        return Counter(self.types)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {one.at:%H:%M:%S}  {one}" for one in self)
        return f"<{len(self)} runs>{lines}"
