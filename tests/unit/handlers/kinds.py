"""Types and handlers whose annotations are resolved at module level, as those of users are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pydantic

from qd.handlers.context import Context
from qd.handlers.task import Task


class Color(StrEnum):
    RED = "red"


@dataclass
class Report:
    user: int
    title: str = "none"
    tags: list[str] = field(default_factory=list)


class Mail(TypedDict):
    to: str
    urgent: bool


class Order(msgspec.Struct):
    number: int
    lines: list[Report] = []


class Invoice(pydantic.BaseModel):
    number: int = pydantic.Field(gt=0)
    due: datetime


def fields(user_id: int, name: str = "nobody", *, tags: list[str] | None = None) -> Any:
    return user_id, name, tags


def unannotated(a, b=2):  # type: ignore[no-untyped-def]
    return a, b


def injected(ctx: Context, user_id: int, work: Task) -> Any:
    return ctx.task_id, user_id, work.id


def injected_by_name(ctx, task, user_id: int):  # type: ignore[no-untyped-def]
    return ctx.task_id, task.id, user_id


def own_fields_named_like_injected_ones(ctx: str, task: int) -> Any:
    return ctx, task


def rich(when: datetime, key: UUID, color: Color, report: Report) -> Any:
    return when, key, color, report


def rest(user_id: int, **others: Any) -> Any:
    return user_id, others


def starred(user_id: int, *others: Any) -> Any:
    return user_id, others


def mutable(items: list[int] = [], options: dict[str, int] = {}) -> Any:  # noqa: B006
    items.append(1)
    options["n"] = 1
    return items, options


def nothing() -> str:
    return "ran"


def only_context(ctx: Context) -> str:
    return ctx.task_id


def takes_report(report: Report) -> Report:
    return report


def takes_mail(mail: Mail, ctx: Context) -> Any:
    return mail, ctx.task_id


def takes_order(order: Order) -> Order:
    return order


def takes_invoice(invoice: Invoice) -> Invoice:
    return invoice


def takes_models(invoice: Invoice, copies: int) -> Any:
    return invoice, copies


def takes_bytes(payload: bytes) -> bytes:
    return payload


def takes_anything(payload):  # type: ignore[no-untyped-def]
    return payload


def takes_list(payload: list[int]) -> list[int]:
    return payload


class Sender:
    """An object as asynq's users know it."""

    def __init__(self, service: str) -> None:
        self.service = service

    def process_task(self, ctx, task):  # type: ignore[no-untyped-def]
        return self.service, ctx.task_id, task.payload


class AsyncSender:
    async def process_task(self, ctx: Context, task: Task) -> Any:
        return ctx.task_id, task.payload


class Callable_:  # noqa: N801
    async def __call__(self, user_id: int) -> int:
        return user_id


async def async_fields(user_id: int, factor: int = 1) -> int:
    return user_id * factor


class Opaque:
    """A class of which nobody knows how to make one from JSON."""


def takes_opaque(thing: Opaque, number: int) -> Any:
    return thing, number
