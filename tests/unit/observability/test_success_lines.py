"""The line "done", written without the logging module, is the line that module would write."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qd.observability import logs
from qd.observability.success_lines import SuccessLines, success_lines

TASKS = [
    ("email:send", "id-1", "high", 1, 0.0031),
    ("email:send", 'quo"ted \\ back', "high", 2, 12.5),
    ("line\nbreak", "a\nb\x1b[31m", "que\tue", 3, 0.0),
    ("größe", "日本語", "naïve", 4, 1.0),
    ("lone", "sur\\udc80rogate", "q", 5, 1.0),
]

Jobs = list[Callable[[], None]]


def lines(jobs: Jobs) -> SuccessLines:
    found = success_lines(jobs.append)
    assert found is not None
    return found


def without_time(line: str) -> str:
    return re.sub(r"\d\d:\d\d:\d\d\.\d\d\d", "TIME", re.sub(r"\d{4}-\d\d-\d\dT", "", line))


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("task", TASKS)
def test_a_line_is_the_one_that_logging_would_write(
    form: str, task: tuple[str, str, str, int, float]
) -> None:
    stream = io.StringIO()
    logs.set_up("info", form, "", role="worker", stream=stream)
    task_type, task_id, queue, attempt, took = task
    facts = {"task_id": task_id, "type": task_type, "queue": queue, "attempt": attempt}
    facts |= {"event": "done", "duration": round(took, 6)}
    logging.getLogger("qd.task").info("done in %.3f s", took, extra={logs.FACTS: facts})
    jobs: Jobs = []
    lines(jobs).done(task_type, task_id, queue, attempt, took)
    jobs[0]()
    expected, got = stream.getvalue().splitlines()
    if form == "text":
        assert without_time(got) == without_time(expected)
    else:
        first, second = json.loads(expected), json.loads(got)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", second["time"])
        del first["time"], second["time"]
        assert second == first


def test_all_lines_of_a_turn_are_written_at_once_and_in_order() -> None:
    stream = io.StringIO()
    logs.set_up("info", "json", "", role="worker", stream=stream)
    jobs: Jobs = []
    writer = lines(jobs)
    for n in range(5):
        writer.done("work", f"t{n}", "q", 1, 0.1)
    assert stream.getvalue() == ""
    assert len(jobs) == 1
    jobs.pop()()
    assert [json.loads(line)["task_id"] for line in stream.getvalue().splitlines()] == [
        "t0", "t1", "t2", "t3", "t4",
    ]  # fmt: skip
    writer.done("work", "t5", "q", 1, 0.1)
    jobs.pop()()
    assert len(stream.getvalue().splitlines()) == 6


def test_many_types_do_not_make_it_grow_for_ever() -> None:
    logs.set_up("info", "text", "", role="worker", stream=io.StringIO())
    writer = lines([])
    for n in range(5000):
        writer.done(f"type {n}", "t", "q", 1, 0.1)
    assert len(writer._kinds) <= 1024


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    file = tmp_path / "qd.log"
    logs.set_up("info", "text", str(file), role="worker")
    jobs: Jobs = []
    writer = lines(jobs)
    writer.done("work", "first", "q", 1, 0.1)
    jobs.pop()()
    file.rename(tmp_path / "qd.log.1")
    writer.done("work", "second", "q", 1, 0.1)
    jobs.pop()()
    assert "id=first" in (tmp_path / "qd.log.1").read_text()
    assert "id=second" in file.read_text()


def test_a_stream_that_cannot_be_written_stops_nobody() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no space left on device")

    logs.set_up("info", "text", "", role="worker", stream=Full())
    jobs: Jobs = []
    lines(jobs).done("work", "t", "q", 1, 0.1)
    jobs.pop()()


def test_without_the_set_up_of_qd_there_is_no_writer() -> None:
    def never(_: Any) -> None:
        raise AssertionError

    assert success_lines(never) is None
    logging.getLogger().addHandler(logging.StreamHandler(io.StringIO()))
    assert success_lines(never) is None
