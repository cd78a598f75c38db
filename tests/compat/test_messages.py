"""The bytes of both sides: golden ones, and that Go decodes every message that qd writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import redis

import qd
from qd.errors import SkipRetry
from qd.handlers.options import TaskOptions
from qd.protocol import codec
from qd.protocol.gotext import option_strings
from tests.compat.asynq import Steps, from_b64, golden
from tests.compat.peer import PATIENCE, Peer
from tests.compat.test_operators import tasks_of_qd
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

CODECS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "asynq:servers:": (codec.decode_server, codec.encode_server),
    "asynq:workers:": (codec.decode_worker, codec.encode_worker),
    "asynq:schedulers:": (codec.decode_entry, codec.encode_entry),
    "asynq:scheduler_history:": (codec.decode_event, codec.encode_event),
    "asynq:{": (codec.decode_task, codec.encode_task),
}

GOLDEN = [
    pytest.param(entry, id=entry["name"])
    for name in ("task_messages", "server_and_workers", "scheduler")
    for entry in golden(name)
]

# How they ended stands in the message, and when.
AS_ENQUEUED = [
    pytest.param(entry, id=entry["name"])
    for entry in golden("task_messages")
    if not entry["message"]["error_msg"] and not entry["message"]["completed_at"]
]


@pytest.mark.parametrize("entry", GOLDEN)
def test_golden_bytes_are_read_and_written_again_without_a_change(entry: dict[str, Any]) -> None:
    data = bytes.fromhex(entry["hex"])
    decode, encode = next(
        pair for prefix, pair in CODECS.items() if entry["key"].startswith(prefix)
    )
    assert encode(decode(data)) == data


def options_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The options of a golden file in qd's words; Go's durations are whole units here."""
    options = {name: spec[name] for name in ("queue", "max_retry", "retention", "unique", "group",
                                             "headers") if name in spec}  # fmt: skip
    if "timeout" in spec:
        options["timeout"] = spec["timeout"]
    for name in ("deadline", "process_at"):
        if name in spec:
            options[name] = dt.datetime.fromtimestamp(spec[name], dt.UTC)
    return options | ({"task_id": spec["id"]} if "id" in spec else {})


@pytest.mark.parametrize("entry", AS_ENQUEUED)
def test_qd_enqueues_the_golden_bytes(peer: Peer, raw: redis.Redis, entry: dict[str, Any]) -> None:
    spec = entry["spec"]
    payload = spec.get("payload")
    raw_payload = from_b64(spec["payload_b64"]) if "payload_b64" in spec else None
    made = peer.client.enqueue(
        spec["type"], payload.encode() if payload is not None else raw_payload, **options_of(spec)
    )
    written = raw.hget(f"asynq:{{{made.queue}}}:t:{made.id}", "msg")
    if len(spec.get("headers", {})) > 1:
        # Go writes them in any order.
        assert codec.decode_task(written).terms.headers == tuple(sorted(spec["headers"].items()))
        assert len(written) == len(bytes.fromhex(entry["hex"]))
    else:
        assert written == bytes.fromhex(entry["hex"])


def test_a_lock_has_the_golden_key(peer: Peer, raw: redis.Redis) -> None:
    for entry in golden("unique_keys"):
        raw.flushall()
        spec = entry["spec"]
        payload = spec.get("payload")
        data = payload.encode() if payload is not None else from_b64(spec.get("payload_b64"))
        peer.client.enqueue(spec["type"], data, **options_of(spec))
        assert raw.keys("*:unique:*") == [entry["key"].encode()]


@pytest.mark.parametrize("entry", [pytest.param(one, id=one["name"]) for one in golden("scheduler")
                                   if "spec" in one])  # fmt: skip
def test_options_of_a_periodic_task_have_the_golden_texts(entry: dict[str, Any]) -> None:
    spec = entry["spec"]
    words = options_of(spec)
    if "process_in" in spec:
        words["process_in"] = 61.5
        assert spec["process_in"] == "1m1.5s"
    options = TaskOptions.of(**words)
    texts = option_strings(
        max_retry=options.max_retry,
        queue=options.queue,
        task_id=options.task_id,
        timeout=options.timeout,
        deadline=options.deadline,
        unique=options.unique,
        process_at=options.process_at,
        process_in=options.process_in,
        retention=options.retention,
        group=options.group,
    )
    assert sorted(texts) == sorted(entry["message"]["enqueue_options"])


def test_go_decodes_every_message_that_qd_writes(
    steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    """Tasks in all states, servers, workers, entries and events, with texts outside ASCII."""
    text = "Grüße, 你好 \U0001f600 \x00\n"

    def declare(app: qd.App) -> None:
        @app.schedule("@every 1s", name="tick", queue="ticks", payload={"text": text})
        async def tick() -> None: ...

        @app.task("awkward-text")
        async def awkward() -> None:
            raise SkipRetry(text)

    peer.client.enqueue("hold", text.encode(), task_id="held", queue="other", headers={text: text})
    peer.client.enqueue("awkward-text", b"{}", task_id="dead", queue="other", max_retry=2**31 - 1)
    schedule = {"heartbeat": 1}
    with (
        tasks_of_qd(peer, steps),
        peer.working({"other": 1, "ticks": 1}, declare=declare, scheduler=schedule),
    ):
        peer.journal.wait("start", "held")
        eventually(lambda: raw.keys("asynq:scheduler_history:*"), PATIENCE)
        eventually(
            lambda: any(one["active_workers"] for one in steps.inspect("servers")
                        if "other" in one["queues"]), PATIENCE,
        )  # fmt: skip
        dump = steps.dump()
        tasks = {key: entry["value"] for key, entry in dump.items() if "}:t:" in key}
        assert all(task["msg"]["id"] for task in tasks.values())
        assert tasks["asynq:{other}:t:held"]["msg"]["headers"] == {text: text}
        eventually(lambda: steps.inspect("queue-info", queue="other")["archived"] == 1, PATIENCE)
        dead = steps.inspect("task-info", queue="other", id="dead")
        assert (dead["last_err"], dead["max_retry"]) == (text, 2**31 - 1)
        servers = steps.inspect("servers")
        assert len(servers) == 2
        shown = {one["task_id"]: one for server in servers for one in server["active_workers"]}
        assert from_b64(shown["held"]["task_payload_b64"]) == text.encode()
        # What is not decoded is left out of Go's answers, so the numbers must agree.
        (entry,) = steps.inspect("scheduler-entries")
        events = steps.inspect("enqueue-events", id=entry["id"])
        key = f"asynq:scheduler_history:{entry['id']}"
        assert 0 <= raw.zcard(key) - len(events) <= 1
        assert all(entry["value"] is not None for entry in steps.dump().values())
