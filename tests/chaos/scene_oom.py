"""A task takes more memory than there is: the kernel kills its process, in a container's limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_LIMIT = 400 << 20
_DEATHS = 2
_OTHERS = 200
_GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.events"),
)
"""Where a group with a limit is made, the file of the limit, the file that counts (cgroup v1, v2)."""


def run(stage: Stage) -> list[Measure]:
    title = f"out of memory ({_LIMIT >> 20} MiB for the service)"
    with _limited() as found:
        if found is None:
            return [Measure(title, "0", "not measured: no right to limit memory", None)]
        group, counts = found
        enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs; "$@"', "sh")
        fleet = stage.fleet()
        fleet.add("a", prefix=enter)
        stage.producer.send("work", _OTHERS // 2)
        [task_id] = stage.producer.send("poison", payload={"how": "memory"})
        stage.producer.send("work", _OTHERS // 2)
        eventually(lambda: stage.client.zscore("asynq:{default}:archived", task_id), within=120)
        eventually(lambda: stage.unsettled() == 0, within=60)
        words = counts.read_text().split()
        kills = int(words[words.index("oom_kill") + 1])
        fleet.stop()
        verdict = stage.verdict(fleet, [])
    deaths = sum(event.id == task_id for event in fleet.journal.events())
    return [
        Measure(
            f"{title}: deaths until archived, kills that the kernel counted",
            f"{_DEATHS}, {_DEATHS}",
            f"{deaths}, {kills}",
            deaths == kills == _DEATHS,
        ),
        Measure(
            f"{title}: others lost, archived, charged",
            "0, 0, 0",
            f"{len(verdict.lost)}, {len(verdict.archived) - 1}, {verdict.charged}",
            not verdict.lost and verdict.archived == [task_id] and not verdict.charged,
        ),
    ]


@contextmanager
def _limited() -> Iterator[tuple[Path, Path] | None]:
    """A control group with a limit of memory, and the file in which the kernel counts its kills."""
    for parent, limit, counts in _GROUPS:
        group = parent / f"qd-chaos-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
        try:
            (group / limit).write_text(str(_LIMIT))
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group, group / counts
        finally:
            eventually(lambda group=group: not (group / "cgroup.procs").read_text(), within=30)
            group.rmdir()
        return
    yield None
