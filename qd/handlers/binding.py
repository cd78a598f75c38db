"""
A function's signature -> payload bytes in, arguments out.

Worked out once, when a handler is registered:

- `ctx: Context` and `task: Task` are handed in by annotation (a first parameter pair named `ctx`,
  `task` of a `process_task` method needs none)
- one parameter whose type is a dataclass, TypedDict, msgspec struct or pydantic model, or that is
  named `payload`: the payload as a whole
- anything else: the payload is a JSON object with the parameters' names as keys, and no others
  unless there is a `**rest`
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from qd import jsoncodec
from qd.errors import PayloadError, UsageError
from qd.handlers.context import Context
from qd.handlers.task import Task

Arguments = Callable[[Context, Task], tuple[tuple[Any, ...], dict[str, Any]]]
"""Makes positional and keyword arguments; raises PayloadError."""

_INJECTED: Mapping[str, Callable[[Context, Task], Any]] = {
    "ctx": lambda ctx, _: ctx,
    "task": lambda _, task: task,
}


class Binding(Struct, frozen=True):
    """How one function is called (`arguments`) and how a call of it becomes a payload (`pack`)."""

    arguments: Arguments
    pack: Callable[[tuple[Any, ...], dict[str, Any]], Any]


def bind(function: Callable[..., Any], name: str) -> Binding:
    """
    Return the binding of *function*, the handler of task type *name*.

    Raises:
        UsageError: The signature cannot be served; the text says which parameter.
    """
    signature = inspect.signature(function)
    hints = _hints(function, name)
    injected: dict[str, Callable[[Context, Task], Any]] = {}
    own: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UsageError(
                f"{name}: parameter {parameter.name!r} is positional-only",
                hint="Everything is passed by name; remove the slash.",
            )
        make = _injection(parameter, hints)
        if make is not None:
            injected[parameter.name] = make
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            own.append(parameter)
    whole = _takes_whole_payload(own, hints)
    if whole is not None:
        return _bind_whole(whole, hints.get(whole, Any), injected, name)
    return _bind_fields(own, hints, injected, signature, name)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        raise UsageError(
            f"{name}: an annotation of {function!r} cannot be resolved: {error}",
            hint="Types of handler parameters must be importable at module level, "
            "not only under TYPE_CHECKING.",
        ) from error


def _injection(
    parameter: inspect.Parameter, hints: Mapping[str, Any]
) -> Callable[[Context, Task], Any] | None:
    hint = hints.get(parameter.name)
    if hint is Context:
        return _INJECTED["ctx"]
    if hint is Task:
        return _INJECTED["task"]
    return _INJECTED.get(parameter.name) if hint is None else None


def _takes_whole_payload(own: list[inspect.Parameter], hints: Mapping[str, Any]) -> str | None:
    if len(own) != 1 or own[0].kind is inspect.Parameter.VAR_KEYWORD:
        return None
    only = own[0]
    hint = hints.get(only.name)
    structured = isinstance(hint, type) and (
        dataclasses.is_dataclass(hint)
        or typing.is_typeddict(hint)
        or issubclass(hint, msgspec.Struct)
        or hasattr(hint, "model_validate_json")
    )
    return only.name if structured or only.name == "payload" else None


def _decoder(hint: Any, name: str) -> Callable[[bytes], Any]:
    """Return a function that reads payload bytes as *hint*; it raises PayloadError."""
    if hint is bytes:
        return bytes
    validate = getattr(hint, "model_validate_json", None)
    if validate is None:
        try:
            validate = msgspec.json.Decoder(hint, dec_hook=_model).decode
        except TypeError as error:
            raise UsageError(f"{name}: this type cannot be read from JSON: {error}") from error

    def decode(payload: bytes) -> Any:
        try:
            return validate(payload or b"{}")
        except ValueError as error:
            # msgspec's and pydantic's errors alike; both name the field and the type.
            text = " ".join(str(error).split())
            raise PayloadError(f"payload does not fit {name}: {text}") from error

    return decode


def _model(kind: type, value: Any) -> Any:
    # A pydantic model among other fields: msgspec does not know it.
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise TypeError(f"{kind.__name__} cannot be read from JSON")
    return validate(value)


def _bind_whole(
    parameter: str,
    hint: Any,
    injected: Mapping[str, Callable[[Context, Task], Any]],
    name: str,
) -> Binding:
    decode = _decoder(hint, name)

    def arguments(ctx: Context, task: Task) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = {other: make(ctx, task) for other, make in injected.items()}
        given[parameter] = decode(task.payload)
        return (), given

    def pack(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) == 1 and not kwargs:
            return args[0]
        if not args and set(kwargs) == {parameter}:
            return kwargs[parameter]
        raise UsageError(f"{name} takes one payload: {parameter}=...")

    return Binding(arguments, pack)


def _bind_fields(
    own: list[inspect.Parameter],
    hints: Mapping[str, Any],
    injected: Mapping[str, Callable[[Context, Task], Any]],
    signature: inspect.Signature,
    name: str,
) -> Binding:
    fields: list[Any] = []
    named = [one for one in own if one.kind is not one.VAR_KEYWORD]
    for one in named:
        hint = hints.get(one.name, Any)
        if one.default is one.empty:
            fields.append((one.name, hint))
        else:
            fields.append((one.name, hint, _default(one.default)))
    extra = len(named) != len(own)
    decode = _decoder(
        # Named as the task, so that the library's message names it. Fields it does not know are
        # left alone: a producer that is rolled out first may send more than this worker asks for.
        msgspec.defstruct(_identifier(name), fields, kw_only=True),
        name,
    )

    def arguments(ctx: Context, task: Task) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given: dict[str, Any] = asdict(decode(task.payload)) if own else {}
        for other, make in injected.items():
            given[other] = make(ctx, task)
        if extra:
            everything = jsoncodec.loads(task.payload or b"{}")
            given |= {key: value for key, value in everything.items() if key not in given}
        return (), given

    def pack(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            bound = signature.replace(
                parameters=[one for one in own if one.kind is not one.VAR_POSITIONAL],
            ).bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"{name}: {error}") from error
        packed = dict(bound.arguments)
        for one in own:
            if one.kind is one.VAR_KEYWORD:
                packed |= packed.pop(one.name, {})
        return packed

    return Binding(arguments, pack)


def _default(value: Any) -> Any:
    if isinstance(value, (list, dict, set)):
        return msgspec.field(default_factory=lambda: type(value)(value))
    return value


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name) or "payload"
