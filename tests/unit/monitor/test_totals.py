"""Reports of many processes add up, and what a dead one had counted stays."""

from __future__ import annotations

import json

from qd.monitor.totals import Totals
from qd.observability import tally
from qd.observability.tally import DURATIONS, LONGEST_REPORT, OTHER, Tally

LIVING = {1, 2}


def totals_of(*tallies: tuple[int, Tally], now: float = 0.0) -> Totals:
    totals = Totals(lambda pid: pid in LIVING)
    for pid, one in tallies:
        for report in one.take(pid=pid, role="worker", lag=0.0):
            totals.add(report, now)
    return totals


def counted(name: str, *labels: str, by: int = 1) -> Tally:
    one = Tally()
    one.add(name, *labels, by=by)
    return one


def test_counts_of_all_processes_are_summed() -> None:
    totals = totals_of(
        (1, counted(tally.PROCESSED, "mail", "success", by=3)),
        (2, counted(tally.PROCESSED, "mail", "success", by=4)),
        (2, counted(tally.PROCESSED, "mail", "dead")),
    )
    assert totals.counts() == {
        (tally.PROCESSED, "mail", "success"): 7,
        (tally.PROCESSED, "mail", "dead"): 1,
    }


def test_each_report_holds_only_what_is_new() -> None:
    one = counted(tally.DEATHS, "signal 9")
    totals = totals_of((1, one), (1, one))
    assert totals.counts() == {(tally.DEATHS, "signal 9"): 1}


def test_durations_fall_into_the_first_bucket_that_holds_them() -> None:
    one = Tally()
    for seconds in (0.005, 0.0051, 7200.0):
        one.observe(tally.DURATION, "mail", seconds)
    (cells,) = totals_of((1, one)).timed().values()
    *buckets, total = cells
    assert len(buckets) == len(DURATIONS) + 1
    assert [index for index, count in enumerate(buckets) if count] == [0, 1, len(DURATIONS)]
    assert total == 0.005 + 0.0051 + 7200.0


def test_a_dead_process_is_forgotten_and_its_counts_are_kept() -> None:
    totals = totals_of((3, counted(tally.DEATHS, "signal 9")), (1, Tally()))
    assert {one.pid for one in totals.processes(now=1.0)} == {1, 3}
    assert {one.pid for one in totals.processes(now=10.0)} == {1}
    assert totals.counts() == {(tally.DEATHS, "signal 9"): 1}
    assert totals.starts == {"worker": 2}


def test_more_than_a_datagram_holds_is_sent_in_parts() -> None:
    one = Tally()
    for number in range(900):
        one.add(tally.ENQUEUED, "q" * 100, str(number))
    reports = one.take(pid=1, role="worker", lag=0.0)
    assert len(reports) > 1
    assert max(map(len, reports)) <= LONGEST_REPORT
    assert sum(len(json.loads(report)["new"]) for report in reports) == 900


def test_producers_cannot_make_labels_without_end() -> None:
    one = Tally()
    labels = {one.type_label(f"type-{number}") for number in range(1000)}
    assert OTHER in labels
    assert len(labels) == 201
    assert one.type_label("type-1") == "type-1"
