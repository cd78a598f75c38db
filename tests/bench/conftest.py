"""The laboratory of the runtime's tests, and the option that records counts anew."""

from __future__ import annotations

import pytest

from tests.runtime.conftest import lab
from tests.unit.observability.conftest import _logging_as_before

__all__ = ["_logging_as_before", "lab"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-costs", action="store_true", help="write tests/bench/costs.json anew"
    )
