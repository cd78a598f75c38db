"""
The corpus: sequences, what asynq answered, and what each step changed in its database.

    python -m tests.compat.differential.recording       # needs Go; writes corpus/*.json anew

Replayed on qd alone, a step is right if qd's database differs from asynq's only as the table says.
"""

from __future__ import annotations

import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import redis
from hypothesis import HealthCheck, given, seed, settings

from qd.broker.link import Link
from tests.compat.differential.alphabet import sequences
from tests.compat.differential.differences import Difference, differences
from tests.compat.differential.pair import Pair, Walk, explain, pair
from tests.compat.differential.qd_side import QdSide
from tests.compat.differential.scenarios import DIFFERENCES, ORDINARY
from tests.compat.differential.store import QUEUE, Store, View
from tests.compat.differential.wanted import ANSWER, Step

CORPUS = Path(__file__).parent / "corpus"
_RANDOM = 12
"""Random sequences in the corpus."""


def names() -> list[str]:
    return sorted(path.stem for path in CORPUS.glob("*.json"))


def replay(name: str, link: Link, client: redis.Redis) -> int:
    """
    Carry out a recorded sequence on qd; return how many steps it has.

    Raises:
        Unexplained: qd does something else than asynq did.
    """
    recorded = json.loads((CORPUS / f"{name}.json").read_text())
    now = int(time.time())
    store, qd, walk = Store(client, now), QdSide(link, now), Walk()
    client.sadd("asynq:queues", QUEUE)
    before = store.view()
    for number, one in enumerate(recorded, 1):
        op, answer = one["op"], one["answer"]
        theirs = _carry_out(op, store, qd)
        after = store.view()
        step = Step(
            op, before, _changed(before, one["changes"]), after, (answer, theirs), walk.held
        )
        found = differences(step.asynq, after, time.time() - now)
        if answer != theirs:
            found.append(Difference(ANSWER, ":value", answer, theirs))
        explain(step, found, [other["op"] for other in recorded[:number]])
        walk.note(op, theirs, after)
        before = after
    return len(recorded)


def _carry_out(op: dict[str, Any], store: Store, qd: QdSide) -> Any:
    match op["op"]:
        case "age":
            store.age(op["seconds"])
            return qd.age(op["seconds"])
        case "lose":
            return store.lose(op["id"])
    return qd.apply(op)


def _changed(before: View, changes: dict[str, Any]) -> View:
    after = {**before, **changes}
    return {key: entry for key, entry in after.items() if entry is not None}


def record() -> None:
    """Write the corpus anew."""
    logging.disable(logging.CRITICAL)
    CORPUS.mkdir(exist_ok=True)
    for old in CORPUS.glob("*.json"):
        old.unlink()
    known = {**{name: ops for name, (ops, _) in DIFFERENCES.items()}, **ORDINARY}
    with pair() as both:
        for name, ops in known.items():
            _write(name, both.run(ops))
        for number in range(1, _RANDOM + 1):
            _write(f"random {number}", _most_eventful(both, number))


def _most_eventful(both: Pair, number: int) -> list[dict[str, Any]]:
    """Of some random sequences the one that changes most."""
    runs: list[list[dict[str, Any]]] = []

    @seed(number)
    @settings(
        max_examples=30, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(sequences)
    def run(ops: list[dict[str, Any]]) -> None:
        # Without Go nobody could repeat what Go servers did on qd's database.
        runs.append(both.run([{**op, "by": "qd"} if "by" in op else op for op in ops]))

    run()
    return max(runs, key=lambda steps: sum(bool(one["changes"]) for one in steps))


def _write(name: str, steps: list[dict[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in steps)
    path = CORPUS / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.json"
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    record()
