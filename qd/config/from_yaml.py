"""
Reads a YAML file into a tree of `Given`, each value with its line and column.

Only plain data: no tags that make objects. A key that stands twice is a problem, since YAML
readers silently keep one of the two. Anchors and merge keys (`<<`) work.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from qd.config.given import Given, Place
from qd.config.report import Report

if TYPE_CHECKING:
    import yaml

_PLAIN_TAGS = tuple(
    f"tag:yaml.org,2002:{name}"
    for name in ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)
_MERGE_TAG = "tag:yaml.org,2002:merge"
_TYPED_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int"))
_NULL_TAG = "tag:yaml.org,2002:null"
_TOO_DEEP = "the file is nested too deeply"


def read_yaml(path: Path, label: str, report: Report) -> dict[str, Given]:
    """
    Return what the file sets, by key; what is wrong with its form goes to `report`.

    `label` is the file's name in messages. A file that cannot be read at all gives {}.
    """
    # The slowest import of the configuration: only for those who have a file.
    import yaml

    start = Place(label)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        report.add(start, f"the file cannot be read: {error.strerror}")
        return {}
    except UnicodeDecodeError as error:
        report.add(start, f"byte {error.start} is not UTF-8; save the file as UTF-8")
        return {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        root = _Reader(loader, label, report).given(node, None)
    except yaml.YAMLError as error:
        _report_syntax(error, label, text, report)
        return {}
    except RecursionError:
        report.add(start, _TOO_DEEP)
        return {}
    finally:
        loader.dispose()
    if root.value is None:
        return {}
    if not isinstance(root.value, dict):
        report.add(root.place, "the file must hold `key: value` lines")
        return {}
    return root.value


def _report_syntax(error: yaml.YAMLError, label: str, text: str, report: Report) -> None:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    if "nesting depth" in what:  # libyaml 0.2.6 and newer; others exhaust the stack
        report.add(Place(label), _TOO_DEEP)
        return
    if mark is None:
        report.add(Place(label), f"not valid YAML: {what}")
        return
    lines = text.splitlines()
    if mark.line < len(lines) and lines[mark.line].lstrip(" ").startswith("\t"):
        what, fix = "a tab stands before the key", "indent with spaces"
    else:
        fix = "check indentation, colons and quotes around here"
    report.add(Place(label, mark.line + 1, mark.column + 1), f"not valid YAML: {what}; {fix}")


class _Reader(Struct):
    loader: Any
    label: str
    report: Report
    # By node: an alias gives the same tree again, and an alias to a parent is found.
    done: dict[int, Given] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    def given(self, node: Any, key: Any) -> Given:
        place = self.place(node)
        if id(node) in self.open:
            self.problem(node, "the alias stands inside the value it repeats")
            return Given(None, place, place, data=None)
        known = self.done.get(id(node))
        if known is None:
            self.open.add(id(node))
            known = self.done[id(node)] = self._read(node, place)
            self.open.discard(id(node))
        return known if key is None else replace(known, key_place=self.place(key))

    def place(self, node: Any) -> Place:
        mark = node.start_mark
        return Place(self.label, mark.line + 1, mark.column + 1)

    def problem(self, node: Any, message: str) -> None:
        self.report.add(self.place(node), message)

    def _read(self, node: Any, place: Place) -> Given:
        if node.tag not in _PLAIN_TAGS:
            self.problem(node, f"the tag {node.tag} is not supported; write the plain value")
            return Given(None, place, place, data=None)
        if node.id == "mapping":
            return Given(self._mapping(node), place, place, data=None)
        if node.id == "sequence":
            items = [self.given(item, None) for item in node.value]
            return Given(items, place, place, data=None)
        return self._scalar(node, place)

    def _scalar(self, node: Any, place: Place) -> Given:
        if node.tag == _NULL_TAG:
            return Given(None, place, place, data=None)
        data: object = node.value
        # YAML 1.1 takes 12:30 for a number to the base of 60; nobody means that.
        if node.tag in _TYPED_TAGS and ":" not in node.value:
            try:
                data = self.loader.construct_object(node)
            except (ValueError, KeyError):
                self.problem(node, f'"{node.value}" is not what its tag says; remove the tag')
        return Given(node.value, place, place, data=data)

    def _mapping(self, node: Any) -> dict[str, Given]:
        first: dict[str, Place] = {}
        for key, _ in node.value:
            if key.tag == _MERGE_TAG:
                continue
            if key.id != "scalar":
                self.problem(key, "a key must be a plain word")
            elif key.value in first:
                self.problem(
                    key,
                    f'"{key.value}" is set twice, first in line {first[key.value].line}; keep one',
                )
            else:
                first[key.value] = self.place(key)
        # Merged keys come first then, so that the mapping's own keys win.
        self.loader.flatten_mapping(node)
        return {
            key.value: self.given(value, key) for key, value in node.value if key.id == "scalar"
        }
