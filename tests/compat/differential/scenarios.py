"""Sequences written by hand: one for each wanted difference, and what tasks usually go through."""

from __future__ import annotations

from typing import Any

Ops = list[dict[str, Any]]


def _new(task_id: str = "t1", **options: Any) -> dict[str, Any]:
    return {"op": "enqueue", "id": task_id, "type": "a", **options}


def _end(how: str, *ids: str) -> dict[str, Any]:
    return {"op": "end", "ids": list(ids or ("t1",)), "how": how}


def _op(name: str, **fields: Any) -> dict[str, Any]:
    return {"op": name, **fields}


_TAKE = _op("dequeue", by="qd")
_TAKE_BY_GO = _op("dequeue", by="go")
_STAGE = _op("stage", group="g1", grace=10, max_wait=0, max_size=0)
_MONTHS = _op("age", seconds=91 * 86_400)

DIFFERENCES: dict[str, tuple[Ops, set[str]]] = {
    "lease of 15 s": ([_new(), _TAKE, _op("extend", id="t1")], set()),
    "pending_since when put back": (
        [_new(), _TAKE, _end("requeue"), _new("t2", delay=30), _op("run", id="t2")],
        {"lease of 15 s"},
    ),
    "no pending_since when archived": ([_new(), _op("archive", id="t1")], set()),
    "delayed tasks join their group": (
        [_new(delay=30, group="g1"), _op("age", seconds=40), _op("forward")],
        {"groups are listed again"},
    ),
    "no lock is left on a conflict": ([_new(), _new(unique=60)], set()),
    "a conflict is named before a duplicate": ([_new(unique=60), _new(unique=60)], set()),
    "ghosts are dropped": (
        [
            _new(), _op("lose", id="t1"), _TAKE,
            _new("t2", delay=30), _op("lose", id="t2"), _op("age", seconds=40), _op("forward"),
            _new("t3", delay=30), _op("lose", id="t3"), _op("run-all-scheduled"),
        ],
        set(),
    ),
    "groups are listed again": (
        [
            _new(group="g1"), _op("age", seconds=20), _STAGE, _op("age", seconds=130),
            _op("recover"),
        ],
        set(),
    ),
    "trimming takes hashes and locks along": (
        [
            _new(delay=30, unique=60 + 92 * 86_400), _op("archive", id="t1"), _MONTHS,
            _new("t2", delay=30), _op("archive", id="t2"),
        ],
        set(),
    ),
    "the archive is trimmed when something comes in": (
        [_new(delay=30), _op("archive", id="t1"), _MONTHS, _op("archive-all-scheduled")],
        set(),
    ),
    "own leases are recovered early and uncharged": (
        [
            _new(max_retry=0), _TAKE, _op("age", seconds=20), _op("recover"),
            _TAKE, _op("age", seconds=130), _op("recover"),
        ],
        {"lease of 15 s"},
    ),
    "unique_key of grouped tasks": ([_new(group="g1", unique=60)], set()),
    "locks go with deleted tasks": (
        [
            _new(unique=60), _op("delete-all-pending"),
            _new(unique=60, group="g1"), _op("delete-all-aggregating", group="g1"),
            _new(unique=60, group="g1"), _op("age", seconds=20), _STAGE,
            _op("merge", id="m1", pick=0),
        ],
        {"unique_key of grouped tasks"},
    ),
}  # fmt: skip
"""By the entry of the table: a sequence that meets it, and the entries it cannot do without."""

ORDINARY: dict[str, Ops] = {
    "success": [_new(), _TAKE, _end("ok")],
    "success with a result that is kept": [
        _new(retention=50), _TAKE, _op("result", id="t1", result="done"), _end("ok"),
        _op("janitor"), _op("age", seconds=60), _op("janitor"),
    ],
    "retries until the dead letters": [
        _new(max_retry=1, headers={"a": "1", "b": ""}), _TAKE, _end("retry"), _op("forward"),
        _op("age", seconds=130), _op("forward"), _TAKE, _end("archive"), _op("run", id="t1"),
    ],
    "expected failures are not counted": [
        _new(max_retry=0), _TAKE, _end("again"), _op("age", seconds=130), _op("forward"), _TAKE,
        _end("again"),
    ],
    "the line is first in, first out": [
        _new("t1"), _new("t2"), _new("t3"), _TAKE, _end("requeue"), _TAKE, _TAKE, _end("ok", "t2"),
    ],
    "several are taken and ended at once": [
        _new("t1"), _new("t2", retention=50), _new("t3"), _new("t4", retention=50), _new("t5"),
        _new("t6"), _op("dequeue", by="qd", count=4), _end("ok", "t2", "t1", "t4"),
        _op("dequeue", by="qd", count=3), _end("requeue", "t3", "t5", "t6"),
        _op("dequeue", by="qd", count=3), _end("retry", "t6", "t3"), _end("archive", "t5"),
    ],
    "locks are released by success only": [
        _new(unique=3600), _new("t2", unique=3600), _TAKE, _end("retry"), _new("t2", unique=3600),
        _op("age", seconds=130), _op("forward"), _TAKE, _end("ok"), _new("t2", unique=3600),
    ],
    "locks of no payload and of an empty one": [
        _new("t1", unique=60), _new("t2", unique=60, payload=""), _new("t3", unique=60, payload="x"),
        _new("t4", unique=60, payload="x"), _op("age", seconds=130), _new("t5", unique=60),
    ],
    "a delayed lock lasts from the delay on": [
        _new(unique=60, delay=600), _op("age", seconds=130), _new("t2", unique=60),
        _op("update-payload", id="t1", payload="new"), _op("run", id="t1"),
        _op("update-payload", id="t1", payload="newer"),
    ],
    "a group is aggregated": [
        _new("t1", group="g1"), _op("age", seconds=20), _new("t2", group="g1"), _STAGE,
        _op("age", seconds=20), _STAGE, _new("t3", group="g1"), _op("merge", id="m1", pick=0), _TAKE,
    ],
    "a full group is staged in part": [
        _new("t1", group="g1"), _new("t2", group="g1"), _new("t3", group="g1"),
        _op("stage", group="g1", grace=60, max_wait=0, max_size=2),
        _op("age", seconds=40),
        _op("stage", group="g1", grace=60, max_wait=30, max_size=2),
    ],
    "a delayed task that names a group is run": [
        _new("t1", group="g1"), _new("t2", delay=30, group="g1"), _op("run", id="t2"),
    ],
    "a failed task of a group goes back to it": [
        _new("t1", group="g1"), _op("run", id="t1"), _TAKE, _end("retry"), _op("age", seconds=130),
        _op("forward"),
    ],
    "single interventions in every state": [
        _new("t1"), _op("run", id="t1"), _TAKE, _op("archive", id="t1"), _op("delete", id="t1"),
        _op("run", id="t1"), _end("archive"), _op("archive", id="t1"), _op("run", id="t1"),
        _op("delete", id="t1"), _op("delete", id="t1"), _new("t2", group="g1"),
        _op("archive", id="t2"), _op("delete", id="t2"), _new("t3", retention=50), _TAKE,
        _end("ok", "t3"), _op("run", id="t3"),
    ],
    "all of a state": [
        _new("t1"), _new("t2"), _op("archive-all-pending"), _new("t3", delay=30),
        _op("run-all-archived"), _op("archive-all-scheduled"), _op("delete-all-archived"),
        _new("t4", group="g1"), _new("t5", group="g1"), _op("run-all-aggregating", group="g1"),
        _new("t6", group="g2"), _op("archive-all-aggregating", group="g2"),
        _op("delete-all-pending"), _op("delete-all-retry"),
    ],
    "a pause": [
        _op("pause"), _op("pause"), _new(), _TAKE, _op("unpause"), _op("unpause"), _TAKE,
    ],
}  # fmt: skip

MIXED: dict[str, Ops] = {
    "a Go server that died is recovered as asynq would": [
        _new("t1", max_retry=1), _new("t2", max_retry=0), _TAKE_BY_GO, _TAKE_BY_GO,
        _op("age", seconds=40), _op("recover", by="qd"),
        _op("age", seconds=40), _op("recover", by="qd"),
    ],
    "a Go server has its grace even where a worker of qd was before": [
        _new(max_retry=2), _TAKE, _op("age", seconds=130), _op("recover", by="go"),
        _op("age", seconds=130), _op("forward"), _TAKE_BY_GO,
        _op("age", seconds=40), _op("recover", by="qd"),
        _op("age", seconds=40), _op("recover", by="qd"),
    ],
    "a task a Go server has retried is run by an operator and taken by Go again": [
        _new(max_retry=2), _TAKE, _op("age", seconds=130), _op("recover", by="go"),
        _op("run", id="t1"), _TAKE_BY_GO, _op("age", seconds=40), _op("recover", by="qd"),
    ],
}  # fmt: skip
"""Go servers and qd on one database."""
