"""What can be wrong in the store, rule by rule, and one case of it."""

from __future__ import annotations

from msgspec import Struct

from qd.protocol.op import Op, text

PROBLEM = "problem"
WARNING = "warning"


class Rule(Struct, frozen=True):
    """What a rule finds, in the singular and the plural, what that does, and how bad it is."""

    one: str
    several: str
    risk: str
    level: str = PROBLEM


RULES = {
    "wrong-type": Rule(
        "key of the wrong type",
        "keys of the wrong type",
        "every step that needs it fails, for this queue",
    ),
    "not-a-number": Rule(
        "counter that is no number",
        "counters that are no numbers",
        "asynq loses a task when it fails to count it",
    ),
    "expiring": Rule("key that expires", "keys that expire", "Redis will delete it"),
    "unregistered": Rule(
        "queue that is not registered",
        "queues that are not registered",
        "no tool shows it",
    ),
    "stale-set": Rule(
        "staged set that nobody finished",
        "staged sets that nobody finished",
        "its tasks wait for ever",
    ),
    "unlisted-set": Rule(
        "staged set that is not listed",
        "staged sets that are not listed",
        "its tasks wait for ever",
    ),
    "missing-set": Rule(
        "listed set that does not exist",
        "listed sets that do not exist",
        "harmless",
        WARNING,
    ),
    "unlisted-group": Rule(
        "group that is not listed",
        "groups that are not listed",
        "no aggregator looks at its tasks",
    ),
    "empty-group": Rule(
        "listed group without tasks", "listed groups without tasks", "harmless", WARNING
    ),
    "ghost": Rule(
        "listed id without a task",
        "listed ids without a task",
        "it is counted and never runs, and asynq's tools fail on its queue",
    ),
    "empty": Rule(
        "task without a message",
        "tasks without a message",
        "it can never run, and its id stays taken",
    ),
    "not-a-task": Rule(
        "key of a task that holds something else",
        "keys of tasks that hold something else",
        "its id stays taken",
    ),
    "undecodable": Rule(
        "message that nobody can read",
        "messages that nobody can read",
        "one active such task keeps Go servers from recovering any",
    ),
    "unlisted": Rule(
        "task that no container lists",
        "tasks that no container lists",
        "it never runs, no tool shows it, and its id stays taken",
    ),
    "misplaced": Rule(
        "task listed elsewhere than its state says",
        "tasks listed elsewhere than their states say",
        "no tool can run, archive or delete it",
    ),
    "doubled": Rule(
        "task listed more than once", "tasks listed more than once", "it may run twice"
    ),
    "unleased": Rule(
        "active task without a lease",
        "active tasks without a lease",
        "Go servers never take it back",
    ),
    "stray-lease": Rule(
        "lease of a task that is not active",
        "leases of tasks that are not active",
        "recoverers look at it for ever",
        WARNING,
    ),
    "leaked-lock": Rule(
        "uniqueness lock that no task holds",
        "uniqueness locks that no task holds",
        "equal tasks are refused until it expires",
    ),
    "debris": Rule(
        "deleted queue that left something",
        "deleted queues that left something",
        "harmless; a new queue of this name would begin with it",
        WARNING,
    ),
    "dead-entries": Rule(
        "record with entries of processes that are gone",
        "records with entries of processes that are gone",
        "harmless; it grows",
        WARNING,
    ),
    "unknown-key": Rule(
        "key that is none of asynq's or qd's",
        "keys that are none of asynq's or qd's",
        "harmless, if it is meant to be there",
        WARNING,
    ),
}
"""In the order in which repairs are carried out: what others depend on comes first."""


class Finding(Struct, frozen=True):
    """
    One thing that is not as it should be.

    `subject` is the task's id, the key or the name that it is about. `evidence` says what was seen
    and `remedy` what the repair does; `repair` is that step, None if only a person can decide.
    `token` changes with what was seen, so that two looks can tell if they saw the same. `gone`: the
    repair leaves no task.
    """

    rule: str
    queue: str
    subject: bytes
    evidence: str
    remedy: str = ""
    repair: Op[int] | None = None
    token: bytes = b""
    gone: bool = False

    @property
    def identity(self) -> tuple[str, str, bytes, bytes]:
        """What two looks must agree in."""
        return self.rule, self.queue, self.subject, self.token

    @property
    def level(self) -> str:
        return RULES[self.rule].level

    @property
    def name(self) -> str:
        return text(self.subject)

    def as_dict(self) -> dict[str, str | bool]:
        return {
            "rule": self.rule,
            "level": self.level,
            "queue": self.queue,
            "subject": self.name,
            "evidence": self.evidence,
            "remedy": self.remedy,
            "repairable": self.repair is not None,
        }


ORDER = {name: place for place, name in enumerate(RULES)}
