"""
Decide what the parent does next.

Pure: no fork, no signal, no clock. `plan` is called after every event and at every moment it
asked for; the supervisor carries the actions out and calls again until there are none. All the
hard questions (crash loop, hung child, rolling replacement, a late child while stopping) are
answered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from qd.errors import ExitCode
from qd.supervisor.child import ChildRole
from qd.supervisor.state import ChildState, Limits, Record, Slot


class Wanted(Struct, frozen=True):
    """What should run. Children of another generation are replaced, one by one."""

    workers: int
    scheduler: bool
    monitor: bool = False
    generation: int = 0

    def slots(self) -> list[Slot]:
        slots = [Slot(ChildRole.WORKER, number) for number in range(self.workers)]
        if self.scheduler:
            slots.append(Slot(ChildRole.SCHEDULER, 0))
        if self.monitor:
            slots.append(Slot(ChildRole.MONITOR, 0))
        return slots

    def essential_slots(self) -> list[Slot]:
        """Those without which there is nothing to supervise: the workers, else the scheduler."""
        first = ChildRole.WORKER if self.workers else ChildRole.SCHEDULER
        return [slot for slot in self.slots() if slot.role is first]


class StopMode(StrEnum):
    DRAIN = "drain"
    NOW = "now"


class Spawn(Struct, frozen=True):
    slot: Slot


class Terminate(Struct, frozen=True):
    pid: int
    reason: str


class Quit(Struct, frozen=True):
    pid: int


class Abort(Struct, frozen=True):
    pid: int
    reason: str


class Kill(Struct, frozen=True):
    pid: int
    reason: str


class Replace(Struct, frozen=True):
    """Have the child print its stacks, and start another one in its place."""

    pid: int
    reason: str


class AbandonReload(Struct, frozen=True):
    """Go back to what ran before the reload."""

    reason: str


class Stop(Struct, frozen=True):
    """Stop everything now and exit with this code."""

    exit_code: int
    reason: str


Action = Spawn | Terminate | Quit | Abort | Kill | Replace | AbandonReload | Stop


class Plan(Struct, frozen=True):
    """Actions to carry out in order; `wake_at`: plan again then, even if nothing happens."""

    actions: tuple[Action, ...]
    wake_at: float | None


def plan(
    wanted: Wanted,
    children: Sequence[ChildState],
    records: Mapping[Slot, Record],
    now: float,
    *,
    limits: Limits,
    stopping: StopMode | None = None,
    can_go_back: bool = False,
) -> Plan:
    """
    The next steps from `children` to `wanted`.

    can_go_back: a reload is under way and what ran before is still known.
    """
    draft = _Draft(now)
    _kill_the_late(draft, children, limits)
    if stopping is not None:
        _stop(draft, children, stopping)
        return draft.finish()
    verdict = _verdict(wanted, children, records, limits, can_go_back)
    if verdict is not None:
        draft.do(verdict)
        return draft.finish()
    _deal_with_hung(draft, children, limits)
    _fill_slots(draft, wanted, children, records)
    return draft.finish()


def all_serving(wanted: Wanted, children: Sequence[ChildState]) -> bool:
    """Whether every wanted child is ready, and no child of another generation is left."""
    serving = {child.slot for child in children if child.serving}
    return serving.issuperset(wanted.slots()) and all(
        child.generation == wanted.generation for child in children
    )


class _Draft:
    """Actions so far, and the earliest moment at which more may be due."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._actions: list[Action] = []
        self._wake_at: float | None = None

    def do(self, action: Action) -> None:
        self._actions.append(action)

    def due(self, moment: float) -> bool:
        if moment <= self._now:
            return True
        if self._wake_at is None or moment < self._wake_at:
            self._wake_at = moment
        return False

    def finish(self) -> Plan:
        return Plan(tuple(self._actions), self._wake_at)


def _kill_the_late(draft: _Draft, children: Sequence[ChildState], limits: Limits) -> None:
    for child in children:
        if child.kill_at is not None:
            continue
        grace = limits.kill_margin
        if child.slot.role is ChildRole.WORKER:
            grace += limits.shutdown_timeout
        for moment, seconds, what in (
            (child.quit_at, limits.quit_grace, "QUIT"),
            (child.abort_at, limits.abort_grace, "ABRT"),
            (child.term_at, grace, "TERM"),
            (child.leaving_at, grace, "it said that it stops"),
        ):
            if moment is not None and draft.due(moment + seconds):
                draft.do(Kill(child.pid, f"still alive {seconds:g} s after {what}"))
                break


def _stop(draft: _Draft, children: Sequence[ChildState], mode: StopMode) -> None:
    # The scheduler goes last: it hands back the tasks of workers that had to be killed.
    workers = [child for child in children if child.slot.role is ChildRole.WORKER]
    for child in workers or children:
        if child.kill_at is not None or child.abort_at is not None:
            continue
        if mode is StopMode.DRAIN:
            if child.term_at is None:
                draft.do(Terminate(child.pid, "stopping"))
        elif child.ready_at is None:
            # It holds no task, and may have no handler yet: QUIT would leave a core file.
            draft.do(Kill(child.pid, "not ready while stopping"))
        elif child.quit_at is None:
            draft.do(Quit(child.pid))


def _verdict(
    wanted: Wanted,
    children: Sequence[ChildState],
    records: Mapping[Slot, Record],
    limits: Limits,
    can_go_back: bool,
) -> Stop | AbandonReload | None:
    slots = wanted.slots()
    essential = wanted.essential_slots()
    alive = [child for child in children if child.slot in essential]
    working = any(child.serving for child in alive)

    for slot in slots:
        record = records.get(slot, Record())
        failed = record.fatal is not None or record.boot_failures >= limits.crash_loop
        replacing = any(
            child.slot == slot and child.generation != wanted.generation for child in children
        )
        if failed and replacing and working and can_go_back:
            why = record.fatal[1] if record.fatal else f"{record.boot_failures} failed starts"
            return AbandonReload(f"{slot} did not come up: {why}")
        # Once others work, one child that cannot start is a reason to wait, not to stop them.
        first_start = not any(r.ever_ready for s, r in records.items() if s.role is slot.role)
        if record.fatal is not None and (first_start or not working):
            first_line = record.fatal[1].partition("\n")[0]
            return Stop(record.fatal[0], f"{slot} cannot start: {first_line}")

    histories = [records.get(slot, Record()) for slot in essential]
    if not working and all(h.boot_failures >= limits.crash_loop for h in histories):
        fewest = min((h.boot_failures for h in histories), default=0)
        reason = f"no child came up, after {fewest} attempts each; their output says why"
        return Stop(ExitCode.CRASH_LOOP, reason)
    if not alive and all(h.done for h in histories):
        return Stop(ExitCode.OK, "all work is done")
    return None


def _deal_with_hung(draft: _Draft, children: Sequence[ChildState], limits: Limits) -> None:
    for child in children:
        if child.ending:
            continue
        if child.ready_at is None:
            if draft.due(child.seen_at + limits.boot):
                draft.do(Abort(child.pid, f"not ready after {limits.boot:g} s"))
        elif child.overdue and draft.due(child.seen_at + limits.silence):
            tasks = ", ".join(child.overdue)
            draft.do(Abort(child.pid, f"it hangs, with tasks that are out of time: {tasks}"))
        elif limits.watchdog > 0 and draft.due(child.seen_at + limits.watchdog):
            draft.do(Abort(child.pid, f"no sign of life for {limits.watchdog:g} s"))
        elif (
            limits.stall > 0
            and child.stalled_since is not None
            and not child.recycle
            and draft.due(child.stalled_since + limits.stall)
        ):
            draft.do(Replace(child.pid, f"took no task for {limits.stall:g} s while some waited"))


def _fill_slots(
    draft: _Draft,
    wanted: Wanted,
    children: Sequence[ChildState],
    records: Mapping[Slot, Record],
) -> None:
    slots = wanted.slots()
    for child in children:
        if child.slot not in slots and not child.told_to_go:
            draft.do(Terminate(child.pid, "not wanted any more"))

    moving = any(child.told_to_go for child in children)
    outdated: list[Slot] = []
    for slot in slots:
        here = [child for child in children if child.slot == slot and not child.told_to_go]
        stale = [c for c in here if c.recycle or c.generation != wanted.generation]
        fresh = [c for c in here if c not in stale]
        if not here:
            _spawn(draft, slot, records)
        elif stale and any(child.serving for child in fresh):
            moving = True
            for child in stale:
                draft.do(Terminate(child.pid, "its replacement is ready"))
        elif stale and fresh:
            moving = True
        elif stale:
            outdated.append(slot)
    # One at a time, and the next one when the old one is gone: never more than one extra process.
    if outdated and not moving:
        _spawn(draft, outdated[0], records)


def _spawn(draft: _Draft, slot: Slot, records: Mapping[Slot, Record]) -> None:
    record = records.get(slot, Record())
    if not record.done and draft.due(record.not_before):
        draft.do(Spawn(slot))
