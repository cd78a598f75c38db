"""The application object: what user code declares, and what follows from it for its tasks."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from qd import App, Context, DuplicateTask
from qd.config.load import from_mapping
from qd.errors import BrokerUnavailable, ConfigError, QdError, UsageError
from qd.protocol import codec, keys
from qd.protocol.message import TaskMessage

MakeApp = Callable[..., App]


def stored(raw: redis.Redis, queue: str, task_id: str) -> TaskMessage:
    client: Any = raw
    return codec.decode_task(client.hget(keys.task(queue, task_id), "msg"))


def test_a_handle_enqueues_the_arguments_of_its_function(app: App, raw: redis.Redis) -> None:
    @app.task("email:send")
    async def send(to: str, subject: str = "hi", ctx: Context | None = None) -> None: ...

    info = send.enqueue("a@example.com", subject="hello")
    message = stored(raw, "default", info.id)
    assert (message.type, message.payload) == (
        "email:send",
        b'{"to":"a@example.com","subject":"hello"}',
    )


async def test_a_handle_enqueues_from_coroutines(app: App, raw: redis.Redis) -> None:
    @app.task("email:send")
    async def send(to: str) -> None: ...

    info = await send.aenqueue(to="a@example.com")
    assert stored(raw, "default", info.id).payload == b'{"to":"a@example.com"}'
    await app.client.aclose()


def test_a_handle_is_still_the_function(app: App) -> None:
    @app.task("add")
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    assert add(1, 2) == 3
    assert (add.__name__, add.__doc__, add.type) == ("add", "Add two numbers.", "add")
    assert repr(add) == "<task add>"


def test_arguments_that_the_function_does_not_take_are_refused_at_once(app: App) -> None:
    @app.task("add")
    def add(a: int) -> None: ...

    with pytest.raises(UsageError, match="add"):
        add.enqueue(b=1)
    assert app.stats().totals["size"] == 0


def test_options_of_a_handle_make_another_handle(app: App, raw: redis.Redis) -> None:
    @app.task("add", max_retry=3)
    def add(a: int) -> None: ...

    urgent = add.options(queue="high", timeout="5s")
    message = stored(raw, "high", urgent.options(max_retry=1).enqueue(a=1).id)
    assert (message.terms.max_retry, message.terms.timeout) == (1, 5)
    message = stored(raw, "default", add.enqueue(a=1).id)
    assert (message.terms.max_retry, message.terms.timeout) == (3, 1800)


def test_the_later_option_wins_decorator_then_configuration_then_call(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app(
        defaults={"max_retry": 9, "timeout": "9s", "retention": "9s"},
        tasks={"work": {"max_retry": 5, "queue": "configured"}},
    )

    @app.task("work", max_retry=3, timeout="3s", queue="decorated")
    def work() -> None: ...

    terms = stored(raw, "configured", work.enqueue().id).terms
    assert (terms.max_retry, terms.timeout, terms.retention) == (5, 3, 9)
    terms = stored(raw, "called", work.options(queue="called", max_retry=1).enqueue().id).terms
    assert (terms.max_retry, terms.timeout) == (1, 3)
    # By type alone as well, and by the builder.
    terms = stored(raw, "configured", app.client.enqueue("work").id).terms
    assert (terms.max_retry, terms.timeout) == (5, 3)
    terms = stored(raw, "built", app.new_task("work").queue("built").enqueue().id).terms
    assert (terms.max_retry, terms.timeout) == (5, 3)


def test_options_of_a_prefix_hold_for_the_types_below_it(app: App, raw: redis.Redis) -> None:
    app.register_handler("mail:", lambda: None, max_retry=2)
    assert stored(raw, "default", app.client.enqueue("mail:send").id).terms.max_retry == 2


def test_a_unique_task_is_refused_while_its_twin_waits(app: App) -> None:
    @app.task("work", unique="1h")
    def work(n: int) -> None: ...

    first = work.enqueue(n=1)
    with pytest.raises(DuplicateTask) as caught:
        work.enqueue(n=1)
    assert caught.value.holder == first.id
    assert work.enqueue(n=2).id


def test_the_prefix_of_the_configuration_is_put_before_queues(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app(queue_prefix="prod_")
    info = app.client.enqueue("work", queue="high")
    assert info.queue == "prod_high"
    assert stored(raw, "prod_high", info.id).terms.queue == "prod_high"


def test_settings_may_come_from_a_mapping_an_object_or_a_file(
    redis_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "qd.yaml"
    file.write_text(f"redis: {{addrs: ['{redis_url}']}}\nworker: {{concurrency: 7}}\n")
    flat = SimpleNamespace(redis_addrs=[redis_url], concurrency=7, unrelated=object())
    mapping = {"redis": {"addrs": [redis_url]}, "worker": {"concurrency": 7}}
    for app in (
        App(config=mapping),
        App(config=flat),
        App(config=from_mapping(mapping)),
        App.from_config(str(file)),
    ):
        assert app.settings.redis.addrs == (redis_url,)
        assert app.settings.worker.concurrency == 7
        assert app.client.enqueue("work").id
        app.close()


def test_without_a_configuration_the_environment_and_its_file_are_read(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qd.yaml").write_text("worker: {concurrency: 5}\n")
    monkeypatch.setenv("QD_REDIS__ADDRS", redis_url)
    app = App()
    assert app.settings.redis.addrs == (redis_url,)
    assert app.settings.worker.concurrency == 5


def test_a_bad_configuration_lists_all_problems_when_it_is_needed() -> None:
    app = App(config={"worker": {"concurrency": "many"}, "typo": 1})
    with pytest.raises(ConfigError) as caught:
        _ = app.settings
    assert len(caught.value.problems) == 2


def test_redis_switched_off_refuses_to_enqueue(make_app: MakeApp, redis_url: str) -> None:
    app = make_app(redis={"addrs": [redis_url], "enabled": False})
    with pytest.raises(ConfigError, match=r"redis\.enabled"):
        app.client.enqueue("work")


def test_production_refuses_to_enqueue_without_an_address(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app(environment="production", redis={"embedded_dir": str(tmp_path / "own")})
    with pytest.raises(ConfigError, match="production"):
        app.client.enqueue("work")
    assert not (tmp_path / "own").exists()


def test_a_server_that_is_not_there_is_an_error_of_qd(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(redis={"addrs": [f"unix://{tmp_path}/nobody"]})
    with pytest.raises(BrokerUnavailable, match="nobody"):
        app.client.enqueue("work")


def test_two_handlers_for_one_type_are_refused(app: App) -> None:
    app.register_handler("work", lambda: None)
    with pytest.raises(UsageError, match="two handlers"):
        app.task("work")(lambda: None)


def test_an_unknown_option_is_refused_with_a_suggestion(app: App) -> None:
    with pytest.raises(UsageError, match=r"Did you mean.*max_retry"):
        app.task("work", max_retrys=3)  # type: ignore[call-arg]


def test_a_schedule_that_cannot_be_read_is_refused_where_it_stands(app: App) -> None:
    with pytest.raises(UsageError, match="61 \\* \\* \\* \\*"):
        app.schedule("61 * * * *")
    with pytest.raises(UsageError, match="Nowhere"):
        app.schedule("@daily", timezone="Nowhere/City")


def test_two_schedules_need_two_names(app: App) -> None:
    @app.schedule("@daily")
    @app.task("report")
    def report() -> None: ...

    with pytest.raises(UsageError, match="two schedules are named 'report'"):
        app.schedule("@hourly")(report)
    app.schedule("@hourly", name="hourly report")(report)
    assert [(one.name, one.task_type) for one in app.schedules] == [
        ("report", "report"),
        ("hourly report", "report"),
    ]


def test_a_scheduled_function_becomes_a_task_of_its_own_name(app: App) -> None:
    @app.schedule("@every 1h", queue="low")
    async def cleanup() -> None: ...

    (declared,) = app.schedules
    assert declared.task_type == f"{__name__}.cleanup"
    assert app.router.find(declared.task_type) is not None
    assert declared.options.queue == "low"


def test_a_schedule_of_the_configuration_replaces_one_of_the_code(make_app: MakeApp) -> None:
    app = make_app(schedule={"report": {"spec": "@daily", "type": "report", "enabled": False}})

    @app.schedule("@hourly", name="report")
    @app.task("report")
    def report() -> None: ...

    (declared,) = app.schedules
    assert (declared.spec, declared.enabled, declared.source) == ("@daily", False, "config")


def test_stats_and_inspector_see_the_tasks(app: App) -> None:
    info = app.client.enqueue("work", queue="high")
    app.client.enqueue("work", queue="low", process_in="1h")
    overview = app.stats()
    assert (overview.totals["pending"], overview.totals["scheduled"]) == (1, 1)
    inspector = app.inspector()
    assert inspector.tasks.find(info.id).queue == "high"
    assert set(inspector.queues.names()) == {"high", "low"}


def test_asking_for_stats_again_and_again_keeps_one_connection(app: App, raw: redis.Redis) -> None:
    client: Any = raw
    app.stats()
    before = len(client.client_list())
    for _ in range(5):
        app.stats()
    gc.collect()
    assert len(client.client_list()) == before
    app.close()
    assert len(client.client_list()) == 1, "nothing but the test's own connection"


def test_a_closed_application_can_be_used_again(app: App) -> None:
    app.client.enqueue("work")
    app.close()
    assert app.client.enqueue("work").id


def test_many_items_are_enqueued_through_handles(app: App) -> None:
    @app.task("add")
    def add(a: int) -> None: ...

    results = app.client.enqueue_many([add.new(n) for n in range(5)])
    assert not [one for one in results if isinstance(one, QdError)]
    assert app.stats().totals["pending"] == 5


async def test_one_application_serves_several_loops_and_threads(app: App) -> None:
    async def enqueue() -> str:
        info = await app.client.aenqueue("work")
        await app.client.aclose()
        return info.id

    ids = [await asyncio.to_thread(asyncio.run, enqueue()) for _ in range(3)]
    assert len(set(ids)) == 3
