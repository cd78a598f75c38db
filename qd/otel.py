"""
Traces with OpenTelemetry: a span for each enqueue and each run (extra `qd[otel]`).

    from qd.otel import instrument

    instrument(app)

The trace context travels in the task's headers (W3C `traceparent`, `tracestate`), where Go programs
find it as well. Every run of a task belongs to the trace of its enqueue; a retry also links to the run
before. Payloads are never recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

try:
    from opentelemetry import trace
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("qd.otel needs OpenTelemetry: pip install 'qd[otel]'") from error

from qd.app.app import App
from qd.errors import TaskDirective
from qd.handlers.context import Context
from qd.handlers.middleware import CallNext
from qd.handlers.task import Task

PREVIOUS_RUN = "qd-previous-run"
"""The header in which a run leaves its own `traceparent` for the next one."""

_w3c = TraceContextTextMapPropagator()


def instrument(app: App, provider: TracerProvider | None = None) -> None:
    """
    Trace what *app* enqueues and runs; call it once, before the first task.

    *provider*: the global one unless given. Set it up in each process, in `@app.on_startup` say: an
    exporter's thread does not survive a fork.
    """
    tracer = trace.get_tracer("qd", tracer_provider=provider)

    @contextmanager
    def around(task_type: str, count: int) -> Iterator[Mapping[str, str]]:
        facts: dict[str, str | int] = {**_SYSTEM, "messaging.batch.message_count": count}
        with tracer.start_as_current_span(
            f"enqueue {task_type}", kind=SpanKind.PRODUCER, attributes=facts
        ):
            headers: dict[str, str] = {}
            _w3c.inject(headers)
            yield headers

    async def run(ctx: Context, task: Task, call_next: CallNext) -> Any:
        with tracer.start_as_current_span(
            f"run {task.type}",
            context=_w3c.extract(ctx.headers),
            kind=SpanKind.CONSUMER,
            attributes=_facts(ctx),
            links=_link_to_previous(ctx),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            own: dict[str, str] = {}
            _w3c.inject(own)
            ctx.carry(PREVIOUS_RUN, own.get("traceparent", ""))
            try:
                return await call_next(ctx, task)
            except BaseException as error:
                # A directive such as Snooze is how a handler steers, not a fault.
                if not isinstance(error, TaskDirective):
                    span.record_exception(error)
                    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                span.set_attribute("qd.outcome", type(error).__name__)
                raise

    app.around_enqueue(around)
    app.middleware(run)


_SYSTEM = {"messaging.system": "asynq"}


def _facts(ctx: Context) -> dict[str, str | int]:
    return {
        **_SYSTEM,
        "messaging.destination.name": ctx.queue,
        "messaging.message.id": ctx.task_id,
        "qd.task.type": ctx.task_type,
        "qd.task.attempt": ctx.attempt,
    }


def _link_to_previous(ctx: Context) -> list[Link]:
    before = _w3c.extract({"traceparent": ctx.headers.get(PREVIOUS_RUN, "")})
    span = trace.get_current_span(before).get_span_context()
    return [Link(span)] if span.is_valid else []
