"""Which retry rule holds for a task type: the settings', then the handler's, then the default."""

from __future__ import annotations

from typing import Any

import pytest

from qd.config.tasks import RetrySettings, TaskOverrides
from qd.errors import InvalidDuration, RetryAfter, Snooze
from qd.handlers.handler import make_handler
from qd.handlers.retries import RetryRules, policy_from
from qd.handlers.routing import Router
from qd.handlers.task import Task
from qd.policy.retry import RetryKind, RetryPolicy
from tests.unit.handlers import kinds
from tests.unit.handlers.runs import message


def rules(retry: Any = None, **by_type: RetrySettings) -> RetryRules:
    router = Router()
    router.add(make_handler("email:send", kinds.nothing, retry=retry))
    overrides = {name: TaskOverrides(retry=settings) for name, settings in by_type.items()}
    return RetryRules(
        RetrySettings(), overrides | {"email:other": TaskOverrides()}, router, lambda: 0.5
    )


def test_without_a_rule_of_its_own_the_default_holds() -> None:
    assert rules().delay(message(retried=3), ValueError()) == 8


def test_the_handlers_own_policy_wins_over_the_default() -> None:
    found = rules(RetryPolicy(RetryKind.FIXED, initial=5))
    assert found.delay(message(retried=3), ValueError()) == 5


def test_the_handlers_own_function_gets_retries_error_and_task() -> None:
    asked: list[tuple[int, BaseException, Task]] = []

    def own(retried: int, error: BaseException, task: Task) -> float:
        asked.append((retried, error, task))
        return 7

    error = ValueError()
    assert rules(own).delay(message(b"x", retried=3), error) == 7.0
    ((retried, given, task),) = asked
    assert (retried, given, task.payload) == (3, error, b"x")


def test_the_settings_win_over_the_code() -> None:
    settings = RetrySettings(policy="list", delays=(1.0, 9.0))
    found = rules(RetryPolicy(RetryKind.FIXED, initial=5), **{"email:send": settings})
    assert found.delay(message(retried=3), ValueError()) == 9


@pytest.mark.parametrize("error", [RetryAfter("5m"), Snooze("5m"), RetryAfter(300), Snooze(300.0)])
def test_a_handler_that_says_when_is_obeyed(error: BaseException) -> None:
    assert rules(RetryPolicy(RetryKind.FIXED, initial=5)).delay(message(), error) == 300


@pytest.mark.parametrize("delay", [float("inf"), float("nan"), -1, None])
def test_a_delay_that_is_none_is_refused(delay: Any) -> None:
    with pytest.raises(InvalidDuration):
        rules(lambda *_: delay).delay(message(), ValueError())
    with pytest.raises(InvalidDuration):
        rules().delay(message(), RetryAfter(delay))


def test_the_default_settings_are_the_default_policy() -> None:
    assert policy_from(RetrySettings()) == RetryPolicy()
