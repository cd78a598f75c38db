"""Metrics and health of a running daemon, as a scraper sees them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.process.daemon import Daemon, workers_of
from tests.support.procs import Proc
from tests.support.wait import eventually

pytestmark = pytest.mark.process

Sample = tuple[str, tuple[tuple[str, str], ...]]


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


class Scraper:
    """A daemon with a monitor, and what it answers."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self.path = folder / "monitor.sock"
        self.proc: Proc = daemon.start()

    def get(self, page: str) -> tuple[int, str]:
        connection = UnixConnection(self.path)
        try:
            connection.request("GET", page)
            answer: HTTPResponse = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def samples(self) -> dict[Sample, float]:
        status, text = self.get("/metrics")
        assert status == 200
        return {
            (one.name, tuple(sorted(one.labels.items()))): one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples().get((name, tuple(sorted(labels.items()))), 0.0)

    def details(self, page: str) -> tuple[int, Any]:
        status, text = self.get(page)
        return status, json.loads(text)


@pytest.fixture
def scraper(daemon: Daemon, tmp_path: Path) -> Scraper:
    daemon.configure(monitor={"address": f"unix://{tmp_path}/monitor.sock", "high_backlog": 2})
    return Scraper(daemon, tmp_path)


def reaches(look: Callable[[], float], value: float) -> None:
    eventually(lambda: look() >= value, 20)
    assert look() == value


def test_ended_tasks_are_counted_over_all_processes(scraper: Scraper) -> None:
    for _ in range(20):
        scraper.daemon.enqueue("fine")
    scraper.daemon.enqueue("exit", max_retry=0)
    processed = "asynq_tasks_processed_total"
    reaches(lambda: scraper.value(processed, type="fine", status="success"), 20)
    reaches(lambda: scraper.value(processed, type="exit", status="dead"), 1)
    reaches(lambda: scraper.value(processed, queue="default"), 21)
    assert scraper.value("asynq_task_duration_seconds_count", type="fine") == 20
    assert scraper.value("asynq_task_latency_seconds_count", queue="default") == 21
    reaches(lambda: scraper.value("asynq_dead_tasks", queue="default"), 1)
    assert scraper.value("qd_process_starts_total", role="worker") == 2


def test_a_death_is_counted_and_what_the_dead_had_counted_stays(scraper: Scraper) -> None:
    scraper.daemon.enqueue("fine")
    reaches(lambda: scraper.value("asynq_tasks_processed_total", type="fine", status="success"), 1)
    held = scraper.daemon.enqueue("hold")
    victim = scraper.daemon.wait_for("start", held).pid
    os.kill(victim, signal.SIGKILL)
    cause = "killed by signal 9 (SIGKILL)"
    reaches(lambda: scraper.value("qd_worker_deaths_total", cause=cause), 1)
    assert scraper.value("qd_orphans_handed_back_total", outcome="put back") == 1
    reaches(lambda: scraper.value("qd_process_starts_total", role="worker"), 3)
    assert scraper.value("asynq_tasks_processed_total", type="fine", status="success") == 1
    scraper.daemon.let_go()


def test_an_outage_of_redis_turns_ready_red_and_leaves_health_green(scraper: Scraper) -> None:
    eventually(lambda: scraper.get("/readyz")[0] == 200, 10)
    scraper.daemon.server.stop()
    eventually(lambda: scraper.get("/readyz")[0] == 503, 20)
    assert "Redis" in scraper.details("/readyz")[1]["reasons"][0]
    status, health = scraper.details("/healthz")
    assert status == 200
    assert {one["role"] for one in health["processes"]} == {"worker", "scheduler"}
    assert scraper.value("qd_redis_up") == 0
    assert scraper.value("qd_redis_errors_total", kind="no answer") > 0
    scraper.daemon.server.start()
    eventually(lambda: scraper.get("/readyz")[0] == 200, 20)


def test_a_high_backlog_is_told(scraper: Scraper) -> None:
    scraper.daemon.enqueue("fine")
    scraper.daemon.inspector.queues.pause("default")
    for _ in range(3):
        scraper.daemon.enqueue("fine")

    def queue() -> Any:
        (found,) = scraper.details("/readyz")[1]["queues"]
        return found

    eventually(lambda: queue()["pending"] >= 3, 10)
    assert queue()["high_backlog"] is True
    assert queue()["paused"] is True


def test_a_killed_monitor_comes_back_on_the_same_address(scraper: Scraper) -> None:
    (line,) = scraper.proc.err.all(r"monitor \(pid \d+\) started")
    found = re.search(r"pid (\d+)", line)
    assert found
    monitor = int(found[1])
    assert monitor in workers_of(scraper.proc)
    os.kill(monitor, signal.SIGKILL)
    eventually(lambda: scraper.get("/healthz")[0] == 200, 20)
    assert monitor not in workers_of(scraper.proc)


def test_unknown_pages_name_those_that_exist(scraper: Scraper) -> None:
    status, text = scraper.get("/")
    assert status == 404
    assert "/metrics, /healthz, /readyz" in text


def test_the_socket_goes_with_the_daemon(scraper: Scraper) -> None:
    scraper.proc.signal(signal.SIGTERM)
    assert scraper.proc.wait(20) == 0
    assert not scraper.path.exists()
