"""The dashboard and the alert rules that ship ask for what a running daemon serves."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from tests.process.daemon import Daemon
from tests.process.test_monitor import Sample, Scraper
from tests.support.wait import eventually

CONFIG = Path(__file__).parents[2] / "config"
BY_PROMETHEUS = {"job", "instance"}
"""Labels that a scraper adds."""

pytestmark = pytest.mark.process


def rules() -> dict[str, str]:
    document = yaml.safe_load((CONFIG / "prometheus/qd.rules.yml").read_text())
    return {rule["alert"]: rule["expr"] for group in document["groups"] for rule in group["rules"]}


def panels() -> dict[str, str]:
    document = json.loads((CONFIG / "grafana/qd.json").read_text())
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "5m")
        for panel in document["panels"]
        for target in panel["targets"]
    }


def selectors(node: Any) -> Iterator[Any]:
    """All metrics that an expression asks for."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs"):
        part = getattr(node, name, None)
        if part is not None:
            yield from selectors(part)
    for part in getattr(node, "args", None) or ():
        yield from selectors(part)


def test_every_expression_is_promql() -> None:
    for name, expression in (rules() | panels()).items():
        assert list(selectors(promql.parse(expression))), name


def test_every_alert_says_what_and_what_to_do() -> None:
    document = yaml.safe_load((CONFIG / "prometheus/qd.rules.yml").read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]


def test_what_they_ask_for_is_served(daemon: Daemon, tmp_path: Path) -> None:
    daemon.configure(monitor={"address": f"unix://{tmp_path}/monitor.sock"})
    scraper = Scraper(daemon, tmp_path)
    # One of each: an end, a death with a task handed back, an outage.
    daemon.enqueue("exit", max_retry=0)
    held = daemon.enqueue("hold")
    os.kill(daemon.wait_for("start", held).pid, signal.SIGKILL)
    eventually(lambda: served(scraper.samples(), "qd_worker_deaths_total"), 20)
    daemon.server.stop()
    eventually(lambda: scraper.value("qd_redis_errors_total", kind="no answer"), 20)
    daemon.server.start()
    # The server came back empty.
    daemon.enqueue("fine")
    processed = "asynq_tasks_processed_total"
    eventually(lambda: scraper.value(processed, type="fine", status="success"), 20)
    eventually(lambda: served(scraper.samples(), "asynq_queue_size"), 20)
    daemon.let_go()

    samples = scraper.samples()
    for name, expression in (rules() | panels()).items():
        for selector in selectors(promql.parse(expression)):
            labels = served(samples, selector.name)
            assert labels, f"{name}: nothing serves {selector.name}"
            asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
            by = re.findall(r"by \(([^)]*)\)", expression)
            asked |= {label.strip() for group in by for label in group.split(",")}
            assert asked <= set().union(*labels) | BY_PROMETHEUS, name


def served(samples: dict[Sample, float], name: str) -> list[set[str]]:
    """The labels of each sample of this name."""
    return [{label for label, _ in labels} for one, labels in samples if one == name]
