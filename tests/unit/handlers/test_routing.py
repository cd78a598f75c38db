"""The exact type first, then the longest prefix."""

from __future__ import annotations

import pytest

from qd.errors import UsageError
from qd.handlers.handler import make_handler
from qd.handlers.routing import Router
from tests.unit.handlers import kinds


def router(*patterns: str) -> Router:
    made = Router()
    for pattern in patterns:
        made.add(make_handler(pattern, kinds.nothing))
    return made


@pytest.mark.parametrize(
    ("task_type", "pattern"),
    [
        ("email:send", "email:send"),
        ("email:send:now", "email:send"),
        ("email:sent", "email:"),
        ("email:", "email:"),
        ("emails", None),
        ("report", "report"),
        ("reports", "report"),
        ("Email:send", None),
        ("", None),
    ],
)
def test_the_longest_pattern_that_fits_takes_a_task(task_type: str, pattern: str | None) -> None:
    made = router("email:", "report", "email:send")
    for _ in range(2):
        found = made.find(task_type)
        assert (found.pattern if found else None) == pattern


def test_a_handler_that_comes_later_is_found() -> None:
    made = router("email:")
    assert made.find("report") is None
    first = made.find("email:send")
    assert first is not None
    assert first.pattern == "email:"
    made.add(make_handler("email:send", kinds.nothing))
    made.add(make_handler("report", kinds.nothing))
    assert [one.pattern for one in map(made.find, ("email:send", "report")) if one] == [
        "email:send",
        "report",
    ]


def test_a_pattern_has_one_handler() -> None:
    made = router("a")
    with pytest.raises(UsageError, match="'a' has two handlers") as caught:
        made.add(make_handler("a", kinds.fields))
    assert "two names" in caught.value.hint


@pytest.mark.parametrize("pattern", ["", " "])
def test_a_blank_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="blank"):
        router(pattern)


def test_many_unknown_types_are_not_remembered_for_ever() -> None:
    made = router("a")
    for number in range(10_000):
        assert made.find(f"x{number}") is None
    assert len(made._found) <= 4096


def test_all_handlers_can_be_listed() -> None:
    made = router("b", "a")
    assert made.patterns == ["a", "b"]
    assert {one.pattern for one in made} == {"a", "b"}
