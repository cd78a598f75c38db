"""What is to run after what: the graph that a chain, a gather, or any mixture of them makes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from qd.client.builder import TaskBuilder
from qd.client.flow import MOST_LINKS, WIDEST, Flow, Plan, chain, gather, plan
from qd.errors import UsageError


def link(name: str) -> TaskBuilder:
    return TaskBuilder(None, name)  # type: ignore[arg-type]


def links(names: str) -> list[TaskBuilder]:
    return [link(name) for name in names]


def before(made: Plan) -> dict[str, str]:
    """For each link, the names of those directly before it; joins are seen through."""

    def name(number: int) -> str:
        task = made.nodes[number].link
        assert task is not None
        return task.type

    def names(numbers: list[int]) -> str:
        if len(numbers) == 1 and numbers[0] < 0:
            return names(made.nodes[numbers[0]].before)
        return "".join(map(name, numbers))

    return {name(number): names(node.before) for number, node in made.nodes.items() if number > 0}


def check(made: Plan) -> None:
    """What holds for every graph: both directions agree, joins stand alone, no step is long."""
    for number, node in made.nodes.items():
        assert (number > 0) == (node.link is not None)
        assert all(number in made.nodes[one].behind for one in node.before)
        assert all(number in made.nodes[one].before for one in node.behind)
        assert len(node.behind) <= WIDEST
        assert len(node.before) == 1 or all(one > 0 for one in node.before)
        assert (number in made.roots) == (not node.before)
    assert sorted(number for number in made.nodes if number > 0) == list(range(1, made.links + 1))
    assert len(made.roots) <= WIDEST
    seen, left = set(made.roots), list(made.roots)
    while left:
        fresh = [one for one in made.nodes[left.pop()].behind if one not in seen]
        seen.update(fresh)
        left += fresh
    assert seen == made.nodes.keys()


A, B, C, D, E, F = links("abcdef")


@pytest.mark.parametrize(
    ("flow", "expected", "ends", "wide"),
    [
        (chain(A), {"a": ""}, "a", False),
        (A >> B >> C, {"a": "", "b": "a", "c": "b"}, "c", False),
        (chain(A, chain(B, C)), {"a": "", "b": "a", "c": "b"}, "c", False),
        (gather([A, B]), {"a": "", "b": ""}, "ab", True),
        (gather([A]), {"a": ""}, "a", True),
        (gather([A, B]) >> C, {"a": "", "b": "", "c": "ab"}, "c", False),
        (chain(A, gather([B, C])), {"a": "", "b": "a", "c": "a"}, "bc", True),
        (chain(A, gather([B, C]), D), {"a": "", "b": "a", "c": "a", "d": "bc"}, "d", False),
        (gather([A >> B, C]) >> D, {"a": "", "b": "a", "c": "", "d": "bc"}, "d", False),
        (gather([A, B]) >> gather([C, D]), {"a": "", "b": "", "c": "ab", "d": "ab"}, "cd", True),
        (gather([A, B]) >> gather([C]), {"a": "", "b": "", "c": "ab"}, "c", True),
        (
            gather([A, B]) >> gather([C >> D, E]) >> F,
            {"a": "", "b": "", "c": "ab", "d": "c", "e": "ab", "f": "de"},
            "f",
            False,
        ),
        (
            gather([gather([A, B]) >> C, D]) >> gather([E, F]),
            {"a": "", "b": "", "c": "ab", "d": "", "e": "cd", "f": "cd"},
            "ef",
            True,
        ),
        (A >> A >> A, {"a": "a"}, "a", False),
    ],
)
def test_each_link_waits_for_those_directly_before_it(
    flow: Flow, expected: dict[str, str], ends: str, wide: bool
) -> None:
    made = plan(flow)
    check(made)
    assert before(made) == expected
    assert "".join(made.nodes[one].link.type for one in made.ends) == ends  # type: ignore[union-attr]
    assert made.wide is wide


def test_two_wide_stages_have_as_many_edges_as_nodes() -> None:
    made = plan(gather([A] * 300) >> gather([B] * 400) >> C)
    check(made)
    assert sum(len(node.behind) for node in made.nodes.values()) == 300 + 400 + 400


@pytest.mark.parametrize("flow", [gather([A] * 10_000), A >> gather([B] * 10_000) >> C])
def test_no_node_has_many_behind_it(flow: Flow) -> None:
    made = plan(flow)
    check(made)
    assert len(made.heads()) in (1, 10_000)


def test_results_come_in_the_order_in_which_the_links_were_given() -> None:
    made = plan(gather([A, B >> C, D]) >> E)
    assert before(made)["e"] == "acd"


def test_parts_of_a_flow_can_be_used_again() -> None:
    part = A >> B
    before_ = part.parts
    assert before(plan(gather([part, part]) >> C))["c"] == "bb"
    assert part.parts == before_


@pytest.mark.parametrize("wrong", [[], ["a"], [None], [A, 3]])
def test_what_is_no_link_is_refused(wrong: list[Any]) -> None:
    with pytest.raises(UsageError):
        chain(*wrong)
    with pytest.raises(UsageError):
        gather(wrong)


def test_a_flow_that_is_too_large_or_too_deep_is_refused() -> None:
    with pytest.raises(UsageError, match="100,000 links"):
        plan(gather([A] * (MOST_LINKS + 1)))
    deep: Flow = chain(A)
    for _ in range(80):
        deep = gather([deep >> B, C]) >> D
    with pytest.raises(UsageError, match="levels deep"):
        plan(deep)


def test_any_mixture_makes_a_sound_graph() -> None:
    chance = random.Random(1)

    def some(depth: int) -> Flow | TaskBuilder:
        if depth == 0 or chance.random() < 0.3:
            return link(str(chance.random()))
        parts = [some(depth - 1) for _ in range(chance.choice((1, 2, 3, 5)))]
        return gather(parts) if chance.random() < 0.5 else chain(*parts)

    for _ in range(300):
        check(plan(chain(some(5))))
