"""The lines between a child and its parent."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qd.supervisor.child import (
    ChildRole,
    Link,
    Report,
    ReportKind,
    inbox_line,
    parse_report,
)
from qd.supervisor.running import RunningTable

# The smallest that POSIX systems have in practice; a longer write may be torn.
PIPE_BUF = 4096
count = st.integers(min_value=0, max_value=2**63)
short_text = st.text(max_size=300)

reports = st.one_of(
    st.sampled_from(
        [ReportKind.BOOTING, ReportKind.RECYCLE, ReportKind.STOPPING, ReportKind.STOP_ALL]
    ).map(Report),
    st.builds(Report, st.just(ReportKind.READY), identity=short_text),
    st.builds(
        Report,
        st.just(ReportKind.TICK),
        busy=count,
        done=count,
        waiting=st.none() | st.booleans(),
    ),
    st.builds(
        Report, st.just(ReportKind.BOOT_FAILED), exit_code=st.integers(0, 255), message=short_text
    ),
)


@given(reports)
def test_report_arrives_as_it_was_sent(report: Report) -> None:
    line = report.encode()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert parse_report(line[:-1]) == report


@given(st.text(min_size=1000).map(lambda text: text * 20))
def test_long_message_is_cut_so_that_its_line_is_written_whole(text: str) -> None:
    line = Report(ReportKind.BOOT_FAILED, message=text, exit_code=2).encode()
    assert len(line) <= PIPE_BUF
    report = parse_report(line[:-1])
    assert report is not None
    assert text.startswith(report.message)
    assert len(report.message) > 100


@given(st.binary())
def test_garbage_is_no_report_and_no_error(line: bytes) -> None:
    parse_report(line)


@pytest.mark.parametrize(
    "line", [b"", b"hello", b"tick", b"tick\t1", b"tick\tx\t1\t", b"ready", b"boot_failed\tx\ty"]
)
def test_line_that_is_not_whole_is_no_report(line: bytes) -> None:
    assert parse_report(line) is None


def test_inbox_line_keeps_its_fields_apart() -> None:
    assert inbox_line("orphan", "a\tb", "exit\ncode 1") == b"orphan\ta b\texit code 1\n"


def test_link_never_raises_when_the_parent_is_gone_or_does_not_read() -> None:
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK)
    link = Link(ChildRole.WORKER, write_fd, lifeline_fd=-1, inbox_fd=-1, running=RunningTable())
    for _ in range(20_000):
        link.tick(busy=1, done=2)
    with pytest.raises(BlockingIOError):
        os.write(write_fd, b"x" * 100)
    os.close(read_fd)
    link.report_ready("somebody")
    os.close(write_fd)
    link.stopping()
