"""`kit.drain`: all that can run now, in the order of production, to the end."""

from __future__ import annotations

import pytest

from qd import App
from qd.testing import Kit, KitError


def test_urgent_queues_come_first_and_each_in_its_order(app: App, kit: Kit) -> None:
    seen: list[str] = []

    @app.task("say")
    def say(word: str) -> None:
        seen.append(word)

    for queue in ("low", "default", "high"):
        for number in (1, 2):
            say.options(queue=queue).enqueue(f"{queue}{number}")
    runs = kit.drain()
    assert seen == ["high1", "high2", "default1", "default2", "low1", "low2"]
    assert runs.counts == {"say": 6}
    assert [one.queue for one in runs] == ["high"] * 2 + ["default"] * 2 + ["low"] * 2


def test_what_a_task_enqueues_runs_at_its_rank(app: App, kit: Kit) -> None:
    seen: list[str] = []

    @app.task("say")
    def say(word: str) -> None:
        seen.append(word)

    @app.task("begin")
    async def begin() -> None:
        seen.append("begin")
        await say.options(queue="high").aenqueue("urgent")
        say.options(queue="low").enqueue("low")

    for _ in range(5):
        seen.clear()
        begin.enqueue()
        say.enqueue("next")
        kit.drain()
        assert seen == ["begin", "urgent", "next", "low"]


def test_what_is_not_due_stays(app: App, kit: Kit) -> None:
    @app.task("fail", max_retry=5)
    def fail() -> None:
        raise ValueError

    @app.task("later", process_in="5m")
    def later() -> None: ...

    fail.enqueue()
    later.enqueue()
    assert kit.drain().types == ["fail"]
    assert kit.drain() == []
    assert {one.type: one.state for one in kit.tasks()} == {"fail": "retry", "later": "scheduled"}


def test_a_retry_without_a_delay_is_due(app: App, kit: Kit) -> None:
    @app.task("fail", max_retry=2, retry=lambda *_: 0)
    def fail() -> None:
        raise ValueError

    fail.enqueue()
    runs = kit.drain()
    assert [(one.attempt, one.outcome) for one in runs] == [
        (1, "retry"), (2, "retry"), (3, "archive"),
    ]  # fmt: skip
    assert len(runs.failed) == 3
    assert runs.of(fail) == runs


def test_failures_are_reported_or_raised(app: App, kit: Kit) -> None:
    seen: list[str] = []

    @app.task("say", max_retry=1)
    def say(word: str) -> None:
        seen.append(word)
        if word == "bad":
            raise ValueError(word)

    for word in ("good", "bad", "never"):
        say.enqueue(word)
    with pytest.raises(ValueError, match="bad"):
        kit.drain(raise_errors=True)
    assert seen == ["good", "bad"]
    assert [one.outcome for one in kit.ran] == ["done", "retry"]
    assert [one.outcome for one in kit.drain()] == ["done"]


def test_an_endless_chain_is_an_error(app: App, kit: Kit) -> None:
    @app.task("again")
    def again() -> None:
        again.enqueue()

    again.enqueue()
    with pytest.raises(KitError, match="20 tasks have run, and there are more") as endless:
        kit.drain(most=20)
    assert "most=" in endless.value.hint
    assert len(kit.ran) == 20


def test_nothing_to_do_is_nothing_done(kit: Kit) -> None:
    assert kit.drain() == []
    assert repr(kit.drain()) == "<0 runs>"


def test_one_task_has_ended_when_the_next_begins(app: App, kit: Kit) -> None:
    """A lock, for one, is free then."""

    @app.task("unique", unique="10m")
    def unique() -> None: ...

    @app.task("after")
    def after() -> str:
        return unique.enqueue().state

    for _ in range(5):
        unique.enqueue()
        after.enqueue()
        assert [(one.type, one.outcome) for one in kit.drain()] == [
            ("unique", "done"), ("after", "done"), ("unique", "done"),
        ]  # fmt: skip


@pytest.mark.qd(
    config={"queues": {"default": 1}, "limits": {"two": {"concurrency": 1, "types": ["call"]}}}
)
def test_a_place_that_is_free_goes_to_the_next(app: App, kit: Kit) -> None:
    @app.task("call")
    def call() -> None: ...

    for _ in range(20):
        call.enqueue()
    assert [one.outcome for one in kit.drain()] == ["done"] * 20
