"""Reads one given value as the kind its setting has: a single value, a list, a mapping or data."""

from __future__ import annotations

import json
from typing import Any

from qd.config.given import Given, Path
from qd.config.kinds import Data, Kind, ListOf, MapOf, split_at_commas
from qd.config.report import Report
from qd.config.setting import Setting


def read_value(setting: Setting, given: Given, path: Path, default: Any, report: Report) -> Any:
    """Return the value of a setting, or its default if `report` has been told what is wrong."""
    shape = setting.shape
    if isinstance(shape, Data):
        return _data(given, path, default, report)
    if given.value is None:
        report.about(path, given, "has no value; write one, or remove the line")
        return default
    problems_before = len(report.problems)
    if isinstance(shape, ListOf):
        value: Any = tuple(
            _single(setting, shape.kind, item, path, report) for item in _list_items(shape, given)
        )
    elif isinstance(shape, MapOf):
        value = _mapping(setting, shape, given, path, default, report)
    else:
        assert isinstance(shape, Kind)  # noqa: S101 - sections and entries are not single values
        value = _single(setting, shape, given, path, report)
    return value if len(report.problems) == problems_before else default


def _single(setting: Setting, kind: Kind, given: Given, path: Path, report: Report) -> Any:
    """Return one value within its range; None after a problem."""
    value = given.value
    if isinstance(value, (dict, list)) or value is None:
        report.about(path, given, f"takes a single value, not {_form(value)}")
        return None
    try:
        read = kind.parse(value) if isinstance(value, str) else kind.native(value)
    except ValueError as error:
        report.about(path, given, str(error))
        return None
    outside = _out_of_range(setting, kind, read)
    if outside:
        report.about(path, given, outside)
        return None
    return read


def _form(value: object) -> str:
    if value is None:
        return "an empty one"
    return "a mapping" if isinstance(value, dict) else "a list"


def _out_of_range(setting: Setting, kind: Kind, value: Any) -> str:
    low, high = setting.minimum, setting.maximum
    if low is not None and value < low:
        return f"{kind.show(value)} is too small; {kind.show(low)} is the least"
    if high is not None and value > high:
        return f"{kind.show(value)} is too large; {kind.show(high)} is the most"
    return ""


def _list_items(shape: ListOf, given: Given) -> list[Given]:
    if isinstance(given.value, list):
        return given.value
    if isinstance(given.value, str):
        return [Given(text, given.place, given.key_place) for text in shape.split(given.value)]
    return [given]


def _mapping(
    setting: Setting, shape: MapOf, given: Given, path: Path, default: Any, report: Report
) -> dict[str, Any]:
    if not isinstance(given.value, (dict, str)):
        report.about(path, given, "takes names with values, as in name: value")
        return {}
    items = _map_items(shape, given, given.value, path, report)
    read: dict[str, Any] = dict(default) if given.partial else {}
    for name, item in items.items():
        here = (*path, name)
        try:
            shape.name.parse(name)
        except ValueError as error:
            report.about_key(here, item, str(error))
        read[name] = _single(setting, shape.kind, item, here, report)
    if not read and setting.minimum is not None:
        report.about(path, given, "is empty; name at least one")
    return read


def _map_items(
    shape: MapOf, given: Given, value: dict[str, Given] | str, path: Path, report: Report
) -> dict[str, Given]:
    if isinstance(value, dict):
        return value
    items: dict[str, Given] = {}
    for pair in split_at_commas(value):
        name, sign, text = (part.strip() for part in pair.partition("="))
        if not sign and shape.bare is None:
            report.about(path, given, f'"{name}" has no value; write {name}=value')
        if name in items:
            report.about(path, given, f'"{name}" stands there twice; keep one')
        items[name] = Given(text if sign else shape.bare, given.place, given.key_place)
    return items


def _data(given: Given, path: Path, default: Any, report: Report) -> Any:
    if not (given.only_text and isinstance(given.value, str)):
        return _plain(given)
    try:
        return json.loads(given.value)
    except ValueError:
        report.about(path, given, 'is not JSON; write text with quotes, as in {"id": 7}')
        return default


def _plain(given: Given) -> Any:
    if isinstance(given.value, dict):
        return {name: _plain(item) for name, item in given.value.items()}
    if isinstance(given.value, list):
        return [_plain(item) for item in given.value]
    return given.value if given.only_text else given.data
