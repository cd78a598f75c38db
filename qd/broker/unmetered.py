"""Imports the client library for short commands, without what it imports and they never need."""

from __future__ import annotations

import importlib
import sys
from importlib import import_module
from typing import Any

# redis-py imports them wherever they are installed: a third of the time of a command.
_LEFT_OUT = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")


class _Later:
    """A module that is imported when something of it is wanted."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, wanted: str) -> Any:
        return getattr(import_module(self._name), wanted)


def import_library() -> None:
    """
    Import it once.

    Its own metrics are off then, as they are where OpenTelemetry is not installed. `importlib.metadata`,
    with which it can look up its own version, costs as much as all of our settings, and comes when asked.
    """
    if "redis" in sys.modules or any(name in sys.modules for name in _LEFT_OUT):
        return
    sys.modules.update(dict.fromkeys(_LEFT_OUT))  # type: ignore[arg-type]
    later = not hasattr(importlib, "metadata")
    if later:
        importlib.metadata = _Later("importlib.metadata")  # type: ignore[assignment]
    try:
        import qd.broker.lean  # noqa: F401
    finally:
        for name in _LEFT_OUT:
            del sys.modules[name]
        if later and "importlib.metadata" not in sys.modules:
            del importlib.metadata
