"""Shows settings as plain data, with secrets masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qd.config.given import Path, dotted
from qd.config.kinds import Data, ListOf, MapOf
from qd.config.model import Settings
from qd.config.secrets import MASK, Secret
from qd.config.setting import Entries, Section, Setting, settings_of


def dump(
    settings: Settings, origins: Mapping[str, str] | None = None, *, reveal: bool = False
) -> dict[str, Any]:
    """
    Return the settings as nested plain data, fit for JSON and for reading back.

    Durations and sizes are text as in the file. Passwords, also those inside addresses, show as
    `***` unless `reveal` is true; so does data that `origins` says was filled in from a reference
    such as `${file:/path}`.
    """
    return _Dump(origins or {}, reveal).section(settings, ())


def flatten(shown: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what `dump` returns as one level: dotted keys, as `Loaded.origins` has them.

    A setting whose value is itself a mapping stays one item.
    """
    flat: dict[str, Any] = {}
    _flatten(Settings, shown, (), flat)
    return flat


def _flatten(model: type, shown: Mapping[str, Any], path: Path, flat: dict[str, Any]) -> None:
    for name, value in shown.items():
        here = (*path, name)
        shape = settings_of(model)[name].shape
        if isinstance(shape, Section):
            _flatten(shape.model, value, here, flat)
        elif isinstance(shape, Entries):
            for entry, keys in value.items():
                _flatten(shape.model, keys, (*here, entry), flat)
        else:
            flat[dotted(here)] = value


class _Dump:
    def __init__(self, origins: Mapping[str, str], reveal: bool) -> None:
        self.origins = origins
        self.reveal = reveal

    def section(self, values: Any, path: Path) -> dict[str, Any]:
        """Return one section; what is None was not given and is left out."""
        model: type = type(values)
        return {
            name: self._value(setting, value, (*path, name))
            for name, setting in settings_of(model).items()
            if (value := getattr(values, name)) is not None
        }

    def _value(self, setting: Setting, value: Any, path: Path) -> Any:
        shape = setting.shape
        if isinstance(shape, Section):
            return self.section(value, path)
        if isinstance(shape, Entries):
            return {name: self.section(entry, (*path, name)) for name, entry in value.items()}
        filled_in = " via ${" in self.origins.get(dotted(path), "")
        if isinstance(shape, Data):
            return MASK if filled_in and not self.reveal else value
        if isinstance(shape, ListOf):
            return [self._single(shape.kind.show, item) for item in value]
        if isinstance(shape, MapOf):
            return {
                name: MASK
                if filled_in and not self.reveal and isinstance(item, str)
                else self._single(shape.kind.show, item)
                for name, item in value.items()
            }
        return self._single(shape.show, value)

    def _single(self, show: Any, value: Any) -> Any:
        if not self.reveal:
            return show(value)
        if isinstance(value, Secret):
            return value.reveal()
        # Addresses hide their passwords when shown; all other text shows as it is.
        return str(value) if isinstance(value, str) else show(value)
