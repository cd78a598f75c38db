"""What becomes of a task when its run has ended."""

from __future__ import annotations

import pytest

from qd.errors import (
    HandlerNotFound,
    PayloadError,
    RetryAfter,
    RevokeTask,
    SkipRetry,
    Snooze,
    TaskCancelled,
    TaskTimeout,
)
from qd.policy.outcome import COMPLETE, DONE, Action, Outcome, describe, failed, succeeded


def never() -> float:
    raise AssertionError("the delay is not asked for")


@pytest.mark.parametrize(("retention", "outcome"), [(0, DONE), (-1, DONE), (1, COMPLETE)])
def test_success_is_kept_only_with_retention(retention: int, outcome: Outcome) -> None:
    assert succeeded(retention) == outcome


# error, retries used of 3, expected of the caller (is_failure) -> action, counted as a failure
TABLE = [
    (ValueError("x"), 0, True, Action.RETRY, True),
    (ValueError("x"), 2, True, Action.RETRY, True),
    (ValueError("x"), 3, True, Action.ARCHIVE, True),
    (ValueError("x"), 9, True, Action.ARCHIVE, True),
    (ValueError("x"), 0, False, Action.RETRY, False),
    (ValueError("x"), 3, False, Action.ARCHIVE, True),
    (RetryAfter(7), 0, True, Action.RETRY, True),
    (RetryAfter(7), 0, False, Action.RETRY, True),
    (RetryAfter(7), 3, True, Action.ARCHIVE, True),
    (Snooze(7), 0, True, Action.RETRY, False),
    (Snooze(7), 3, True, Action.RETRY, False),
    (SkipRetry("no use"), 0, True, Action.ARCHIVE, True),
    (PayloadError("not JSON"), 0, True, Action.ARCHIVE, True),
    (RevokeTask(), 0, True, Action.REVOKE, True),
    (RevokeTask(), 3, True, Action.REVOKE, True),
    (HandlerNotFound("a"), 0, True, Action.RETRY, True),
    (TaskTimeout(), 0, True, Action.RETRY, True),
    (TaskCancelled(), 3, True, Action.ARCHIVE, True),
    (SystemExit(1), 0, True, Action.RETRY, True),
    (KeyboardInterrupt(), 0, True, Action.RETRY, True),
]


@pytest.mark.parametrize(
    ("error", "retried", "is_failure", "action", "counted"),
    TABLE,
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_the_table_of_outcomes(
    error: BaseException, retried: int, is_failure: bool, action: Action, counted: bool
) -> None:
    delay = (lambda: 7.0) if action is Action.RETRY else never
    outcome = failed(error, retried=retried, max_retry=3, delay=delay, is_failure=is_failure)
    assert (outcome.action, outcome.is_failure) == (action, counted)
    assert outcome.delay == (7.0 if action is Action.RETRY else 0.0)


def test_without_retries_the_first_failure_is_the_last() -> None:
    assert failed(ValueError(), retried=0, max_retry=0, delay=never).action is Action.ARCHIVE


class OwnError(Exception):
    pass


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (OwnError("x\ny"), "OwnError: x\ny"),
        (SkipRetry("no use"), "no use"),
        (SkipRetry(), "SkipRetry"),
        (TaskTimeout(), "context deadline exceeded"),
        (TaskCancelled(), "context canceled"),
        (HandlerNotFound("a"), 'handler not found for task "a"'),
        (RetryAfter("5m"), "retry after 5m"),
        (Snooze(3, "not yet"), "not yet"),
        (BrokenError(), "BrokenError"),
        (OwnError("a\ud800b\x00"), "OwnError: a?b\x00"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_text_of_an_error_says_what_it_was(error: BaseException, text: str) -> None:
    assert describe(error) == text


@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
@pytest.mark.parametrize("shift", range(4))
def test_a_long_text_is_cut_to_8_kib_of_valid_utf8(letter: str, shift: int) -> None:
    text = describe(SkipRetry("." * shift + letter * 1_000_000))
    assert 8 * 1024 - 4 < len(text.encode()) <= 8 * 1024
    assert text.endswith(letter + "...")


def test_a_text_of_exactly_8_kib_is_not_cut() -> None:
    assert describe(SkipRetry("x" * 8192)) == "x" * 8192
