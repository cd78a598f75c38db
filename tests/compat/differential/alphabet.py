"""Random operations: names from small pools, so that they meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

IDS = [f"t{number}" for number in range(12)]
GROUPS = ["g1", "g2"]
_VERBS = [
    f"{verb}-all-{state}"
    for verb, states in {
        "run": ["scheduled", "retry", "archived", "aggregating"],
        "archive": ["pending", "scheduled", "retry", "aggregating"],
        "delete": ["pending", "scheduled", "retry", "archived", "completed", "aggregating"],
    }.items()
    for state in states
]

_Op = st.SearchStrategy[dict[str, Any]]


def _op(name: str, **fields: st.SearchStrategy[Any]) -> _Op:
    return st.fixed_dictionaries({"op": st.just(name), **fields})


def _rarely(value: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, None, None, value])


def _by() -> st.SearchStrategy[str]:
    return st.sampled_from(["qd", "qd", "qd", "go"])


_ids = st.sampled_from(IDS)
_groups = st.sampled_from(GROUPS)
_picks = st.integers(0, 11)

_enqueue = _op(
    "enqueue",
    id=_ids,
    type=st.sampled_from(["a", "b"]),
    payload=st.sampled_from([None, "", "x"]),
    unique=st.sampled_from([None, None, 60, 3600]),
    delay=st.sampled_from([None, None, None, 30, 600]),
    group=st.sampled_from([None, None, None, *GROUPS]),
    max_retry=st.sampled_from([None, 0, 1]),
    retention=st.sampled_from([None, 50]),
    headers=_rarely({"a": "1", "b": ""}),
)
# Asynq takes and ends tasks one by one, qd several with one script.
_end = _op(
    "end",
    pick=_picks,
    count=st.sampled_from([1, 1, 2, 3]),
    how=st.sampled_from(["ok", "ok", "ok", "retry", "again", "archive", "requeue"]),
)
_age = _op("age", seconds=st.sampled_from([20, 20, 40, 130, 130, 700, 91 * 86_400]))
_bulk = st.sampled_from(_VERBS).flatmap(
    lambda verb: _op(verb, group=_groups) if verb.endswith("aggregating") else _op(verb)
)
_stage = _op(
    "stage",
    group=_groups,
    grace=st.sampled_from([10, 60]),
    max_wait=st.sampled_from([0, 30]),
    max_size=st.sampled_from([0, 1, 1, 2]),
)

_WEIGHTED: list[tuple[int, _Op]] = [
    (14, _enqueue),
    (10, _op("dequeue", by=_by(), count=st.sampled_from([1, 1, 2, 3]))),
    (12, _end),
    (1, _op("result", pick=_picks, result=st.just("done"))),
    (1, _op("extend", pick=_picks)),
    (3, _op("forward")),
    (1, _op("janitor")),
    (3, _op("recover", by=_by())),
    (5, _stage),
    (6, _op("merge", pick=_picks, id=st.sampled_from(["m1", "m2"]))),
    (1, _op("pause")),
    (4, _op("unpause")),
    (5, st.sampled_from(["run", "archive", "delete"]).flatmap(lambda verb: _op(verb, pick=_picks))),
    (1, _op("update-payload", pick=_picks, payload=st.just("new"))),
    (8, _bulk),
    (5, _age),
    (1, _op("lose", pick=_picks)),
]
_STRATEGIES = [strategy for _, strategy in _WEIGHTED]
_indexes = st.sampled_from([at for at, (weight, _) in enumerate(_WEIGHTED) for _ in range(weight)])


@st.composite
def _operations(draw: st.DrawFn) -> dict[str, Any]:
    return draw(_STRATEGIES[draw(_indexes)])


KINDS = {
    *("enqueue", "enqueue with a lock", "enqueue with a delay", "enqueue with a group"),
    *("dequeue", "dequeue of several", "done", "complete", "retry", "again", "archived", "requeue"),
    *("end of several", "result", "extend", "forward", "janitor", "recover", "pause", "unpause"),
    *("stage", "merge", "run", "archive", "delete", "update-payload", *_VERBS),
}
"""What a run of some thousand operations must have done with effect; see `kinds`."""


def kinds(op: dict[str, Any]) -> set[str]:
    """What an operation that was carried out is called in `KINDS`."""
    match op["op"]:
        case "enqueue":
            options = {"unique": "a lock", "delay": "a delay", "group": "a group"}
            found = {f"enqueue with {what}" for name, what in options.items() if op.get(name)}
            return found or {"enqueue"}
        case "dequeue":
            return {"dequeue of several" if op.get("count", 1) > 1 else "dequeue"}
        case "end":
            several = {"end of several"} if len(op["tasks"]) > 1 else set()
            if op["how"] == "ok":
                return several | {"complete" if one else "done" for one in op["tasks"].values()}
            return several | {"archived" if op["how"] == "archive" else op["how"]}
        case name:
            return {name}


sequences = st.lists(_operations(), min_size=25, max_size=100)
