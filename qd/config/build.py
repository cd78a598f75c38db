"""
Reads a tree of `Given` values into the model, and reports every problem on the way.

A value that cannot be read leaves its setting at the default, so that all others are still
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from msgspec import Struct, field

from qd.config.from_text import PREFIX, RESERVED, variable
from qd.config.given import Given, Path, dotted
from qd.config.model import Settings
from qd.config.read_value import read_value
from qd.config.report import Report
from qd.config.setting import Entries, Section, Setting, settings_of
from qd.suggest import did_you_mean

DEFAULT_ORIGIN = "default"


class Builder(Struct):
    """
    One reading of one tree.

    Afterwards `origins` says by key where each value came from, and `given` holds what was given,
    so that rules about several settings can point at it.
    """

    report: Report
    origins: dict[str, str] = field(default_factory=dict)
    given: dict[str, Given] = field(default_factory=dict)
    _root: dict[str, Any] = field(default_factory=dict)

    def settings(self, tree: Mapping[str, Given]) -> Settings:
        """Return the settings; only if the report has no problem are they what was meant."""
        return cast(Settings, self._section(Settings, tree, (), Settings(), self._root))

    def _section(
        self,
        model: type,
        tree: Mapping[str, Given],
        path: Path,
        base: object,
        values: dict[str, Any],
    ) -> object:
        """Build one section; `base` holds what is not given, None means the model's defaults."""
        known = settings_of(model)
        for name, given in tree.items():
            if name not in known:
                here = (*path, name)
                self.report.about_key(here, given, _unknown_key(here, given, known))
        for name, setting in known.items():
            default = setting.make_default() if base is None else getattr(base, name)
            values[name] = self._value(setting, tree.get(name), (*path, name), default)
        return model(**values)

    def _value(self, setting: Setting, given: Given | None, path: Path, default: Any) -> Any:
        key = dotted(path)
        if given is not None:
            self.given[key] = given
        if isinstance(setting.shape, Section):
            return self._subsection(setting.shape, given, path, default)
        if given is None:
            self.origins[key] = DEFAULT_ORIGIN
            return default
        self.origins[key] = f"{DEFAULT_ORIGIN} + {given.origin}" if given.partial else given.origin
        if isinstance(setting.shape, Entries):
            return self._entries(setting.shape, given, path)
        return read_value(setting, given, path, default, self.report)

    def _subsection(self, shape: Section, given: Given | None, path: Path, default: Any) -> Any:
        if given is None and default is None:
            return None
        base = default if default is not None else self._root[shape.inherits]
        tree: Mapping[str, Given] = {}
        if given is not None and isinstance(given.value, dict):
            tree = given.value
        elif given is not None and given.value is not None:
            example = dotted((*path, next(iter(settings_of(shape.model)))))
            self.report.about(path, given, f"is a section; set one of its keys, such as {example}")
        return self._section(shape.model, tree, path, base, {})

    def _entries(self, shape: Entries, given: Given, path: Path) -> dict[str, Any]:
        del self.origins[dotted(path)]
        tree = given.value
        if tree is None:
            return {}
        if not isinstance(tree, dict):
            self.report.about(path, given, "takes entries by name, as in `name: {key: value}`")
            return {}
        built = {name: self._entry(shape, entry, (*path, name)) for name, entry in tree.items()}
        return {name: entry for name, entry in built.items() if entry is not None}

    def _entry(self, shape: Entries, entry: Given, path: Path) -> object | None:
        keys = settings_of(shape.model)
        if not isinstance(entry.value, dict):
            self.report.about(path, entry, f"takes keys such as {', '.join(list(keys)[:3])}")
            return None
        try:
            shape.name.parse(path[-1])
        except ValueError as error:
            self.report.about_key(path, entry, f"the name cannot be taken: {error}")
        missing = [
            key for key, setting in keys.items() if setting.required and key not in entry.value
        ]
        for key in missing:
            example = keys[key].example
            self.report.about_key(path, entry, f'{key} is missing; write one such as "{example}"')
        built = self._section(shape.model, entry.value, path, None, {})
        return None if missing else built


def _unknown_key(path: Path, given: Given, known: Mapping[str, Setting]) -> str:
    name = path[-1]
    if given.place.source.startswith(PREFIX):
        variables = [*(variable(key) for key in _all_paths(Settings, ())), *RESERVED]
        hint = did_you_mean(given.place.source, variables)
        return f"unknown key.{hint or ' Variables are named as in QD_WORKER__CONCURRENCY.'}"
    synonyms = [key for key, setting in known.items() if name in setting.also]
    if synonyms:
        return f'unknown key. Did you mean "{synonyms[0]}"?'
    # The right word in the wrong section is likelier than a slip towards another word.
    everywhere = {dotted(key): key[-1] for key in _all_paths(Settings, ())}
    elsewhere = [key for key, last in everywhere.items() if last == name]
    if elsewhere:
        return f'unknown key. Did you mean "{elsewhere[0]}"?'
    hint = did_you_mean(name, known) or did_you_mean(name, everywhere)
    return f"unknown key.{hint or ' Known here: ' + ', '.join(known) + '.'}"


def _all_paths(model: type, path: Path) -> Iterator[Path]:
    for name, setting in settings_of(model).items():
        yield (*path, name)
        if isinstance(setting.shape, Section):
            yield from _all_paths(setting.shape.model, (*path, name))
