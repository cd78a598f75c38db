"""The supervisor is PID 1 of a container, and inherits what handlers leave behind."""

from __future__ import annotations

import subprocess

from tests.chaos.stage import Measure, Stage
from tests.support.procs import descendants_of, state_of
from tests.support.wait import eventually

_TASKS = 50
_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def run(stage: Stage) -> list[Measure]:
    title = f"PID 1, {_TASKS} strangers left behind: zombies"
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode:
        return [Measure(title, "0", "not measured: no right to make a namespace", None)]
    fleet = stage.fleet()
    host = fleet.add("a", restart=False, prefix=_UNSHARE)
    stage.producer.send("stranger", _TASKS)
    eventually(lambda: stage.unsettled() == 0, within=60)

    def zombies() -> int:
        return sum(state_of(pid) == "Z" for pid in descendants_of(host.pid))

    eventually(lambda: zombies() == 0 and len(descendants_of(host.pid)) == 3, within=10)
    left = zombies()
    fleet.stop()
    return [Measure(title, "0", str(left), left == 0)]
