"""Whatever has happened, the plan leads to what is wanted, or to the end, in bounded time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from qd.supervisor.child import RECYCLE_EXIT, ChildRole, Report, ReportKind
from qd.supervisor.plan import (
    AbandonReload,
    Abort,
    Action,
    Kill,
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

LIMITS = Limits()
SLOTS = [*(Slot(ChildRole.WORKER, n) for n in range(4)), Slot(ChildRole.SCHEDULER, 0)]
# Each extra child may take a full stop, and each slot the longest delay.
LONG_ENOUGH = 300.0

moments = st.none() | st.floats(0.0, 100.0)


@st.composite
def children(draw: st.DrawFn) -> list[ChildState]:
    # A slot never holds two children of one generation that were not told to go.
    places = draw(st.lists(st.tuples(st.sampled_from(SLOTS), st.integers(0, 2)), unique=True))
    return [
        ChildState(
            pid=pid,
            slot=slot,
            generation=generation,
            started_at=draw(st.floats(0.0, 100.0)),
            seen_at=draw(st.floats(0.0, 100.0)),
            ready_at=draw(moments),
            stalled_since=draw(moments),
            recycle=draw(st.booleans()),
            leaving_at=draw(moments),
            term_at=draw(moments),
            abort_at=draw(moments),
            kill_at=draw(moments),
        )
        for pid, (slot, generation) in enumerate(places, 1)
    ]


@st.composite
def histories(draw: st.DrawFn) -> dict[Slot, Record]:
    return {
        slot: Record(
            short_lives=draw(st.integers(0, 20)),
            # With three children in the slot that may still fail, this is no crash loop.
            boot_failures=draw(st.integers(0, 1)),
            not_before=draw(st.floats(0.0, 130.0)),
            ever_ready=draw(st.booleans()),
        )
        for slot in draw(st.sets(st.sampled_from(SLOTS)))
    }


class World:
    """Children that obey: ready a second after the fork, gone a second after a signal."""

    def __init__(self, alive: list[ChildState], records: dict[Slot, Record]) -> None:
        self.now = 100.0
        self.alive = {child.pid: child for child in alive}
        self.records = records
        self.stopping: StopMode | None = None
        self.last_pid = 100
        self.most_alive = len(alive)

    def live(self, wanted: Wanted) -> None:
        while self.now < LONG_ENOUGH:
            self._act(wanted)
            self.now += 1.0
            self._let_children_live()

    def _act(self, wanted: Wanted) -> None:
        for _ in range(100):
            step = plan(
                wanted,
                list(self.alive.values()),
                self.records,
                self.now,
                limits=LIMITS,
                stopping=self.stopping,
            )
            if not step.actions:
                assert step.wake_at is None or step.wake_at > self.now, "it would spin"
                return
            for action in step.actions:
                self._carry_out(action, wanted)
            self.most_alive = max(self.most_alive, len(self.alive))
        raise AssertionError("the plan never comes to rest")

    def _carry_out(self, action: Action, wanted: Wanted) -> None:
        match action:
            case Spawn(slot):
                self.last_pid += 1
                self.alive[self.last_pid] = ChildState(
                    self.last_pid, slot, wanted.generation, self.now, self.now
                )
            case Terminate(pid):
                self.alive[pid] = replace(self.alive[pid], term_at=self.now)
            case Quit(pid):
                self.alive[pid] = replace(self.alive[pid], quit_at=self.now)
            case Abort(pid):
                self.alive[pid] = replace(self.alive[pid], abort_at=self.now)
            case Kill(pid):
                self.alive[pid] = replace(self.alive[pid], kill_at=self.now)
            case Replace(pid):
                self.alive[pid] = replace(self.alive[pid], recycle=True)
            case Stop() | AbandonReload():
                raise AssertionError(f"no reason for {action}")

    def _let_children_live(self) -> None:
        for child in list(self.alive.values()):
            if child.ending:
                del self.alive[child.pid]
                record = self.records.get(child.slot, Record())
                code = RECYCLE_EXIT if child.ready_at is not None else 0
                self.records[child.slot] = record.after_death(child, code, self.now, LIMITS)
            elif child.ready_at is None:
                self.records[child.slot] = self.records.get(child.slot, Record()).after_ready()
                self.alive[child.pid] = child.after_report(Report(ReportKind.READY), self.now)
            else:
                self.alive[child.pid] = child.after_report(Report(ReportKind.TICK), self.now)


wanted_ones = st.builds(
    Wanted, workers=st.integers(1, 4), scheduler=st.booleans(), generation=st.integers(0, 2)
)


@given(children(), histories(), wanted_ones)
def test_obedient_children_end_up_as_wanted(
    alive: list[ChildState], records: dict[Slot, Record], wanted: Wanted
) -> None:
    world = World(alive, records)
    world.live(wanted)
    there = list(world.alive.values())
    assert all_serving(wanted, there)
    assert sorted(child.slot for child in there) == sorted(wanted.slots())
    assert not any(child.recycle for child in there)


@given(st.integers(1, 4), st.booleans())
def test_reload_needs_one_extra_process_at_a_time(workers: int, scheduler: bool) -> None:
    world = World([], {})
    world.live(Wanted(workers, scheduler, generation=0))
    settled = len(world.alive)
    world.now, world.most_alive = 100.0, 0
    world.alive = {pid: replace(c, seen_at=100.0) for pid, c in world.alive.items()}
    world.live(Wanted(workers, scheduler, generation=1))
    assert all(child.generation == 1 for child in world.alive.values())
    assert world.most_alive == settled + 1


@given(children(), histories(), wanted_ones, st.sampled_from(StopMode))
def test_stopping_always_ends(
    alive: list[ChildState], records: dict[Slot, Record], wanted: Wanted, mode: StopMode
) -> None:
    world = World(alive, records)
    world.stopping = mode
    world.live(wanted)
    assert not world.alive
