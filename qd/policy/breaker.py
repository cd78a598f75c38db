"""What the end of a run says of the service behind it: for circuit breakers."""

from __future__ import annotations

from collections.abc import Callable

from qd.errors import (
    HandlerNotFound,
    LeaseLost,
    PayloadError,
    TaskCancelled,
    TaskDirective,
)

_NO_SIGN = (TaskDirective, PayloadError, HandlerNotFound, TaskCancelled, LeaseLost)


def went_well(
    error: BaseException | None, is_failure: Callable[[BaseException], bool] | None
) -> bool | None:
    """
    True for a success, False for a failure, None for what says nothing of the service.

    Nothing say: directives, with which a handler has decided (`Snooze`, `RetryAfter`, `SkipRetry`,
    `RevokeTask`), a payload that does not fit, a missing handler, a run that was cancelled or put back, and
    errors that the application does not count as failures. A timeout is a failure.
    """
    if error is None:
        return True
    if isinstance(error, _NO_SIGN):
        return None
    if is_failure is not None:
        # A user's callback must not decide the fate of a breaker by raising.
        try:
            return None if not is_failure(error) else False
        except Exception:  # noqa: BLE001
            return False
    return False
