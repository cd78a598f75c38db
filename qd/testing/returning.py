"""Acts the moment a certain function has returned, without a change to it."""

from __future__ import annotations

import dis
import inspect
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import CodeType, FrameType
from typing import Any

from qd.errors import UsageError

_RETURNS = {"RETURN_VALUE", "RETURN_CONST"}


def on_return(function: Callable[..., Any], act: Callable[[], None]) -> None:
    """
    Call *act* when *function* returns, in this thread or one that is started from now on.

    An exception is no return, nor does a coroutine return where it waits. It holds for all instances
    if *function* is a method, and for every call.

    Raises:
        UsageError: It is not written in Python.
    """
    code = _code_of(function)

    def watch(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "return" and frame.f_code is code and _returns(frame):
            act()

    threading.setprofile(watch)
    sys.setprofile(watch)


def check(function: Callable[..., Any]) -> None:
    """Raise what `on_return` would raise."""
    _code_of(function)


def _code_of(function: Callable[..., Any]) -> CodeType:
    inner: Any = inspect.unwrap(function)
    while isinstance(inner, partial):
        inner = inner.func
    code = getattr(inner, "__code__", None) or getattr(
        getattr(inner, "__func__", None), "__code__", None
    )
    if not isinstance(code, CodeType):
        raise UsageError(
            f"{function!r} is no function written in Python, so nobody sees it return",
            hint="Give the function of your own that calls it, or a fail point.",
        )
    return code


def _returns(frame: FrameType) -> bool:
    # The profiler is called when a frame is left, were it by an exception or for a while.
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] in _RETURNS
