"""
Work of several steps on Redis, written once: a generator yields what is to be sent and gets the answers.

Synchronous callers, coroutines and the shell each carry it out in their own way.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from qd.broker.async_link import AsyncLink
from qd.broker.link import Link
from qd.errors import BrokerError
from qd.protocol.op import Op

T = TypeVar("T")
Steps = Generator[Sequence[Op[Any]], list[Any], T]
"""Yields what is to be carried out in one go, and wants the answers or errors; returns what came of it."""


def asked(*ops: Op[Any]) -> Steps[list[Any]]:
    """Carry out operations in one go; returns their answers, or raises the first error."""
    answers = yield ops
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def carry_out(link: AsyncLink, steps: Steps[T]) -> T:
    """Carry out steps, one after the other; raises what they raise."""
    try:
        ops = next(steps)
        while True:
            try:
                answers = await link.execute_each(ops)
            except BrokerError as error:
                ops = steps.throw(error)
            else:
                ops = steps.send(answers)
    except StopIteration as done:
        result: T = done.value
        return result


def carry_out_now(link: Link, steps: Steps[T]) -> T:
    """`carry_out` for synchronous code."""
    try:
        ops = next(steps)
        while True:
            try:
                answers = link.execute_each(ops)
            except BrokerError as error:
                ops = steps.throw(error)
            else:
                ops = steps.send(answers)
    except StopIteration as done:
        result: T = done.value
        return result
