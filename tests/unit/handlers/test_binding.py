"""Payload bytes become arguments, whatever way a handler spells what it wants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from qd.errors import PayloadError, UsageError
from qd.handlers.binding import bind
from tests.unit.handlers import kinds
from tests.unit.handlers.runs import given

if TYPE_CHECKING:
    from decimal import Decimal


def shown(value: Any) -> str:
    """A part of a test's name: the same in every process."""
    return str(getattr(value, "__name__", value))


def call(function: Any, payload: Any) -> Any:
    args, kwargs = bind(function, "email:send").arguments(*given(payload))
    return function(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "payload", "result"),
    [
        (kinds.fields, {"user_id": 1}, (1, "nobody", None)),
        (kinds.fields, {"user_id": 1, "name": "x", "tags": ["a"]}, (1, "x", ["a"])),
        (kinds.unannotated, {"a": [1]}, ([1], 2)),
        (kinds.injected, {"user_id": 1}, ("t1", 1, "t1")),
        (kinds.injected_by_name, {"user_id": 1}, ("t1", "t1", 1)),
        (kinds.own_fields_named_like_injected_ones, {"ctx": "c", "task": 2}, ("c", 2)),
        (kinds.rest, {"user_id": 1, "a": 2, "b": None}, (1, {"a": 2, "b": None})),
        (kinds.starred, {"user_id": 1}, (1, ())),
        (kinds.nothing, b"", "ran"),
        (kinds.nothing, b"not JSON", "ran"),
        (kinds.only_context, b"", "t1"),
        (kinds.takes_report, {"user": 1}, kinds.Report(1)),
        (kinds.takes_report, {"user": 1, "tags": ["a"]}, kinds.Report(1, tags=["a"])),
        (kinds.takes_mail, {"to": "a", "urgent": True}, ({"to": "a", "urgent": True}, "t1")),
        (
            kinds.takes_order,
            {"number": 1, "lines": [{"user": 2}]},
            kinds.Order(1, [kinds.Report(2)]),
        ),
        (
            kinds.takes_invoice,
            {"number": 1, "due": "2026-01-01T00:00:00Z"},
            kinds.Invoice(number=1, due=datetime(2026, 1, 1, tzinfo=UTC)),
        ),
        (
            kinds.takes_models,
            {"invoice": {"number": 1, "due": "2026-01-01T00:00:00Z"}, "copies": 2},
            (kinds.Invoice(number=1, due=datetime(2026, 1, 1, tzinfo=UTC)), 2),
        ),
        (kinds.takes_bytes, b"\x00\xff", b"\x00\xff"),
        (kinds.takes_bytes, b"", b""),
        (kinds.takes_anything, [1, {"a": None}], [1, {"a": None}]),
        (kinds.takes_list, [1, 2], [1, 2]),
    ],
    ids=shown,
)
def test_every_way_to_ask_for_a_payload(function: Any, payload: Any, result: Any) -> None:
    assert call(function, payload) == result


def test_types_beyond_json_are_made_from_their_usual_text() -> None:
    payload = {
        "when": "2026-01-01T00:00:00Z",
        "key": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "color": "red",
        "report": {"user": 1},
    }
    assert call(kinds.rich, payload) == (
        datetime(2026, 1, 1, tzinfo=UTC),
        UUID("0f8fad5b-d9cb-469f-a165-70867728950e"),
        kinds.Color.RED,
        kinds.Report(1),
    )


def test_a_mutable_default_is_made_anew_for_every_run() -> None:
    assert call(kinds.mutable, {}) == ([1], {"n": 1})
    assert call(kinds.mutable, {}) == ([1], {"n": 1})


@pytest.mark.parametrize("payload", [b"", b"{}"])
def test_no_payload_is_an_object_without_fields(payload: bytes) -> None:
    assert call(kinds.mutable, payload)[0] == [1]
    with pytest.raises(PayloadError, match="user_id"):
        call(kinds.fields, payload)


@pytest.mark.parametrize(
    ("function", "payload", "texts"),
    [
        (kinds.fields, {}, ["missing", "user_id"]),
        (kinds.fields, {"user_id": "1"}, ["int", "str", "user_id"]),
        (kinds.fields, {"user_id": 1, "name": None}, ["str", "null", "name"]),
        (kinds.fields, {"user_id": 1, "tags": [1]}, ["str", "int", "tags[0]"]),
        (kinds.fields, [1], ["object", "array"]),
        (kinds.fields, b"not JSON", ["JSON"]),
        (kinds.fields, b"\xff", ["payload"]),
        (kinds.rest, {"a": 1}, ["missing", "user_id"]),
        (kinds.takes_report, {"user": "x"}, ["int", "str", "user"]),
        (kinds.takes_mail, {"to": "a"}, ["missing", "urgent"]),
        (kinds.takes_order, {"number": 1, "lines": [{}]}, ["missing", "user", "lines[0]"]),
        (kinds.takes_invoice, {"number": -1, "due": "x"}, ["number", "greater than 0", "due"]),
        (kinds.takes_models, {"invoice": {"number": 0}, "copies": 1}, ["number", "invoice"]),
        (kinds.takes_opaque, {"thing": {}, "number": 1}, ["Opaque", "thing"]),
        (kinds.takes_list, {"a": 1}, ["array", "object"]),
        (kinds.takes_anything, b"{", ["payload"]),
    ],
    ids=shown,
)
def test_a_payload_that_does_not_fit_names_task_field_and_type(
    function: Any, payload: Any, texts: list[str]
) -> None:
    with pytest.raises(PayloadError) as caught:
        call(function, payload)
    for text in ["email:send", *texts]:
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def positional(user_id: int, /) -> None: ...


def positional_context(ctx: kinds.Context, task: kinds.Task, /) -> None: ...


def unresolved(amount: Decimal) -> None: ...


@pytest.mark.parametrize("function", [positional, positional_context])
def test_positional_parameters_are_refused_when_the_handler_is_registered(function: Any) -> None:
    with pytest.raises(UsageError, match="positional-only") as caught:
        bind(function, "email:send")
    assert "slash" in caught.value.hint


def test_an_annotation_that_cannot_be_resolved_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="Decimal") as caught:
        bind(unresolved, "email:send")
    assert "TYPE_CHECKING" in caught.value.hint


def pack(function: Any, *args: Any, **kwargs: Any) -> Any:
    return bind(function, "email:send").pack(args, kwargs)


def test_a_call_becomes_a_payload() -> None:
    assert pack(kinds.fields, 1, tags=["a"]) == {"user_id": 1, "tags": ["a"]}
    assert pack(kinds.injected, user_id=1) == {"user_id": 1}
    assert pack(kinds.injected, 1) == {"user_id": 1}
    assert pack(kinds.rest, 1, a=2) == {"user_id": 1, "a": 2}
    assert pack(kinds.nothing) == {}
    assert pack(kinds.takes_report, kinds.Report(1)) == kinds.Report(1)
    assert pack(kinds.takes_report, report=kinds.Report(1)) == kinds.Report(1)
    assert pack(kinds.takes_bytes, b"x") == b"x"


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (kinds.fields, (), {}),
        (kinds.fields, (1,), {"nmae": "x"}),
        (kinds.fields, (1, "x", "y"), {}),
        (kinds.takes_report, (), {}),
        (kinds.takes_report, (1, 2), {}),
        (kinds.nothing, (1,), {}),
    ],
    ids=shown,
)
def test_a_call_that_does_not_fit_is_refused_before_anything_is_sent(
    function: Any, args: Any, kwargs: Any
) -> None:
    with pytest.raises(UsageError, match="email:send"):
        pack(function, *args, **kwargs)


def test_fields_a_handler_does_not_ask_for_are_left_alone() -> None:
    """A producer that is rolled out before its workers must not send tasks to the dead letters."""
    newer = {"user_id": 1, "since": "a later version"}
    assert call(kinds.fields, newer) == call(kinds.fields, {"user_id": 1})
