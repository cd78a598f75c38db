"""The list of mutations fits the code; that they are noticed is proved by `make mutations`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.what)
def test_the_line_and_its_test_are_there(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    assert mutation.new != mutation.old
    file, _, name = mutation.test.partition("::")
    name = name.partition("[")[0]
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.M)
