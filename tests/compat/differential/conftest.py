"""`both`: asynq and qd, each with a database; skips where asynq cannot be built."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.asynq_build import program
from tests.compat.differential.pair import Pair, pair


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    program("asynqctl")
    with pair() as started:
        yield started
