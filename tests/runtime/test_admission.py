"""What becomes of tasks at gates that fail by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from qd.protocol.message import TaskMessage, Terms
from qd.protocol.op import Op
from qd.protocol.ops.endings import Held
from qd.runtime.admission import Admission, Verdict
from qd.runtime.run import Run
from tests.support.wait import aeventually


class Stumbling:
    """A gate that lets all tasks pass, and stumbles over those without a payload."""

    def __str__(self) -> str:
        return "the limit odd"

    def concerns(self, task_type: str, queue: str) -> bool:
        return True

    async def ask(self, runs: Sequence[Run]) -> Sequence[Verdict]:
        return [None for run in runs if run.message.payload[0]]

    def unused(self, run: Run) -> None: ...

    def ended(self, run: Run, error: BaseException | None) -> None: ...

    def renewals(self, runs: Sequence[Run]) -> list[Op[int]]:
        return []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def test_a_task_over_which_a_gate_stumbles_waits_outside_and_holds_up_no_other() -> None:
    def run(task_id: str, payload: bytes) -> Run:
        message = TaskMessage("work", payload, task_id, Terms(queue="q"))
        return Run(message, "q", Held(task_id, 1, 1), 0)

    started: list[str] = []
    parked: list[tuple[str, str]] = []
    admission = Admission(
        [Stumbling()],
        submit=lambda run: started.append(run.message.id),
        park=lambda run, until, waits: parked.append((run.message.id, waits)),
        on_free=lambda: None,
    )
    admission.ask([run("a", b"1"), run("odd", b""), run("b", b"1")])
    await aeventually(lambda: len(started) + len(parked) == 3)
    assert started == ["a", "b"]
    assert parked == [("odd", '["gate","limit odd"]')]
    assert admission.asking == 0
