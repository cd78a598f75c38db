"""Imports the client library for short commands: without OpenTelemetry's SDK."""

from __future__ import annotations

import sys

# redis-py imports them wherever they are installed: a third of the time of a command.
_LEFT_OUT = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")


def import_library() -> None:
    """Import it once; its own metrics are off then, as they are where these are not installed."""
    if "redis" in sys.modules or any(name in sys.modules for name in _LEFT_OUT):
        return
    sys.modules.update(dict.fromkeys(_LEFT_OUT))  # type: ignore[arg-type]
    try:
        import qd.broker.lean  # noqa: F401
    finally:
        for name in _LEFT_OUT:
            del sys.modules[name]
