"""Import the client library without what short commands have no use for."""

from __future__ import annotations

import sys

# redis-py imports OpenTelemetry's SDK wherever it is installed: a third of the time of a command.
_LEFT_OUT = "opentelemetry.sdk.metrics"


def import_redis() -> None:
    """Import it once; its own metrics are off then, as they are where the SDK is not installed."""
    if "redis" in sys.modules or _LEFT_OUT in sys.modules:
        return
    sys.modules[_LEFT_OUT] = None  # type: ignore[assignment]
    try:
        import redis  # noqa: F401
    finally:
        del sys.modules[_LEFT_OUT]
