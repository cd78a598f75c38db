"""A handler is a function or an object with process_task, called with what it asks for."""

from __future__ import annotations

import functools
import inspect
from datetime import timedelta
from typing import Any

import pytest

from qd.errors import UsageError
from qd.handlers.handler import make_handler
from tests.unit.handlers import kinds
from tests.unit.handlers.runs import given


def call(target: Any, payload: Any) -> Any:
    return make_handler("email:send", target).call(*given(payload))


def doubled(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs), "doubled"

    return inner


class WithMethod:
    async def send(self, user_id: int) -> int:
        return user_id


@pytest.mark.parametrize(
    ("target", "is_async"),
    [
        (kinds.fields, False),
        (kinds.async_fields, True),
        (kinds.Sender("s"), False),
        (kinds.AsyncSender(), True),
        (kinds.Callable_(), True),
        (WithMethod().send, True),
        (functools.partial(kinds.async_fields, factor=3), True),
        (functools.partial(kinds.fields, name="x"), False),
        (doubled(kinds.fields), False),
    ],
    ids=[
        "function",
        "coroutine function",
        "object",
        "object with coroutine",
        "callable object",
        "bound method",
        "partial coroutine function",
        "partial function",
        "decorated function",
    ],
)
def test_it_is_known_whether_a_call_gives_a_coroutine(target: Any, is_async: bool) -> None:
    assert make_handler("email:send", target).is_async is is_async
    if is_async:
        payload = b"{}" if hasattr(target, "process_task") else {"user_id": 1}
        coroutine = call(target, payload)
        assert inspect.iscoroutine(coroutine)
        coroutine.close()


def test_an_object_gets_context_and_task() -> None:
    assert call(kinds.Sender("smtp"), b"\x00raw") == ("smtp", "t1", b"\x00raw")


async def test_asynchronous_objects_and_partial_functions_are_called_like_others() -> None:
    assert await call(kinds.AsyncSender(), b"raw") == ("t1", b"raw")
    assert await call(kinds.Callable_(), {"user_id": 4}) == 4
    assert await call(functools.partial(kinds.async_fields, factor=3), {"user_id": 4}) == 12


def test_a_decorated_function_keeps_its_signature() -> None:
    assert call(doubled(kinds.fields), {"user_id": 1}) == ((1, "nobody", None), "doubled")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (object(), "object, which cannot be called"),
        ("email", "str, which cannot be called"),
        (None, "NoneType"),
        (kinds.Sender, "the class Sender, not an object of it"),
    ],
    ids=["object", "text", "None", "class"],
)
def test_what_cannot_be_called_is_refused_when_it_is_registered(target: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        make_handler("email:send", target)
    assert "'email:send'" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("retry", ["5m", 5, timedelta(minutes=5)], ids=str)
def test_a_retry_rule_that_is_none_is_refused_where_it_is_written(retry: Any) -> None:
    with pytest.raises(UsageError, match="no rule for delays") as refused:
        make_handler("email:send", kinds.nothing, retry=retry)
    assert "qd.RetryPolicy(" in refused.value.hint
