"""Log lines: one event is one line, whatever is in it, readable by people or by machines."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qd.observability import logs
from qd.observability.logs import one_line, own_traceback

log = logging.getLogger("qd.task")
FACTS = {"task_id": "id-1", "type": "email:send", "queue": "high", "attempt": 2}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def text(**options: Any) -> io.StringIO:
    stream = io.StringIO()
    logs.set_up("info", "text", "", role="worker", stream=stream, **options)
    return stream


def as_json(level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(level, "json", "", role="worker", stream=stream)
    return stream


def parsed(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def test_a_text_line_has_time_level_process_event_and_facts() -> None:
    stream = text()
    log.warning("failed after %.1f s", 1.5, extra={logs.FACTS: FACTS})
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d\.\d\d\d WARNING worker\[{os.getpid()}\] "
        r"email:send failed after 1\.5 s  id=id-1 queue=high attempt=2\n",
        stream.getvalue(),
    )


def test_a_json_line_has_the_same_as_fields() -> None:
    stream = as_json()
    log.warning("failed after %.1f s", 1.5, extra={logs.FACTS: FACTS})
    line = parsed(stream)
    at = datetime.fromisoformat(line.pop("time"))
    assert at.utcoffset() == timedelta(0)
    assert line == {
        "level": "warning",
        "logger": "qd.task",
        "role": "worker",
        "pid": os.getpid(),
        "message": "failed after 1.5 s",
        **FACTS,
    }


def test_what_happened_to_a_task_is_in_fields_of_its_own() -> None:
    """Nobody has to take a sentence apart to ask for the slow ones, or those of one error."""
    stream = as_json()
    more = {"event": "retry", "duration": 1.25, "delay": 60.0, "error": "OSError: no answer"}
    log.warning("failed", extra={logs.FACTS: {**FACTS, **more}})
    line = parsed(stream)
    assert (line["event"], line["duration"], line["delay"]) == ("retry", 1.25, 60.0)
    assert line["error"] == "OSError: no answer"
    due = datetime.fromisoformat(line["next_at"]) - datetime.fromisoformat(line["time"])
    assert abs(due.total_seconds() - 60.0) <= 0.001


@pytest.mark.parametrize(
    "value", ["a\nb", "a\r\nb", "tab\there", "\x1b[31mred", "\u2028", "\ud800"]
)
def test_no_text_can_forge_a_second_line_or_a_colour(value: str) -> None:
    stream = text()
    log.info(
        "%s", value, extra={logs.FACTS: {**FACTS, "task_id": value, "type": value, "queue": value}}
    )
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    stream = as_json()
    log.info("%s", value)
    assert value.encode("utf-8", "backslashreplace").decode() == parsed(stream)["message"]


def test_one_line_leaves_readable_text_alone() -> None:
    assert one_line("größer → 日本語") == "größer → 日本語"
    assert one_line("a\nb\x00") == "a\\nb\\x00"


def work() -> None:
    """A handler of the user."""
    raise ValueError("v")


def called_by_qd(function: Callable[[], None]) -> Exception:
    """What `function` raises, when the outermost frame is one of qd, as it is for handlers."""
    code = compile("def call(f):\n    f()\n", logs._OWN_FRAMES + "runtime/fake.py", "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        space["call"](function)
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    return error


def test_a_traceback_is_cut_to_the_frames_behind_those_of_qd() -> None:
    error = called_by_qd(work)
    cut, full = own_traceback(error, full=False), own_traceback(error, full=True)
    assert "in work" in cut
    assert "fake.py" not in cut
    assert "fake.py" in full
    assert cut.count("Traceback") == 1
    assert cut.endswith("ValueError: v")


def test_an_error_that_comes_from_qd_alone_keeps_its_traceback() -> None:
    code = compile("def inner():\n    1 / 0\n", logs._OWN_FRAMES + "runtime/other.py", "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    assert "other.py" in own_traceback(called_by_qd(space["inner"]), full=False)


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_traceback_of_an_error_comes_with_its_line(form: str) -> None:
    stream = io.StringIO()
    logs.set_up("info", form, "", role="worker", stream=stream)
    log.error("failed", exc_info=called_by_qd(work))
    said = stream.getvalue() if form == "text" else parsed(stream)["traceback"]
    assert "in work" in said
    assert "fake.py" not in said


@pytest.mark.parametrize("form", ["text", "json"])
def test_debug_shows_the_whole_traceback(form: str) -> None:
    stream = io.StringIO()
    logs.set_up("debug", form, "", role="worker", stream=stream)
    log.error("failed", exc_info=called_by_qd(work))
    assert "fake.py" in stream.getvalue()


@pytest.mark.parametrize(
    ("terminal", "level", "shown"),
    [
        (True, "info", True),
        (True, "warning", False),
        (False, "info", False),
        (False, "debug", True),
    ],
)
def test_starts_of_tasks_are_shown_on_a_terminal_or_at_debug(
    terminal: bool, level: str, shown: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    logs.set_up(level, "auto", "", role="worker", stream=stream)
    logging.getLogger(logs.STARTS).info("start")
    assert ("start" in stream.getvalue()) == shown


def test_levels_hold_for_qd_and_libraries_speak_from_warning_on() -> None:
    stream = text()
    log.debug("hidden")
    log.info("shown")
    logging.getLogger("library").info("hidden")
    logging.getLogger("library").warning("a warning")
    assert [line.split("] ")[1] for line in stream.getvalue().splitlines()] == [
        "shown",
        "a warning",
    ]


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("error", 1)])
def test_the_level_of_the_settings_is_the_least_that_is_shown(level: str, shown: int) -> None:
    stream = as_json(level)
    for number in (10, 20, 30, 40):
        log.log(number, "x")
    assert len(stream.getvalue().splitlines()) == shown


def test_auto_is_text_in_colour_on_a_terminal_and_json_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    logs.set_up("info", "auto", "", role="worker", stream=terminal)
    log.error("x")
    assert terminal.getvalue().startswith("\x1b[31m")
    assert terminal.getvalue().endswith("\x1b[0m\n")
    logs.set_up("info", "auto", "", role="worker", stream=pipe)
    log.error("x")
    assert parsed(pipe)["message"] == "x"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", ""), ("TERM", "dumb")])
def test_colour_is_left_out_where_it_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    terminal = Terminal()
    logs.set_up("info", "auto", "", role="worker", stream=terminal)
    log.error("x")
    assert "\x1b" not in terminal.getvalue()


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    file = tmp_path / "qd.log"
    file.write_text("kept\n")
    logs.set_up("info", "text", str(file), role="worker")
    log.info("first")
    file.rename(tmp_path / "qd.log.1")
    log.info("second")
    assert [line.split("] ")[-1] for line in (tmp_path / "qd.log.1").read_text().splitlines()] == [
        "kept",
        "first",
    ]
    assert file.read_text().endswith("second\n")


def test_setting_up_again_replaces_what_was_there() -> None:
    first = text()
    second = text()
    log.info("x")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_details_stand_below_a_text_line_and_in_a_field_of_json() -> None:
    stream = text()
    log.error("import failed", extra={"details": "line 1\nline \x1b 2"})
    assert stream.getvalue().endswith("import failed\nline 1\nline \\x1b 2\n")
    stream = as_json()
    log.error("import failed", extra={"details": "line 1\nline 2"})
    assert parsed(stream)["details"] == "line 1\nline 2"
