"""How reports and deaths change what is known about children."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from qd.supervisor.child import DONE_EXIT, RECYCLE_EXIT, ChildRole, Report, ReportKind
from qd.supervisor.state import ChildState, Limits, Record, Slot

SLOT = Slot(ChildRole.WORKER, 0)
LIMITS = Limits()
BOOTING = ChildState(pid=10, slot=SLOT, generation=0, started_at=0.0, seen_at=0.0)
READY = replace(BOOTING, ready_at=1.0, seen_at=1.0, identity="id")
KILLED = None


def tick(busy: int = 0, done: int = 0, waiting: bool | None = None) -> Report:
    return Report(ReportKind.TICK, busy=busy, done=done, waiting=waiting)


def test_stall_starts_with_the_first_tick_that_leaves_tasks_waiting() -> None:
    child = READY.after_report(tick(waiting=True), 5.0).after_report(tick(waiting=True), 9.0)
    assert child.stalled_since == 5.0


@pytest.mark.parametrize("waiting", [False, None])
def test_stall_ends_when_nothing_waits_or_nobody_knows(waiting: bool | None) -> None:
    child = READY.after_report(tick(waiting=True), 5.0).after_report(tick(waiting=waiting), 6.0)
    assert child.stalled_since is None


@pytest.mark.parametrize("progress", [tick(busy=1, waiting=True), tick(done=1, waiting=True)])
def test_stall_starts_anew_when_something_moves(progress: Report) -> None:
    child = READY.after_report(tick(waiting=True), 5.0).after_report(progress, 6.0)
    assert child.stalled_since == 6.0


def test_boot_report_is_a_sign_of_life() -> None:
    assert BOOTING.after_report(Report(ReportKind.BOOTING), 20.0).seen_at == 20.0


def test_excused_child_has_all_its_time_again() -> None:
    child = READY.after_report(tick(waiting=True), 5.0).excused(100.0)
    assert (child.seen_at, child.stalled_since) == (100.0, None)


@pytest.mark.parametrize(
    ("child", "exit_code", "clean"),
    [
        (READY, 0, False),
        (READY.after_report(Report(ReportKind.STOPPING), 2.0), 0, True),
        (replace(READY, term_at=2.0), 0, True),
        (replace(READY, quit_at=2.0), 0, True),
        (replace(READY, term_at=2.0), 1, False),
        (replace(READY, term_at=2.0), KILLED, False),
        (READY, RECYCLE_EXIT, True),
        (READY, DONE_EXIT, True),
        (READY, 1, False),
        (READY, KILLED, False),
    ],
)
def test_only_an_announced_end_is_clean(
    child: ChildState, exit_code: int | None, clean: bool
) -> None:
    assert child.ended_cleanly(exit_code) is clean


def test_delay_doubles_up_to_its_limit_while_children_die_young() -> None:
    record, delays = Record(), []
    for _ in range(8):
        record = record.after_death(BOOTING, 1, 100.0, replace(LIMITS, short_life=1000.0))
        delays.append(record.not_before - 100.0)
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert record.boot_failures == 8


def test_child_that_was_ready_and_lived_is_replaced_at_once() -> None:
    record = Record(short_lives=3, not_before=0.0).after_death(READY, KILLED, 10.0, LIMITS)
    assert (record.short_lives, record.not_before) == (0, 0.0)


def test_child_that_was_ready_and_died_young_is_delayed_but_no_boot_failure() -> None:
    record = Record().after_death(READY, KILLED, 9.0, LIMITS)
    assert (record.boot_failures, record.not_before) == (0, 9.5)


@pytest.mark.parametrize(
    "child", [replace(READY, done=1), replace(READY, overdue=("t1",))], ids=["useful", "hung"]
)
def test_child_that_died_young_and_was_no_failure_is_replaced_at_once(child: ChildState) -> None:
    record = Record(short_lives=3, not_before=0.0).after_death(child, KILLED, 2.0, LIMITS)
    assert (record.short_lives, record.not_before) == (0, 0.0)


def test_delay_grows_also_when_every_child_becomes_ready_before_it_dies() -> None:
    record = Record().after_death(READY, KILLED, 2.0, LIMITS).after_ready()
    assert record.after_death(READY, KILLED, 4.0, LIMITS).not_before == 5.0


def test_leaving_to_be_recycled_costs_no_delay() -> None:
    assert Record(short_lives=2).after_death(READY, RECYCLE_EXIT, 2.0, LIMITS).not_before == 0.0


def test_child_that_was_told_to_go_leaves_the_history_alone() -> None:
    history = Record(short_lives=1, not_before=3.0)
    assert history.after_death(replace(BOOTING, term_at=1.0), KILLED, 2.0, LIMITS) == history


def test_success_takes_back_that_a_boot_failed_for_good() -> None:
    failed = replace(BOOTING, boot_failure=(2, "no module"))
    record = Record().after_death(failed, 2, 1.0, LIMITS)
    assert record.fatal == (2, "no module")
    assert record.after_ready().fatal is None


def test_endless_deaths_do_not_overflow_the_delay() -> None:
    assert Record(short_lives=10**6).after_failed_fork(0.0, LIMITS).not_before == 30.0
