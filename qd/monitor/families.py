"""
The metrics: names, labels, explanations, and where each value comes from.

Three kinds share a page. What asynq's exporter (x/metrics) shows of queues has its names, labels and
values. What is counted by the processes of this daemon has the names that dashboards of asynq
programs commonly use; two of those are taken by the exporter, so `asynq_tasks_processed_total` and
`asynq_tasks_enqueued_total` hold samples of both, told apart by their labels. What only qd knows
begins with `qd_`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct
from prometheus_client import generate_latest
from prometheus_client.core import Metric

from qd.inspector.views import QueueView
from qd.monitor.backlog import Backlog
from qd.monitor.totals import Process, Totals
from qd.observability import tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STATES = ("active", "pending", "scheduled", "retry", "archived", "completed")
"""As in asynq's exporter, which leaves out those in groups."""

_OF_QUEUES = {
    "asynq_queue_size": "Tasks in a queue, in all states.",
    "asynq_queue_latency_seconds": "How long the next pending task of a queue has been waiting.",
    "asynq_queue_memory_usage_approx_bytes": "Memory a queue takes in Redis, estimated from a sample.",
    "asynq_queue_paused_total": "1 if a queue is paused.",
    "asynq_active_tasks": "Tasks that workers hold.",
    "asynq_pending_tasks": "Tasks that wait for a worker.",
    "asynq_scheduled_tasks": "Tasks that wait for their time.",
    "asynq_retry_tasks": "Failed tasks that wait for their next attempt.",
    "asynq_dead_tasks": "Dead-letter tasks.",
    "qd_aggregating_tasks": "Tasks that wait in groups.",
    "qd_orphaned_tasks": "Active tasks whose lease has run out.",
    "qd_queue_pressure": "Level of a bounded queue: 0 ok, 1 warning, 2 critical.",
    "qd_queue_lateness_seconds": "How long ago the first scheduled task or retry of a queue was due.",
}

_LEVELS = {"warning": 1, "critical": 2}

_COUNTED = {
    tally.HANDED_BACK: (("outcome",), "Tasks of dead workers that were put back, or archived."),
    tally.DEATHS: (("cause",), "Worker processes that died."),
    tally.ACTIONS: (("action",), "What the scheduler process has done with tasks."),
    tally.BREAKERS: (("breaker", "state"), "Circuit breakers that opened, half-opened or closed."),
    tally.REDIS_ERRORS: (("kind",), "Calls that Redis refused or did not answer."),
}
_TIMED = {
    tally.DURATION: ("type", "How long handlers ran."),
    tally.LATENCY: ("queue", "How long tasks were pending before a worker took them."),
}


class Scene(Struct, frozen=True):
    """All that one page of metrics shows."""

    totals: Totals
    processes: Sequence[Process]
    backlog: Backlog
    ready: bool


def page(scene: Scene) -> bytes:
    """Return the page in Prometheus' text format."""
    return generate_latest(_Page(scene))


class _Page:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def collect(self) -> Iterator[Metric]:
        counts = self._scene.totals.counts()
        queues = self._scene.backlog.queues
        yield _processed(queues, counts)
        yield _enqueued(queues, counts)
        yield _family(
            "asynq_tasks_failed_total",
            "counter",
            "Failed attempts; by queue, of all workers.",
            (({"queue": one.name}, one.failed_total) for one in queues),
        )
        yield _family(
            "qd_tasks_without_room_total",
            "counter",
            "New tasks that found their queue full, and what became of them.",
            (
                ({"queue": one.name, "outcome": outcome}, getattr(one, outcome))
                for one in queues
                for outcome in ("refused", "dropped")
            ),
        )
        yield from self._of_queues()
        for name, (labels, explained) in _COUNTED.items():
            yield _family(name, "counter", explained, _samples(counts, name, labels))
        for name, (label, explained) in _TIMED.items():
            yield _histogram(name, label, explained, self._scene.totals)
        yield from self._of_processes()

    def _of_queues(self) -> Iterator[Metric]:
        metrics = {name: Metric(name, text, "gauge") for name, text in _OF_QUEUES.items()}
        for one in self._scene.backlog.queues:
            values = (
                one.size,
                one.latency,
                one.memory or 0,
                int(one.paused),
                one.active,
                one.pending,
                one.scheduled,
                one.retry,
                one.archived,
                one.aggregating,
                one.orphaned,
                _LEVELS.get(one.pressure, 0),
                self._scene.backlog.lateness.get(one.name, 0.0),
            )
            for (name, metric), value in zip(metrics.items(), values, strict=True):
                metric.add_sample(name, {"queue": one.name}, value)
        yield from metrics.values()

    def _of_processes(self) -> Iterator[Metric]:
        processes = self._scene.processes
        workers = [one for one in processes if one.role == "worker"]
        lags: dict[str, float] = {}
        for one in processes:
            lags[one.role] = max(lags.get(one.role, 0.0), one.lag)
        alone = {
            "asynq_active_workers": ("Worker processes of this daemon.", len(workers)),
            "asynq_system_health": ("1 if /readyz is green.", int(self._scene.ready)),
            "qd_redis_up": ("1 if Redis answers.", int(not self._scene.backlog.error)),
            "qd_slots": (
                "Tasks that the workers can run at a time.",
                sum(w.slots for w in workers),
            ),
            "qd_slots_busy": ("Tasks they are running.", sum(w.busy for w in workers)),
        }
        for name, (explained, value) in alone.items():
            yield _family(name, "gauge", explained, [({}, value)])
        yield _family(
            "qd_loop_lag_seconds",
            "gauge",
            "How late the event loop last was; the worst process of each role.",
            (({"role": role}, lag) for role, lag in lags.items()),
        )
        yield _family(
            "qd_process_starts_total",
            "counter",
            "Processes started, restarts included; by role.",
            (({"role": role}, count) for role, count in self._scene.totals.starts.items()),
        )


Samples = Iterable[tuple[dict[str, str], float]]


def _family(name: str, kind: str, explained: str, samples: Samples) -> Metric:
    metric = Metric(name.removesuffix("_total") if kind == "counter" else name, explained, kind)
    for labels, value in samples:
        metric.add_sample(name, labels, value)
    return metric


def _samples(
    counts: dict[tuple[str, ...], int], name: str, labels: Sequence[str]
) -> Iterator[tuple[dict[str, str], float]]:
    for key, count in counts.items():
        if key[0] == name:
            yield dict(zip(labels, key[1:], strict=True)), count


def _processed(queues: Sequence[QueueView], counts: dict[tuple[str, ...], int]) -> Metric:
    metric = _family(
        tally.PROCESSED,
        "counter",
        "Ended attempts; by queue, of all workers, or by type and status, of this daemon.",
        (({"queue": one.name}, one.processed_total) for one in queues),
    )
    for labels, count in _samples(counts, tally.PROCESSED, ("type", "status")):
        metric.add_sample(tally.PROCESSED, labels, count)
    return metric


def _enqueued(queues: Sequence[QueueView], counts: dict[tuple[str, ...], int]) -> Metric:
    metric = _family(
        tally.ENQUEUED,
        "gauge",
        "Tasks in a queue by state; or by type, how many the handlers of this daemon have enqueued.",
        (
            ({"queue": one.name, "state": state}, getattr(one, state))
            for one in queues
            for state in _STATES
        ),
    )
    for labels, count in _samples(counts, tally.ENQUEUED, ("queue", "type")):
        metric.add_sample(tally.ENQUEUED, labels, count)
    return metric


def _histogram(name: str, label: str, explained: str, totals: Totals) -> Metric:
    metric = Metric(name, explained, "histogram")
    for (observed, value), cells in totals.timed().items():
        if observed != name:
            continue
        *buckets, seconds = cells
        total = 0.0
        for bound, count in zip((*tally.DURATIONS, "+Inf"), buckets, strict=True):
            total += count
            metric.add_sample(f"{name}_bucket", {label: value, "le": str(bound)}, total)
        metric.add_sample(f"{name}_count", {label: value}, total)
        metric.add_sample(f"{name}_sum", {label: value}, seconds)
    return metric
