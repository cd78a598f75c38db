"""When a poll looks again, and when it gives up."""

from __future__ import annotations

import pytest

from qd.policy.outcome import Action, Outcome
from qd.policy.poll import Polling, PollRules, not_yet, remember

RULES = PollRules(initial=3.0, longest=10.0, give_up_after=1800.0)


@pytest.mark.parametrize(
    ("looks", "seconds"), [(0, 3.0), (1, 3.0), (2, 6.0), (3, 10.0), (4, 10.0), (100_000, 10.0)]
)
def test_delays_double_up_to_the_longest(looks: int, seconds: float) -> None:
    assert RULES.delay(looks) == seconds


def test_the_first_run_says_since_when_it_looks() -> None:
    assert remember(RULES, None, started=100.0, looked=True) == Polling(1, 100.0, 1900.0)
    assert remember(RULES, None, started=100.0, looked=False) == Polling(0, 100.0, 1900.0)


def test_later_runs_count_their_looks_and_leave_the_beginning_alone() -> None:
    before = Polling(3, 100.0, 1900.0)
    assert remember(RULES, before, started=500.0, looked=True) == Polling(4, 100.0, 1900.0)
    assert remember(RULES, before, started=500.0, looked=False) == before


def test_other_rules_hold_from_the_next_run_on() -> None:
    before = Polling(3, 100.0, 1900.0)
    assert remember(PollRules(), before, started=500.0, looked=True).until == 0.0
    shorter = PollRules(give_up_after=60.0)
    assert remember(shorter, before, started=500.0, looked=True).until == 160.0


def test_a_look_that_says_not_yet_is_no_failure() -> None:
    polling = Polling(2, 100.0, 1900.0)
    assert not_yet(RULES, polling, "still encoding", now=109.0) == Outcome(
        Action.RETRY, "still encoding", 6.0, is_failure=False
    )


def test_a_handler_s_own_delay_replaces_that_of_the_rules() -> None:
    polling = Polling(2, 100.0, 1900.0)
    assert not_yet(RULES, polling, "", now=109.0, delay=60.0).delay == 60.0


@pytest.mark.parametrize("delay", [None, 3600.0])
def test_the_last_look_is_when_it_gives_up(delay: float | None) -> None:
    polling = Polling(200, 100.0, 1900.0)
    assert not_yet(RULES, polling, "", now=1896.5, delay=delay).delay == 3.5


@pytest.mark.parametrize("now", [1900.0, 9999.0])
def test_it_gives_up_after_a_look_that_was_late_enough(now: float) -> None:
    decided = not_yet(RULES, Polling(200, 100.0, 1900.0), "still encoding", now=now)
    assert decided.action is Action.ARCHIVE
    assert decided.is_failure
    took = "30m" if now == 1900.0 else "2h44m59s"
    assert decided.error == f"gave up after 200 looks in {took}: still encoding"


def test_one_look_is_one_look() -> None:
    decided = not_yet(PollRules(), Polling(1, 100.0, 101.0), "no", now=102.0)
    assert decided.error == "gave up after 1 look in 2s: no"


def test_one_that_never_gives_up_looks_for_ever() -> None:
    decided = not_yet(PollRules(), Polling(10**6, 1.0, 0.0), "no", now=1e12)
    assert (decided.action, decided.delay) == (Action.RETRY, 10.0)


def test_a_long_note_can_be_stored() -> None:
    decided = not_yet(PollRules(), Polling(1, 1.0, 2.0), "ü" * 10_000, now=3.0)
    assert len(decided.error.encode()) <= 8192
