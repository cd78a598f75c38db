"""One task becomes its message and the operation that takes it in, by asynq's rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qd.client.compose import Composed, Composer
from qd.client.info import TaskInfo
from qd.errors import InvalidName, PayloadError, PayloadTooLarge
from qd.handlers.options import NO_OPTIONS, TaskOptions
from qd.protocol import codec, keys
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.state import TaskState

NOW = 1_767_225_600.75
AT = datetime.fromtimestamp(NOW, UTC)


def compose(
    payload: Any = None,
    *,
    defaults: TaskOptions = NO_OPTIONS,
    prefix: str = "",
    limit: int = 1 << 20,
    **options: Any,
) -> Composed:
    composer = Composer(defaults, queue_prefix=prefix, payload_limit=limit)
    return composer.compose("email:send", payload, TaskOptions.of(**options), now=NOW)


def message(composed: Composed) -> TaskMessage:
    return codec.decode_task(composed.new.message)


def terms(**options: Any) -> Terms:
    return message(compose(**options)).terms


def test_without_options_a_task_is_as_asynq_makes_it() -> None:
    made = compose({"user_id": 42})
    assert message(made) == TaskMessage(
        "email:send", b'{"user_id":42}', made.new.id, Terms(max_retry=25, timeout=1800)
    )
    assert (made.queue, made.state, made.next_at, made.own_id) == (
        "default",
        TaskState.PENDING,
        NOW,
        True,
    )
    assert (made.new.unique_key, made.new.process_at, made.new.group) == ("", 0, "")


def test_all_options_are_stored() -> None:
    made = compose(
        b"x",
        queue="low",
        max_retry=3,
        timeout="90s",
        deadline=AT + timedelta(hours=1),
        task_id="t1",
        unique="10m",
        retention="1d",
        group="g1",
        headers={"trace": "1"},
    )
    lock = keys.unique("low", "email:send", b"x")
    assert message(made) == TaskMessage(
        "email:send",
        b"x",
        "t1",
        Terms(
            queue="low",
            max_retry=3,
            timeout=90,
            deadline=int(NOW) + 3600,
            unique_key=lock,
            retention=86400,
            group="g1",
            headers=(("trace", "1"),),
        ),
    )
    assert (made.new.id, made.own_id) == ("t1", False)
    assert (made.new.unique_key, made.new.unique_ttl, made.new.group) == (lock, 600, "g1")
    assert (made.state, made.next_at) == (TaskState.AGGREGATING, None)


@pytest.mark.parametrize(
    ("options", "timeout", "deadline"),
    [
        ({}, 1800, 0),
        ({"timeout": "5m"}, 300, 0),
        ({"deadline": AT}, 0, int(NOW)),
        ({"deadline": AT, "timeout": 60}, 60, int(NOW)),
        ({"timeout": 0}, 1800, 0),
        ({"timeout": 0, "deadline": AT}, 0, int(NOW)),
        ({"timeout": "200ms"}, 1, 0),
        ({"timeout": 1.9}, 1, 0),
        ({"deadline": datetime(1970, 1, 1, tzinfo=UTC)}, 1800, 0),
    ],
    ids=str,
)
def test_timeout_and_deadline(options: Any, timeout: int, deadline: int) -> None:
    found = terms(**options)
    assert (found.timeout, found.deadline) == (timeout, deadline)


def test_a_deadline_alone_leaves_out_the_default_timeout() -> None:
    defaults = TaskOptions.of(timeout="5m", max_retry=7, retention=60)
    found = terms(defaults=defaults, deadline=AT)
    assert (found.timeout, found.max_retry, found.retention) == (0, 7, 60)
    assert terms(defaults=defaults).timeout == 300


@pytest.mark.parametrize(
    ("options", "state", "process_at", "next_at"),
    [
        ({"process_in": 60}, TaskState.SCHEDULED, int(NOW + 60), NOW + 60),
        ({"process_in": "300ms"}, TaskState.SCHEDULED, int(NOW + 0.3), NOW + 0.3),
        ({"process_in": 0}, TaskState.PENDING, 0, NOW),
        ({"process_at": AT + timedelta(seconds=5)}, TaskState.SCHEDULED, int(NOW + 5), NOW + 5),
        ({"process_at": AT}, TaskState.PENDING, 0, NOW),
        ({"process_at": AT - timedelta(days=1)}, TaskState.PENDING, 0, NOW),
        ({"group": "g"}, TaskState.AGGREGATING, 0, None),
        ({"group": "g", "process_in": 60}, TaskState.SCHEDULED, int(NOW + 60), NOW + 60),
        ({"group": "g", "process_in": 0}, TaskState.AGGREGATING, 0, None),
    ],
    ids=str,
)
def test_a_time_in_the_future_schedules_else_a_group_collects(
    options: Any, state: TaskState, process_at: int, next_at: float | None
) -> None:
    made = compose(**options)
    assert (made.state, made.new.process_at) == (state, process_at)
    assert made.next_at == pytest.approx(next_at)
    assert made.new.group == options.get("group", "")


@pytest.mark.parametrize(
    ("options", "ttl"),
    [
        ({"unique": 60}, 60),
        ({"unique": 1.9}, 1),
        ({"unique": 60, "process_in": 30}, 90),
        ({"unique": 60, "process_at": AT - timedelta(days=1)}, 60),
    ],
    ids=str,
)
def test_a_lock_lasts_from_the_start_of_the_task_on(options: Any, ttl: int) -> None:
    assert compose(**options).new.unique_ttl == ttl


def test_the_lock_follows_the_payload() -> None:
    assert compose(None, unique=60).new.unique_key.endswith(":email:send:")
    assert compose(b"", unique=60).new.unique_key.endswith("d41d8cd98f00b204e9800998ecf8427e")
    assert compose({"user_id": 42}, unique=60).new.unique_key.endswith(
        "1181f89307fa271072c095747d5813cc"
    )


def test_the_prefix_stands_before_the_queue_everywhere() -> None:
    made = compose(prefix="prod_", queue="low", unique=60)
    assert made.queue == message(made).queue == "prod_low"
    assert made.new.unique_key.startswith("asynq:{prod_low}:")
    assert compose(prefix="prod_").queue == "prod_default"


@pytest.mark.parametrize(
    "options",
    [
        {"queue": ""},
        {"queue": " "},
        {"queue": "a{b}"},
        {"queue": "x" * 513},
        {"task_id": ""},
        {"task_id": "a\nb"},
        {"group": ""},
        {"group": " "},
    ],
    ids=str,
)
@pytest.mark.parametrize("prefix", ["", "prod_"])
def test_names_are_checked_before_the_prefix_and_on_every_call(options: Any, prefix: str) -> None:
    composer = Composer(NO_OPTIONS, queue_prefix=prefix, payload_limit=10)
    for _ in range(2):
        with pytest.raises(InvalidName):
            composer.compose("t", None, TaskOptions.of(**options), now=NOW)


@pytest.mark.parametrize("task_type", ["", " ", "a\x00"])
def test_a_type_is_checked(task_type: str) -> None:
    composer = Composer(NO_OPTIONS, queue_prefix="", payload_limit=10)
    with pytest.raises(InvalidName):
        composer.compose(task_type, None, NO_OPTIONS, now=NOW)


def test_a_payload_above_the_limit_is_refused_with_both_sizes() -> None:
    assert compose(b"x" * 2000, limit=2000)
    with pytest.raises(PayloadTooLarge, match=r"2,001 bytes, the limit is 2,000") as caught:
        compose(b"x" * 2001, limit=2000)
    assert "payload_limit" in caught.value.hint


@pytest.mark.parametrize(
    "payload",
    [object(), {"a": object()}, {1: {2j}}, "\ud800"],
    ids=["object", "nested", "complex", "text"],
)
def test_a_payload_without_a_json_form_is_refused(payload: Any) -> None:
    with pytest.raises(PayloadError, match="email:send"):
        compose(payload)


def test_what_is_remembered_of_a_type_never_reaches_a_task_with_other_options() -> None:
    composer = Composer(NO_OPTIONS, queue_prefix="", payload_limit=10)

    def queue_of(task_type: str, **options: Any) -> str:
        made = composer.compose(task_type, None, TaskOptions.of(**options), now=NOW)
        assert message(made).type == task_type
        return message(made).terms.queue

    assert [queue_of("t", queue=f"q{n % 3}") for n in range(9)] == ["q0", "q1", "q2"] * 3
    assert [queue_of("t"), queue_of("t", queue="q"), queue_of("t")] == ["default", "q", "default"]
    assert [queue_of(f"t{n % 1500}", queue="q") for n in range(3000)] == ["q"] * 3000
    assert len(composer._kinds) <= 1024


def test_headers_are_read_each_time() -> None:
    composer = Composer(NO_OPTIONS, queue_prefix="", payload_limit=10)
    headers = {"trace": "1"}
    options = TaskOptions(headers=headers)
    assert message(composer.compose("t", None, options, now=NOW)).terms.headers == (("trace", "1"),)
    headers["trace"] = "2"
    assert message(composer.compose("t", None, options, now=NOW)).terms.headers == (("trace", "2"),)


def test_an_info_tells_when_a_task_starts() -> None:
    info = TaskInfo("t1", "a", "default", TaskState.SCHEDULED, NOW)
    assert info.next_process_at == AT
    assert TaskInfo("t1", "a", "q", TaskState.AGGREGATING, None).next_process_at is None
