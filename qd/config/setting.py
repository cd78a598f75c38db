"""
How the model describes a setting: default, kind, range and explanation in one line.

`setting`, `section` and `entries` make fields of the classes in `model.py` and its neighbours;
`settings_of` reads them back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from qd.config.kinds import Data, Kind, ListOf, MapOf


class Section(Struct, frozen=True):
    """A group of settings; what is not given comes from the root's section named `inherits`."""

    model: type
    inherits: str = ""


class Entries(Struct, frozen=True):
    """Sections of one shape under names that the user chooses."""

    name: Kind
    model: type


Shape = Kind | ListOf | MapOf | Data | Section | Entries


class Setting(Struct, frozen=True):
    """
    Everything known about one setting besides its name.

    `also` holds names used elsewhere for the same thing, for "did you mean". `flag` is the
    command line's name for it where it is not the last part of the key. `example` is a value for
    the commented file where the default says nothing.
    """

    shape: Shape
    comment: str
    make_default: Callable[[], Any]
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False
    also: tuple[str, ...] = ()
    flag: str = ""
    example: Any = None

    def __call__(self) -> Any:
        """Return the default: what a field that is not given gets."""
        if self.required:
            raise TypeError(f"a setting that is required was not given: {self.comment}")
        return self.make_default()


def setting(
    default: Any,
    comment: str,
    shape: Shape,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    also: tuple[str, ...] = (),
    flag: str = "",
    example: Any = None,
) -> Any:
    """Return a field for a setting with a default; numbers include their limits."""

    def make_default() -> Any:
        return dict(default) if isinstance(default, dict) else default

    return _field(
        Setting(
            shape=shape,
            comment=comment,
            make_default=make_default,
            minimum=minimum,
            maximum=maximum,
            also=also,
            flag=flag,
            example=example,
        )
    )


def required(comment: str, shape: Kind, *, example: str, also: tuple[str, ...] = ()) -> Any:
    """Return a field for a setting that has no default and must be given."""
    described = Setting(shape, comment, lambda: None, required=True, also=also, example=example)
    return field(default_factory=described)


def section(model: type, comment: str) -> Any:
    """Return a field for a group of settings."""
    return _field(Setting(Section(model), comment, model))


def entries(model: type, comment: str, *, name: Kind) -> Any:
    """Return a field for groups of settings by name."""
    return _field(Setting(Entries(name, model), comment, dict))


def optional(model: type, name: str) -> Any:
    """Return a field like `name` of `model`, but None (not given) by default."""
    like = settings_of(model)[name]
    return _field(replace(like, make_default=lambda: None, example=like.make_default()))


def optional_section(model: type, comment: str, *, inherits: str) -> Any:
    """Return a field for a group that is None unless one of its settings is given."""
    return _field(Setting(Section(model, inherits), comment, lambda: None))


@cache
def settings_of(model: type) -> Mapping[str, Setting]:
    """Return the settings of a class of the model by name, in their order."""
    described: Any = model
    defaults = (default.factory for default in described.__struct_defaults__)
    return dict(zip(described.__struct_fields__, defaults, strict=True))


def _field(described: Setting) -> Any:
    return field(default_factory=described)
