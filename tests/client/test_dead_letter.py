"""Dead letters that applications send themselves, and tasks built step by step."""

from __future__ import annotations

import json
import time
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest
import redis

from qd.broker.endpoint import Endpoint
from qd.client.builder import TaskBuilder
from qd.client.client import Client
from qd.errors import InvalidName, PayloadError, PayloadTooLarge, TaskIdConflict, UsageError
from qd.protocol import codec, keys
from qd.protocol.state import TaskState
from tests.client.conftest import make_client


def letter(raw: redis.Redis, task_id: str, queue: str = "dead_letter") -> dict[str, Any]:
    found = raw.hget(keys.task(queue, task_id), "msg")
    assert isinstance(found, bytes)
    body: dict[str, Any] = json.loads(codec.decode_task(found).payload)
    return body


def test_a_dead_letter_is_archived_in_its_envelope(client: Client, raw: redis.Redis) -> None:
    info = client.send_to_dead_letter("t1", {"a": 1}, "no such user")
    assert (info.id, info.queue, info.state) == ("t1", "dead_letter", TaskState.ARCHIVED)
    body = letter(raw, "t1")
    failed_at = datetime.fromisoformat(body.pop("failed_at"))
    assert failed_at.timestamp() == pytest.approx(time.time(), abs=5)
    assert body == {"task_id": "t1", "payload": {"a": 1}, "reason": "no such user"}
    assert raw.zscore(keys.archived("dead_letter"), "t1") == pytest.approx(time.time(), abs=5)
    assert raw.smembers(keys.QUEUES) == {b"dead_letter"}
    stored = codec.decode_task(raw.hget(keys.task("dead_letter", "t1"), "msg") or b"")
    assert (stored.type, stored.terms.error) == ("dead_letter", "no such user")
    assert stored.terms.retention == 7 * 24 * 3600


@pytest.mark.parametrize(
    ("payload", "shown"),
    [(b'{"a":1}', {"a": 1}), (b"\xff\x00", "\\xff\x00"), (b"text", "text"), (None, None)],
)
def test_bytes_are_shown_as_json_where_they_are_and_as_text_elsewhere(
    client: Client, raw: redis.Redis, payload: Any, shown: Any
) -> None:
    client.send_to_dead_letter("t1", payload, "x")
    assert letter(raw, "t1")["payload"] == shown


def test_a_second_letter_with_the_same_id_is_refused(client: Client, raw: redis.Redis) -> None:
    client.send_to_dead_letter("t1", None, "first")
    with pytest.raises(TaskIdConflict, match="t1") as caught:
        client.send_to_dead_letter("t1", None, "second")
    assert (caught.value.holder, caught.value.state) == ("t1", "archived")
    assert letter(raw, "t1")["reason"] == "first"


def test_any_reason_can_be_read_by_go(client: Client, raw: redis.Redis) -> None:
    client.send_to_dead_letter("t1", None, "bad \ud800")
    assert letter(raw, "t1")["reason"] == "bad ?"


def test_a_prefix_stands_before_the_queue(endpoint: Endpoint, raw: redis.Redis) -> None:
    with closing(make_client(endpoint, queue_prefix="prod_")) as client:
        info = client.send_to_dead_letter("t1", None, "x")
    assert info.queue == "prod_dead_letter"
    assert letter(raw, "t1", "prod_dead_letter")


@pytest.mark.parametrize(
    ("task_id", "payload", "error"),
    [
        ("", None, InvalidName),
        ("t1", object(), PayloadError),
        ("t1", "x" * 2000, PayloadTooLarge),
    ],
    ids=["id", "payload", "size"],
)
def test_what_cannot_be_stored_is_refused(
    client: Client, raw: redis.Redis, task_id: str, payload: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.send_to_dead_letter(task_id, payload, "x")
    assert raw.dbsize() == 0


def test_a_builder_is_a_template_that_never_changes(client: Client, raw: redis.Redis) -> None:
    template = TaskBuilder(client, "email:send").queue("low").headers({"a": "1"})
    first = template.payload({"n": 1}).headers({"b": "2"}).enqueue()
    second = template.payload({"n": 2}).queue("high").enqueue()
    assert (first.queue, second.queue, template.body) == ("low", "high", None)
    stored = codec.decode_task(raw.hget(keys.task("low", first.id), "msg") or b"")
    assert dict(stored.terms.headers) == {"a": "1", "b": "2"}
    assert stored.payload == b'{"n":1}'


def test_a_builder_checks_at_once(client: Client) -> None:
    with pytest.raises(UsageError, match="no unit"):
        TaskBuilder(client, "a").timeout("5")
