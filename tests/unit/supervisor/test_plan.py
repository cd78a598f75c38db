"""What the parent does next: one situation, one answer."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from qd.errors import ExitCode
from qd.supervisor.child import ChildRole
from qd.supervisor.plan import (
    AbandonReload,
    Abort,
    Action,
    Kill,
    Plan,
    Quit,
    Replace,
    Spawn,
    Stop,
    StopMode,
    Terminate,
    Wanted,
    all_serving,
    plan,
)
from qd.supervisor.state import ChildState, Limits, Record, Slot

NOW = 1000.0
W0, W1, W2 = (Slot(ChildRole.WORKER, number) for number in range(3))
S0 = Slot(ChildRole.SCHEDULER, 0)
LIMITS = Limits(shutdown_timeout=8.0, watchdog=30.0, stall=60.0, boot=30.0)
BROKEN = Record(boot_failures=5)
FATAL = Record(boot_failures=1, fatal=(2, "no module"))


def booting(pid: int, slot: Slot, **changes: Any) -> ChildState:
    state = ChildState(pid, slot, generation=0, started_at=NOW - 1, seen_at=NOW - 1)
    return replace(state, **changes)


def ready(pid: int, slot: Slot, **changes: Any) -> ChildState:
    return booting(pid, slot, **{"ready_at": NOW - 1, **changes})


def decide(
    wanted: Wanted,
    *children: ChildState,
    records: dict[Slot, Record] | None = None,
    now: float = NOW,
    stopping: StopMode | None = None,
    can_go_back: bool = False,
    limits: Limits = LIMITS,
) -> Plan:
    return plan(
        wanted,
        children,
        records or {},
        now,
        limits=limits,
        stopping=stopping,
        can_go_back=can_go_back,
    )


def kinds(actions: tuple[Action, ...]) -> list[tuple[type, int]]:
    return [
        (type(action), action.pid)
        for action in actions
        if not isinstance(action, (Spawn, Stop, AbandonReload))
    ]


ONE = Wanted(1, scheduler=False)
TWO = Wanted(2, scheduler=False)
BOTH = Wanted(2, scheduler=True)
NEW = Wanted(2, scheduler=True, generation=1)


# Filling slots


def test_everything_is_started_at_first() -> None:
    assert decide(BOTH).actions == (Spawn(W0), Spawn(W1), Spawn(S0))


def test_nothing_is_done_when_all_is_well() -> None:
    step = decide(BOTH, ready(1, W0), ready(2, W1), ready(3, S0))
    assert step.actions == ()
    assert step.wake_at == NOW - 1 + LIMITS.watchdog


def test_without_watchdog_an_idle_parent_is_not_woken() -> None:
    assert decide(ONE, ready(1, W0), limits=replace(LIMITS, watchdog=0)).wake_at is None


def test_only_the_missing_child_is_started() -> None:
    assert decide(BOTH, ready(1, W0), ready(3, S0)).actions == (Spawn(W1),)


def test_delayed_child_is_started_when_its_time_has_come() -> None:
    records = {W0: Record(short_lives=2, not_before=NOW + 1)}
    assert decide(ONE, records=records) == Plan((), NOW + 1)
    assert decide(ONE, records=records, now=NOW + 1).actions == (Spawn(W0),)


def test_child_that_is_dying_holds_its_slot() -> None:
    assert decide(ONE, ready(1, W0, kill_at=NOW)).actions == ()


def test_child_that_leaves_by_itself_holds_its_slot_and_is_killed_when_late() -> None:
    child = ready(1, W0, leaving_at=NOW)
    assert decide(ONE, child) == Plan((), NOW + 11)
    assert kinds(decide(ONE, child, now=NOW + 11).actions) == [(Kill, 1)]


def test_too_many_workers_the_last_ones_go() -> None:
    step = decide(ONE, ready(1, W0), ready(2, W1))
    assert kinds(step.actions) == [(Terminate, 2)]


def test_slot_wanted_again_does_not_wait_for_the_child_that_was_told_to_go() -> None:
    step = decide(TWO, ready(1, W0), ready(2, W1, term_at=NOW))
    assert step.actions == (Spawn(W1),)


def test_scheduler_not_wanted_any_more_goes() -> None:
    step = decide(ONE, ready(1, W0), ready(3, S0))
    assert kinds(step.actions) == [(Terminate, 3)]


# Replacing


def test_reload_starts_one_replacement_beside_the_old_children() -> None:
    step = decide(NEW, ready(1, W0), ready(2, W1), ready(3, S0))
    assert step.actions == (Spawn(W0),)


def test_old_child_stays_until_its_replacement_is_ready() -> None:
    step = decide(NEW, ready(1, W0), booting(4, W0, generation=1), ready(2, W1), ready(3, S0))
    assert step.actions == ()


def test_old_child_goes_when_its_replacement_is_ready() -> None:
    step = decide(NEW, ready(1, W0), ready(4, W0, generation=1), ready(2, W1), ready(3, S0))
    assert kinds(step.actions) == [(Terminate, 1)]


def test_next_replacement_waits_until_the_old_child_is_gone() -> None:
    old, new = ready(1, W0, term_at=NOW), ready(4, W0, generation=1)
    assert decide(NEW, old, new, ready(2, W1), ready(3, S0)).actions == ()
    assert decide(NEW, new, ready(2, W1), ready(3, S0)).actions == (Spawn(W1),)


def test_scheduler_is_replaced_like_a_worker() -> None:
    workers = [ready(4, W0, generation=1), ready(5, W1, generation=1)]
    assert decide(NEW, *workers, ready(3, S0)).actions == (Spawn(S0),)
    new = ready(6, S0, generation=1)
    assert kinds(decide(NEW, *workers, ready(3, S0), new).actions) == [(Terminate, 3)]


def test_recycling_keeps_the_old_child_until_the_new_one_is_ready() -> None:
    old = ready(1, W0, recycle=True)
    assert decide(ONE, old).actions == (Spawn(W0),)
    assert decide(ONE, old, booting(2, W0)).actions == ()
    assert kinds(decide(ONE, old, ready(2, W0)).actions) == [(Terminate, 1)]


def test_replacement_that_fails_is_tried_again_after_its_delay() -> None:
    records = {W0: Record(boot_failures=1, not_before=NOW + 1, ever_ready=True)}
    assert decide(ONE, ready(1, W0, recycle=True), records=records).actions == ()


@pytest.mark.parametrize("record", [BROKEN, FATAL])
def test_reload_that_cannot_start_is_abandoned_while_the_old_children_work(record: Record) -> None:
    records = {W0: replace(record, ever_ready=True)}
    step = decide(NEW, ready(1, W0), ready(2, W1), ready(3, S0), records=records, can_go_back=True)
    assert [type(action) for action in step.actions] == [AbandonReload]


def test_reload_is_complete_only_when_the_old_children_are_gone() -> None:
    new = [ready(4, W0, generation=1), ready(5, W1, generation=1), ready(6, S0, generation=1)]
    assert not all_serving(NEW, [*new, ready(1, W0, term_at=NOW)])
    assert all_serving(NEW, new)


# Failing


def test_crash_loop_of_all_workers_ends_everything() -> None:
    step = decide(BOTH, ready(3, S0), records={W0: BROKEN, W1: BROKEN})
    (action,) = step.actions
    assert isinstance(action, Stop)
    assert action.exit_code == ExitCode.CRASH_LOOP


@pytest.mark.parametrize(
    "records", [{W0: BROKEN}, {W0: BROKEN, W1: Record(boot_failures=4)}, {S0: BROKEN}]
)
def test_one_child_that_does_not_start_is_no_crash_loop(records: dict[Slot, Record]) -> None:
    assert not [a for a in decide(BOTH, records=records).actions if isinstance(a, Stop)]


def test_crash_loop_is_none_while_a_worker_works() -> None:
    step = decide(ONE, ready(1, W0), records={W0: BROKEN})
    assert step.actions == ()


def test_scheduler_alone_can_crash_loop() -> None:
    (action,) = decide(Wanted(0, scheduler=True), records={S0: BROKEN}).actions
    assert isinstance(action, Stop)


@pytest.mark.parametrize("slot", [W0, S0])
def test_fatal_failure_at_the_first_start_ends_everything_with_its_code(slot: Slot) -> None:
    (action,) = decide(BOTH, booting(2, W1), records={slot: FATAL}).actions
    assert isinstance(action, Stop)
    assert action.exit_code == 2
    assert "no module" in action.reason


def test_fatal_failure_of_one_later_child_does_not_stop_those_that_work() -> None:
    records = {W0: replace(FATAL, not_before=NOW + 1), W1: Record(ever_ready=True)}
    assert decide(TWO, ready(2, W1), records=records).actions == ()


def test_all_done_ends_with_success() -> None:
    done = Record(done=True)
    (action,) = decide(BOTH, ready(3, S0), records={W0: done, W1: done}).actions
    assert isinstance(action, Stop)
    assert action.exit_code == ExitCode.OK


def test_worker_that_is_done_is_not_started_again_while_others_work() -> None:
    assert decide(TWO, ready(2, W1), records={W0: Record(done=True)}).actions == ()


# Hanging


def test_child_that_is_never_ready_is_aborted() -> None:
    child = booting(1, W0, seen_at=NOW - 30)
    assert kinds(decide(ONE, child).actions) == [(Abort, 1)]


def test_silent_child_is_aborted_and_then_killed() -> None:
    silent = ready(1, W0, seen_at=NOW - 30)
    assert kinds(decide(ONE, silent).actions) == [(Abort, 1)]
    aborted = replace(silent, abort_at=NOW)
    assert decide(ONE, aborted) == Plan((), NOW + 2)
    assert kinds(decide(ONE, aborted, now=NOW + 2).actions) == [(Kill, 1)]
    assert decide(ONE, replace(aborted, kill_at=NOW + 2), now=NOW + 9).actions == ()


def test_silent_child_with_tasks_out_of_time_is_aborted_long_before_the_watchdog() -> None:
    child = ready(1, W0, overdue=("t1",), seen_at=NOW - LIMITS.silence)
    [action] = decide(ONE, child).actions
    assert action == Abort(1, "it hangs, with tasks that are out of time: t1")


def test_child_that_ticks_ends_its_tasks_itself() -> None:
    step = decide(ONE, ready(1, W0, overdue=("t1",), seen_at=NOW - 1))
    assert step.actions == ()
    assert step.wake_at == NOW - 1 + LIMITS.silence


def test_watchdog_can_be_off() -> None:
    child = ready(1, W0, seen_at=NOW - 3000)
    assert decide(ONE, child, limits=replace(LIMITS, watchdog=0)).actions == ()


def test_stalled_child_is_replaced_once() -> None:
    stalled = ready(1, W0, stalled_since=NOW - 60)
    first = decide(ONE, stalled)
    assert kinds(first.actions) == [(Replace, 1)]
    second = decide(ONE, replace(stalled, recycle=True))
    assert second.actions == (Spawn(W0),)


def test_replaced_child_that_does_not_end_is_killed() -> None:
    old = ready(1, W0, recycle=True, term_at=NOW)
    new = ready(2, W0, seen_at=NOW + 11)
    assert decide(ONE, old, new).wake_at == NOW + 11
    assert kinds(decide(ONE, old, new, now=NOW + 11).actions) == [(Kill, 1)]


# Stopping


def test_drain_asks_workers_first() -> None:
    step = decide(BOTH, ready(1, W0), booting(2, W1), ready(3, S0), stopping=StopMode.DRAIN)
    assert kinds(step.actions) == [(Terminate, 1), (Terminate, 2)]


def test_drain_waits_for_workers_and_then_asks_the_scheduler() -> None:
    worker = ready(1, W0, term_at=NOW)
    step = decide(BOTH, worker, ready(3, S0), stopping=StopMode.DRAIN)
    assert step == Plan((), NOW + 11)
    step = decide(BOTH, ready(3, S0), stopping=StopMode.DRAIN)
    assert kinds(step.actions) == [(Terminate, 3)]


def test_drain_kills_what_is_late() -> None:
    worker = ready(1, W0, term_at=NOW - 11)
    scheduler = ready(3, S0, term_at=NOW - 3)
    assert kinds(decide(BOTH, worker, stopping=StopMode.DRAIN).actions) == [(Kill, 1)]
    assert kinds(decide(BOTH, scheduler, stopping=StopMode.DRAIN).actions) == [(Kill, 3)]


def test_now_quits_what_is_ready_and_kills_what_is_not() -> None:
    children = ready(1, W0, term_at=NOW), booting(2, W1), ready(3, S0)
    step = decide(BOTH, *children, stopping=StopMode.NOW)
    assert kinds(step.actions) == [(Quit, 1), (Kill, 2)]


def test_now_kills_two_seconds_later() -> None:
    child = ready(1, W0, term_at=NOW, quit_at=NOW)
    assert decide(ONE, child, stopping=StopMode.NOW).wake_at == NOW + 2
    step = decide(ONE, child, now=NOW + 2, stopping=StopMode.NOW)
    assert kinds(step.actions) == [(Kill, 1)]


@pytest.mark.parametrize("stopping", list(StopMode))
def test_nothing_is_started_while_stopping(stopping: StopMode) -> None:
    assert decide(BOTH, records={W0: BROKEN}, stopping=stopping) == Plan((), None)
