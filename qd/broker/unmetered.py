"""Imports the client library for short commands: without OpenTelemetry's SDK."""

from __future__ import annotations

import sys

# redis-py imports it wherever it is installed: a third of the time of a command.
_LEFT_OUT = "opentelemetry.sdk.metrics"


def import_library() -> None:
    """Import it once; its own metrics are off then, as they are where the SDK is not installed."""
    if "redis" in sys.modules or _LEFT_OUT in sys.modules:
        return
    sys.modules[_LEFT_OUT] = None  # type: ignore[assignment]
    try:
        import qd.broker.lean  # noqa: F401
    finally:
        del sys.modules[_LEFT_OUT]
