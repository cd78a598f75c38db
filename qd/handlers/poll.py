"""What a handler says about its tasks if they are polls: how often they look, and at what."""

from __future__ import annotations

from msgspec import Struct

from qd.durations import seconds
from qd.errors import UsageError
from qd.handlers.options import Duration
from qd.handlers.paths import short_key, value_at
from qd.policy.poll import PollRules
from qd.protocol.message import TaskMessage


class Poll(Struct, frozen=True):
    """The rules of the polls of one handler; `key` leads to what only one of them looks at at a time."""

    rules: PollRules
    key: str = ""

    def lock_of(self, message: TaskMessage) -> str:
        """The value that `key` leads to; empty if there is none: the task looks by itself."""
        return short_key(value_at(self.key, message)) if self.key else ""


def make_poll(
    initial_delay: Duration, max_delay: Duration, give_up_after: Duration | None, key: str | None
) -> Poll:
    """
    Return what the decorator says, checked.

    Raises:
        UsageError: A duration that is none, delays that shrink, or a key that leads nowhere.
    """
    initial, longest = seconds(initial_delay), seconds(max_delay)
    if initial <= 0:
        raise UsageError(
            f"initial_delay={initial_delay!r} is no time", hint="A poll waits between its looks."
        )
    if longest < initial:
        raise UsageError(
            f"max_delay={max_delay!r} is less than initial_delay={initial_delay!r}",
            hint="Delays grow from the one to the other.",
        )
    until = 0.0 if give_up_after is None else seconds(give_up_after)
    if give_up_after is not None and until <= 0:
        raise UsageError(f"give_up_after={give_up_after!r} is no time", hint="None is for ever.")
    where, _, rest = (key or "payload.x").partition(".")
    if where not in ("payload", "headers") or not rest:
        raise UsageError(f"key={key!r} leads nowhere", hint="Write payload.NAME or headers.NAME.")
    return Poll(PollRules(initial, longest, until), key or "")
