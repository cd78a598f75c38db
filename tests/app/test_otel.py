"""Traces: one for an enqueue and all that follows from it."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from qd import App, Snooze
from qd.client.client import NewEnqueue
from qd.handlers.context import Context
from qd.otel import instrument
from qd.protocol.state import TaskState
from tests.app.conftest import MakeApp
from tests.support.wait import eventually


class Traced:
    """An application that is traced, and its spans."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        instrument(app, provider)

    def spans(self, name: str) -> Sequence[ReadableSpan]:
        return [one for one in self._exporter.get_finished_spans() if one.name == name]

    def wait(self, name: str, count: int = 1) -> Sequence[ReadableSpan]:
        def enough() -> Sequence[ReadableSpan] | None:
            found = self.spans(name)
            return found if len(found) >= count else None

        found = eventually(enough, 15)
        assert found
        return found


def traced(make_app: MakeApp) -> Traced:
    return Traced(make_app(queues={"default": 1}, retry={"initial": "1s"}))


def test_a_run_is_a_child_of_its_enqueue_and_what_it_enqueues_a_child_of_the_run(
    make_app: MakeApp,
) -> None:
    one = traced(make_app)

    @one.app.task("first")
    async def first() -> None:
        await one.app.client.aenqueue("second")

    @one.app.task("second")
    def second() -> None: ...

    one.app.start()
    one.app.client.enqueue("first")
    (last,) = one.wait("run second")
    ((enqueue,), (run,), (inner,)) = map(one.wait, ("enqueue first", "run first", "enqueue second"))
    assert enqueue.parent is None
    assert enqueue.kind is SpanKind.PRODUCER
    assert run.kind is SpanKind.CONSUMER
    for child, parent in ((run, enqueue), (inner, run), (last, inner)):
        assert child.parent is not None
        assert child.parent.span_id == parent.get_span_context().span_id
        assert child.get_span_context().trace_id == enqueue.get_span_context().trace_id
    assert run.attributes is not None
    assert run.attributes["messaging.destination.name"] == "default"
    assert run.attributes["qd.task.attempt"] == 1


def test_a_retry_is_in_the_same_trace_and_links_to_the_run_before(make_app: MakeApp) -> None:
    one = traced(make_app)

    @one.app.task("flaky")
    async def flaky(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("not yet")

    one.app.start()
    one.app.client.enqueue("flaky", headers={"user": "7"})
    failed, repeated = one.wait("run flaky", 2)
    assert failed.status.status_code is StatusCode.ERROR
    assert [event.name for event in failed.events] == ["exception"]
    assert failed.links == ()
    (link,) = repeated.links
    assert link.context.span_id == failed.get_span_context().span_id
    assert repeated.parent == failed.parent
    assert repeated.status.status_code is StatusCode.UNSET


def test_steering_is_no_error(make_app: MakeApp) -> None:
    one = traced(make_app)

    @one.app.task("later")
    async def later() -> None:
        raise Snooze(60)

    one.app.start()
    one.app.client.enqueue("later")
    (run,) = one.wait("run later")
    assert run.status.status_code is StatusCode.UNSET
    assert run.attributes is not None
    assert run.attributes["qd.outcome"] == "Snooze"


def test_whatever_way_a_task_is_enqueued_its_span_has_its_type(make_app: MakeApp) -> None:
    one = traced(make_app)

    @one.app.task("mail")
    def mail(n: int) -> None: ...

    mail.enqueue(1)
    one.app.new_task("mail").payload({"n": 2}).enqueue()
    one.app.client.enqueue("mail", {"n": 3})
    one.app.client.enqueue_many([mail.new(4), mail.new(5)])
    spans = one.wait("enqueue mail", 4)
    assert [dict(span.attributes or {})["messaging.batch.message_count"] for span in spans] == [
        1,
        1,
        1,
        2,
    ]


def test_many_tasks_of_one_call_share_its_span(make_app: MakeApp) -> None:
    one = traced(make_app)
    one.app.client.enqueue_many([NewEnqueue("a"), NewEnqueue("b")])
    (span,) = one.wait("enqueue many")
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 2
    headers = {
        dict(view.headers)["traceparent"]
        for view in one.app.inspector().tasks.iterate("default", TaskState.PENDING)
    }
    (parent,) = headers
    assert f"{span.get_span_context().span_id:016x}" in parent
