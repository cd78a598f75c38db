"""The lines about runs: one for each end, what happened in fields, never a payload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qd
from qd.observability import logs
from tests.runtime.lab import Lab
from tests.support.wait import aeventually

SECRET = "a-payload-nobody-may-read"


async def _work(kind: str, secret: str) -> None:
    match kind:
        case "fail":
            raise OSError("no answer")
        case "skip":
            raise qd.SkipRetry("never again")
        case "revoke":
            raise qd.RevokeTask("forget it")
        case "snooze":
            raise qd.Snooze("10s")


@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize("form", ["json", "text"])
async def test_each_end_of_a_run_is_one_event(lab: Lab, tmp_path: Path, form: str) -> None:
    file = tmp_path / "log"
    logs.set_up("info", form, str(file), role="worker")
    lab.app.task("work")(_work)
    await lab.start()
    kinds = ("succeed", "fail", "skip", "revoke", "snooze")
    ids = {kind: (await lab.enqueue("work", {"kind": kind, "secret": SECRET})).id for kind in kinds}
    await aeventually(lambda: all(one in file.read_text() for one in ids.values()))
    text = file.read_text()
    assert SECRET not in text
    assert text.count("Traceback (most") == 1, "what qd raises itself says all in its sentence"
    if form == "text":
        return
    found: dict[str, dict[str, Any]] = {}
    for line in map(json.loads, text.splitlines()):
        if line["logger"] == "qd.task":
            assert line["task_id"] not in found, "one event, one line"
            found[line["task_id"]] = line
    events = {kind: found[task_id] for kind, task_id in ids.items()}
    assert {kind: one["event"] for kind, one in events.items()} == {
        "succeed": "done", "fail": "retry", "skip": "dead", "revoke": "revoked", "snooze": "snoozed",
    }  # fmt: skip
    for one in events.values():
        assert (one["type"], one["queue"], one["attempt"]) == ("work", "q", 1)
        assert one["duration"] >= 0
    assert events["fail"]["error"] == "OSError: no answer"
    assert events["fail"]["delay"] > 0
    assert events["fail"]["next_at"] > events["fail"]["time"]
    assert events["snooze"]["delay"] == 10.0
    assert "never again" in events["skip"]["error"]
