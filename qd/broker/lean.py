"""
Imports of the client library what qd needs of it: connections, and errors.

The packages `redis` and `redis.asyncio` import every command of every module of Redis, and the
cluster, both twice: half of the time and of the memory, 5 MiB. So what is needed is imported while
both are empty. Afterwards they are unknown again: whoever imports them, as a handler may, has their
code run in these same packages, and gets all of the library.

Its own metrics are off, as they are where OpenTelemetry is not installed: to import that for them would
take as long again. Spans of qd do not need them, see `qd.otel`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

__all__ = [
    "async_connection",
    "async_retry",
    "backoff",
    "connection",
    "exceptions",
    "hiredis_parser",
    "retry",
]

_empty: dict[str, ModuleType] = {}


class _Filler(SourceFileLoader):
    """Runs the code of a package in the module that was empty so far."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return _empty[spec.name]


class _FillerFinder:
    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _empty else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Filler(name, spec.origin)
        return spec


def _make_empty() -> None:
    path: Sequence[str] | None = None
    for name in ("redis", "redis.asyncio"):
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return
        path = spec.submodule_search_locations
        package = _empty[name] = sys.modules[name] = ModuleType(name)
        package.__path__ = path or []


class _Later:
    """A module that is imported when something of it is wanted."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, wanted: str) -> Any:
        return getattr(importlib.import_module(self._name), wanted)


@contextmanager
def _without_what_is_not_needed() -> Iterator[None]:
    # Wherever the former are installed they are imported. The latter, which costs as much as all of our
    # settings, is for looking up the library's own version.
    absent = [
        name
        for name in ("opentelemetry.metrics", "opentelemetry.sdk.metrics")
        if name not in sys.modules
    ]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    later = not hasattr(importlib, "metadata")
    if later:
        importlib.metadata = _Later("importlib.metadata")  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
        if later and "importlib.metadata" not in sys.modules:
            del importlib.metadata


if "redis" not in sys.modules:
    _make_empty()
try:
    with _without_what_is_not_needed():
        import redis._parsers.hiredis as hiredis_parser
        import redis.asyncio.connection as async_connection
        import redis.asyncio.retry as async_retry
        import redis.backoff as backoff
        import redis.connection as connection
        import redis.exceptions as exceptions
        import redis.retry as retry
finally:
    for _name in _empty:
        del sys.modules[_name]
    if _empty:
        sys.meta_path.insert(0, _FillerFinder)
