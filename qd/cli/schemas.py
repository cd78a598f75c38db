"""
What the JSON of each command looks like, read from `schemas.yaml`: as rows, and as JSON Schema.

The notation is explained at the head of that file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "count": {"type": "integer", "minimum": 0},
    "whole": {"type": "integer"},
    "number": {"type": "number"},
    "seconds": {"type": "number", "minimum": 0},
    "flag": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "day": {"type": "string", "format": "date"},
    "any": {},
}
_LIST, _MAP, _CHOICE = "list of ", "map of ", "one of "


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field: its place, such as `tasks[].id`, its type in words, and what it means."""

    place: str
    type: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Document:
    """A shape that a command answers in; `lines` names the field that -o jsonl writes, if one is."""

    name: str
    command: str
    lines: str


class Schemas:
    """All shapes."""

    def __init__(self, documents: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
        self._documents = documents
        self.shapes = shapes

    def all(self) -> list[Document]:
        """Return the documents, in the order of the help."""
        return [
            Document(name, one["$command"], one.get("$lines", ""))
            for name, one in self._documents.items()
        ]

    def find(self, text: str) -> list[Document]:
        """Return what is meant by a name, with or without its number, or by words of a command."""
        return [
            one
            for one in self.all()
            if text in (one.name, one.name.partition("/")[0], *one.command.split(", "))
        ]

    def rows(self, document: Document) -> Iterator[FieldRow]:
        """Yield the fields, and those of the shapes in them, each behind what it is in."""
        yield FieldRow("schema", "text", f'"{document.name}"')
        yield from self._rows(self._documents[document.name], "")

    def json_schema(self, document: Document, *, line: bool = False, strict: bool = False) -> Any:
        """
        Return the JSON Schema of a document, or of a *line* of -o jsonl.

        Fields that are not named may be there, for they may be added; not if *strict*.
        """
        own = self._documents[document.name]
        used: dict[str, Any] = {}
        whole = self._object(own, used, strict=strict)
        if line and document.lines:
            whole = whole["properties"][document.lines]
            whole = whole.get("items", whole)
        elif not line:
            whole["properties"] = {"schema": {"const": document.name}, **whole["properties"]}
            whole["required"].insert(0, "schema")
        head = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": document.name,
            "description": f"The JSON of `{document.command}`.",
        }
        return {**head, **whole, "$defs": used}

    def _fields(self, shape: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Type and meaning of each field, those of `like` first."""
        found = self._fields(self.shapes[shape["$like"]]) if "$like" in shape else {}
        for name, said in shape.items():
            if not name.startswith("$"):
                kind, _, meaning = said.partition(" | ")
                found[name] = kind, meaning
        return found

    def _rows(self, shape: Mapping[str, Any], before: str) -> Iterator[FieldRow]:
        for name, (kind, meaning) in self._fields(shape).items():
            yield FieldRow(before + name, kind, meaning)
            bare = kind.removesuffix("?")
            inner = bare.removeprefix(_LIST)
            if inner in self.shapes:
                mark = "[]." if inner != bare else "."
                yield from self._rows(self.shapes[inner], f"{before}{name}{mark}")

    def _object(self, shape: Mapping[str, Any], used: dict[str, Any], *, strict: bool) -> Any:
        fields = self._fields(shape)
        properties = {
            name: {**self._type(kind, used, strict=strict), "description": meaning}
            for name, (kind, meaning) in fields.items()
        }
        found = {"type": "object", "properties": properties, "required": list(fields)}
        return found | {"additionalProperties": False} if strict else found

    def _type(self, kind: str, used: dict[str, Any], *, strict: bool) -> Any:
        if kind.endswith("?"):
            return {"anyOf": [self._type(kind[:-1], used, strict=strict), {"type": "null"}]}
        if kind.startswith(_LIST):
            inner = self._type(kind.removeprefix(_LIST), used, strict=strict)
            return {"type": "array", "items": inner}
        if kind.startswith(_MAP):
            inner = self._type(kind.removeprefix(_MAP), used, strict=strict)
            return {"type": "object", "additionalProperties": inner}
        if kind.startswith(_CHOICE):
            return {"enum": kind.removeprefix(_CHOICE).split(", ")}
        if kind in _TYPES:
            return dict(_TYPES[kind])
        if kind not in used:
            used[kind] = {}  # It may contain itself.
            used[kind] = self._object(self.shapes[kind], used, strict=strict)
        return {"$ref": f"#/$defs/{kind}"}


def load() -> Schemas:
    """Read the shapes of this version."""
    import yaml

    loaded = yaml.safe_load(files("qd.cli").joinpath("schemas.yaml").read_text(encoding="utf-8"))
    return Schemas(loaded["documents"], loaded["shapes"])
