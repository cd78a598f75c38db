"""An application of each test's own; `qd_kit` and `qd_server` come from the plugin."""

from __future__ import annotations

from typing import Any

import pytest

from qd import App
from qd.testing import Kit

SETTINGS: dict[str, Any] = {"queues": {"high": 6, "default": 3, "low": 1}}


@pytest.fixture
def qd_app() -> App:
    return App("shop", config=SETTINGS)


@pytest.fixture
def app(qd_app: App) -> App:
    return qd_app


@pytest.fixture
def kit(qd_kit: Kit) -> Kit:
    return qd_kit
