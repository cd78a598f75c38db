"""Keys have asynq's names, and all keys of a queue live in one slot."""

from __future__ import annotations

import base64
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from qd.protocol import keys

GOLDEN = Path(__file__).parents[2] / "compat" / "golden" / "unique_keys.json"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (keys.task("q", "1"), "asynq:{q}:t:1"),
        (keys.pending("q"), "asynq:{q}:pending"),
        (keys.active("q"), "asynq:{q}:active"),
        (keys.lease("q"), "asynq:{q}:lease"),
        (keys.scheduled("q"), "asynq:{q}:scheduled"),
        (keys.retry("q"), "asynq:{q}:retry"),
        (keys.archived("q"), "asynq:{q}:archived"),
        (keys.completed("q"), "asynq:{q}:completed"),
        (keys.paused("q"), "asynq:{q}:paused"),
        (keys.processed("q"), "asynq:{q}:processed"),
        (keys.failed("q"), "asynq:{q}:failed"),
        (keys.processed_on("q", "2026-01-01"), "asynq:{q}:processed:2026-01-01"),
        (keys.failed_on("q", "2026-01-01"), "asynq:{q}:failed:2026-01-01"),
        (keys.groups("q"), "asynq:{q}:groups"),
        (keys.group("q", "g"), "asynq:{q}:g:g"),
        (keys.aggregation_set("q", "g", "s"), "asynq:{q}:g:g:s"),
        (keys.aggregation_sets("q"), "asynq:{q}:aggregation_sets"),
        (keys.server("h", 1, "s"), "asynq:servers:{h:1:s}"),
        (keys.workers("h", 1, "s"), "asynq:workers:{h:1:s}"),
        (keys.scheduler("h:1:s"), "asynq:schedulers:{h:1:s}"),
        (keys.scheduler_history("e"), "asynq:scheduler_history:e"),
        (keys.QUEUES, "asynq:queues"),
        (keys.CANCEL_CHANNEL, "asynq:cancel"),
    ],
)
def test_keys_have_asynqs_names(key: str, name: str) -> None:
    assert key == name


def queue_keys() -> list[Any]:
    """Every function that makes a key of a queue."""
    return [
        pytest.param(function, id=name)
        for name, function in inspect.getmembers(keys, inspect.isfunction)
        if function.__module__ == keys.__name__
        and next(iter(inspect.signature(function).parameters)) == "queue"
    ]


@pytest.mark.parametrize("function", queue_keys())
def test_every_key_of_a_queue_carries_its_hash_tag_first(function: Any) -> None:
    given = {name: f"{name}-x" for name in inspect.signature(function).parameters}
    if "payload" in given:
        given["payload"] = b"x"
    made = function(**given | {"queue": "mail:high"})
    assert made.startswith(("asynq:{mail:high}:", "qd:{mail:high}:"))
    assert keys.queue_of(made) == "mail:high"


def test_no_payload_and_an_empty_one_have_different_locks() -> None:
    assert keys.unique("q", "t", None) == "asynq:{q}:unique:t:"
    assert keys.unique("q", "t", b"") == "asynq:{q}:unique:t:d41d8cd98f00b204e9800998ecf8427e"
    assert keys.unique("default", "email:send", b'{"user_id":42}') == (
        "asynq:{default}:unique:email:send:1181f89307fa271072c095747d5813cc"
    )


@pytest.mark.parametrize("one", json.loads(GOLDEN.read_text()), ids=lambda one: one["key"])
def test_locks_are_those_that_go_takes(one: Any) -> None:
    spec = one["spec"]
    payload: bytes | None = None
    if "payload_b64" in spec:
        payload = base64.b64decode(spec["payload_b64"])
    elif "payload" in spec:
        payload = spec["payload"].encode()
    assert keys.unique(keys.queue_of(one["key"]), spec["type"], payload) == one["key"]
