"""
Turns values of Python into a tree of `Given`: mappings, and objects with attributes.

Beside the names of the model, the flat names that a ConfigProvider of a Go service has are
understood at the top: `redis_addrs`, `concurrency`, `polling_enabled` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping

from qd.config.given import Given, Place, merge
from qd.config.model import Settings
from qd.config.report import Report
from qd.config.setting import Section, settings_of

_FLAT_NAMES = {
    "redis_enabled": ("redis", "enabled"),
    "redis_addrs": ("redis", "addrs"),
    "redis_username": ("redis", "username"),
    "redis_password": ("redis", "password"),
    "concurrency": ("worker", "concurrency"),
    "polling_enabled": ("worker", "polling"),
}


def given_from(value: object, place: Place) -> Given:
    """Return one value, and all inside it, as set at `place`."""
    if isinstance(value, Mapping):
        inside = {str(name): given_from(item, place) for name, item in value.items()}
        return Given(inside, place, place, data=None)
    if isinstance(value, (list, tuple)):
        return Given([given_from(item, place) for item in value], place, place, data=None)
    return Given(value, place, place, data=value)


def read_python(source: object, place: Place, report: Report) -> dict[str, Given]:
    """
    Return the settings that a mapping or an object holds.

    A mapping must hold settings only; of an object the attributes that are no settings are left
    alone.
    """
    if isinstance(source, Mapping):
        named = dict(source)
    else:
        named = _attributes(source, Settings)
        named |= {name: getattr(source, name) for name in _FLAT_NAMES if hasattr(source, name)}
        if not named:
            report.add(
                place,
                f"{type(source).__name__} has no attribute that is a setting; give a mapping,"
                " qd's Settings, or an object with attributes such as redis_addrs",
            )
    flat = {path: named.pop(name) for name, path in _FLAT_NAMES.items() if name in named}
    tree = {str(name): _top_level(str(name), value, place) for name, value in named.items()}
    for path, value in flat.items():
        merge(tree, path, given_from(value, place))
    return tree


def _top_level(name: str, value: object, place: Place) -> Given:
    setting = settings_of(Settings).get(name)
    if setting is not None and isinstance(setting.shape, Section):
        value = _as_mapping(value, setting.shape.model)
    return given_from(value, place)


def _as_mapping(value: object, model: type) -> object:
    """Return the settings an object has as attributes; what is no such object, as it is."""
    if value is None or isinstance(value, (Mapping, str, bytes, int, float, list, tuple)):
        return value
    return _attributes(value, model)


def _attributes(source: object, model: type) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, setting in settings_of(model).items():
        if hasattr(source, name):
            value = getattr(source, name)
            if isinstance(setting.shape, Section):
                value = _as_mapping(value, setting.shape.model)
            found[name] = value
    return found
