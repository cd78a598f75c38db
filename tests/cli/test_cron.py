"""`qd cron`: what schedulers publish, what Redis keeps, and what an operator does with it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from qd import App
from qd.client.declared import from_json
from qd.handlers.options import TaskOptions
from qd.protocol import keys
from qd.protocol.ops.cron import entry_id
from tests.cli.conftest import Cli, Store
from tests.support.wait import eventually

HOUR = 3600


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def last_hours(count: int) -> list[int]:
    """The last full hours, the earliest first."""
    latest = int(time.time()) // HOUR * HOUR
    return [latest - HOUR * n for n in reversed(range(count))]


# --- ls ---


def test_ls_shows_what_a_scheduler_of_asynq_publishes(cli: Cli, store: Store) -> None:
    assert "No scheduler is alive" in cli("cron", "ls").err
    due = store.entry("nightly", "0 3 * * *")
    row = cli("cron", "ls").lines[1]
    assert row.split()[:2] == ["nightly", "ok"]
    assert 'Queue("low")' in row
    (entry,) = cli("cron", "ls", "--json").json["entries"]
    assert (entry["name"], entry["source"], entry["missed"]) == ("nightly", "asynq", None)
    assert at(entry["next"]) == due


def test_ls_shows_next_as_of_now_and_the_last_tick_with_its_lateness(
    cli: Cli, store: Store
) -> None:
    (tick,) = last_hours(1)
    entry = store.periodic(
        "hourly", "@every 1h", missed="once", overlap="skip", jitter=30.0, source="config"
    )
    store.decided("hourly", tick, late=0.004)
    before = time.time()
    (shown,) = cli("cron", "ls", "--json").json["entries"]
    assert shown["id"] == entry
    assert at(shown["next"]) == before // HOUR * HOUR + HOUR
    assert at(shown["prev"]) == tick
    assert shown["late"] == pytest.approx(0.004, abs=0.001)
    assert (shown["source"], shown["queue"], shown["hosts"]) == ("config", "low", ["web-1"])
    row = cli("cron", "ls").lines[1]
    assert "missed once, overlap skip, jitter 30s" in row
    assert " 4ms " in row


def test_ls_shows_an_added_entry_that_no_scheduler_knows(cli: Cli) -> None:
    assert "No scheduler knows it yet" in cli("cron", "add", "n", "@daily", "report").err
    (shown,) = cli("cron", "ls", "--json").json["entries"]
    assert (shown["name"], shown["state"], shown["source"]) == ("n", "no scheduler", "runtime")
    assert shown["next"] is None


def test_ls_shows_only_entries_of_the_own_prefix(cli: Cli, store: Store) -> None:
    store.periodic("hourly", "@every 1h")
    found = cli("cron", "ls", "--json", "--set", "queue_prefix=prod_").json["entries"]
    assert found == []


# --- next ---


def test_next_counts_the_times_from_the_spec(cli: Cli, store: Store) -> None:
    due = store.entry("hourly", "@every 1h")
    found = cli("cron", "next", "hourly", "--count", "2", "--json").json["times"]
    assert [one["id"] for one in found] == ["hourly", "hourly"]
    assert [at(one["at"]) for one in found] == [due, due + 3600]
    assert len(cli("cron", "next", "--count", "5").lines) == 6
    assert 'Did you mean "hourly"?' in cli("cron", "next", "hourli", code=3).err


def test_next_days_is_a_calendar_in_order(cli: Cli, store: Store) -> None:
    store.periodic("six-hourly", "0 */6 * * *", timezone="Europe/Lisbon")
    found = cli("cron", "next", "--days", "7", "--json").json["times"]
    assert len(found) in (27, 28, 29)
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    assert at(found[-1]["at"]) <= time.time() + 7 * 86_400
    cut = cli("cron", "next", "--days", "7", "--count", "5")
    assert len(cut.lines) == 6
    assert "only the first 5 times" in cut.err


def test_next_marks_what_changes_of_the_clock_do(cli: Cli, store: Store) -> None:
    """Within a year, every zone with summer time has one of each."""
    store.periodic("night", "30 2 * * *", timezone="Europe/Berlin")
    notes = {
        one["note"] for one in cli("cron", "next", "--days", "366", "--json").json["times"]
    } - {""}
    assert notes == {
        "02:30 does not exist: due at 03:00", "comes twice: due the first time only",
    }  # fmt: skip
    store.periodic("night", "30 2 * * *", timezone="Europe/Berlin", dst="asynq")
    found = cli("cron", "next", "--days", "366", "--json").json["times"]
    swallowed = [one for one in found if not one["due"]]
    assert [one["note"] for one in swallowed] == ["02:30 does not exist: not due"]
    assert {one["note"] for one in found if one["due"]} == {
        "", "comes twice: first time", "comes twice: second time",
    }  # fmt: skip


def test_next_shows_nothing_outside_of_the_limits_of_an_entry(cli: Cli, store: Store) -> None:
    store.periodic("over", "@hourly", end=datetime(2020, 1, 1, tzinfo=UTC))
    assert cli("cron", "next", "--json").json["times"] == []
    (shown,) = cli("cron", "ls", "--json").json["entries"]
    assert shown["next"] is None


# --- history ---


def test_history_shows_the_latest_first(cli: Cli, store: Store) -> None:
    store.entry("nightly", "@daily")
    assert cli("cron", "history", "nightly").err == "It has not fired yet.\n"
    store.fired("nightly", "t1")
    store.fired("nightly", "t2")
    found = cli("cron", "history", "nightly", "--json").json
    assert {one["task_id"] for one in found["events"]} == {"t1", "t2"}
    assert len(cli("cron", "history", "nightly", "--limit", "1").lines) == 2
    cli("cron", "history", "nope", code=3)


def test_history_is_found_by_name_with_or_without_a_scheduler(cli: Cli, store: Store) -> None:
    store.fired(entry_id("", "gone"), "t0")
    assert "t0" in cli("cron", "history", "gone").out
    store.fired(store.periodic("alive", "@daily"), "t1")
    assert "t1" in cli("cron", "history", "alive").out


# --- run, pause, resume ---


def test_run_enqueues_the_task_of_the_entry_with_its_options(cli: Cli, store: Store) -> None:
    options = TaskOptions(queue="low", max_retry=2, process_in=60.0)
    store.periodic("nightly", "@daily", payload=b'{"a":1}', options=options)
    done = cli("cron", "run", "nightly", "--json").json["done"][0]
    task = store.raw.hgetall(keys.task("low", done["id"]))
    assert task[b"state"] == b"pending"
    assert done["id"].startswith("cron:nightly:run:")
    assert cli("task", "show", done["id"], "--json").json["task"]["max_retry"] == 2
    assert done["id"] in cli("cron", "history", "nightly").out
    assert cli("cron", "run", "nightly", "--json").json["done"][0]["id"] != done["id"]


def test_run_refuses_what_only_go_can_enqueue_and_what_nobody_knows(cli: Cli, store: Store) -> None:
    store.entry("foreign", "@daily")
    assert "belongs to a scheduler of Go" in cli("cron", "run", "foreign", code=1).err
    assert 'no periodic task "nope"' in cli("cron", "run", "nope", code=3).err
    cli("cron", "add", "lonely", "@daily", "report")
    assert "no live scheduler knows lonely" in cli("cron", "run", "lonely", code=1).err


def test_pause_and_resume_say_whether_anything_changed(cli: Cli, store: Store) -> None:
    store.periodic("nightly", "@daily")
    assert "nightly is paused." in cli("cron", "pause", "nightly").out
    assert "was paused before" in cli("cron", "pause", "nightly").out
    (shown,) = cli("cron", "ls", "--json").json["entries"]
    assert (shown["state"], shown["next"]) == ("paused", None)
    assert cli("cron", "next", "--json").json["times"] == []
    assert "nightly is running." in cli("cron", "resume", "nightly").out
    assert "was running before" in cli("cron", "resume", "nightly").out


# --- backfill ---


def test_backfill_enqueues_the_missed_ticks_once(cli: Cli, store: Store) -> None:
    hours = last_hours(5)
    store.periodic("hourly", "@every 1h")
    for tick in (hours[1], hours[4]):
        store.decided("hourly", tick)
    start = datetime.fromtimestamp(hours[0], UTC).isoformat()
    plan = cli("cron", "backfill", "hourly", "--from", start, "--dry-run", "--json").json
    missed = [hours[0], hours[2], hours[3]]
    assert [at(one["tick"]) for one in plan["ticks"]] == missed
    assert plan["enqueued_before"] == 2
    assert store.raw.llen(keys.pending("low")) == 2
    assert (
        "Enqueue 3 tasks of hourly?"
        in cli("cron", "backfill", "hourly", "--from", start, code=5).err
    )
    done = cli("cron", "backfill", "hourly", "--from", start, "-y", "--json").json
    assert (done["done"], done["refused"]) == (3, [])
    pending = [one.decode() for one in store.raw.lrange(keys.pending("low"), 0, 2)]
    expected = [
        f"cron:hourly:{datetime.fromtimestamp(one, UTC):%Y-%m-%dT%H:%M:%SZ}" for one in missed
    ]
    assert pending[::-1] == expected
    again = cli("cron", "backfill", "hourly", "--from", start, "-y", "--json").json
    assert (again["done"], again["enqueued_before"]) == (0, 5)


def test_backfill_refuses_a_tick_whose_task_still_exists(cli: Cli, store: Store) -> None:
    hours = last_hours(3)
    entry = store.periodic("hourly", "@every 1h")
    store.decided("hourly", hours[1])
    store.decided("hourly", hours[2])
    store.raw.delete(keys.scheduler_history(entry))
    start = datetime.fromtimestamp(hours[0], UTC).isoformat()
    done = cli("cron", "backfill", "hourly", "--from", start, "-y", code=4)
    assert "enqueued 1 task" in done.out
    assert "is in use" in done.err


def test_backfill_leaves_ticks_that_nobody_decided_to_the_schedulers(
    cli: Cli, store: Store
) -> None:
    hours = last_hours(5)
    store.periodic("hourly", "@every 1h")
    store.decided("hourly", hours[1])
    start = datetime.fromtimestamp(hours[0], UTC).isoformat()
    plan = cli("cron", "backfill", "hourly", "--from", start, "--dry-run", "-o", "plain").lines
    assert len(plan) == 1


def test_backfill_refuses_more_than_ten_thousand_ticks(cli: Cli, store: Store) -> None:
    store.periodic("often", "@every 1s")
    wrong = cli("cron", "backfill", "often", "--from", "2026-01-01T00:00:00Z", code=2).err
    assert "more than 10,000 times" in wrong


# --- add, rm ---


def test_add_keeps_an_entry_with_all_its_options(cli: Cli, store: Store) -> None:
    words = "add n 0\t3\t*\t*\t* report a=1 --timezone Europe/Lisbon --missed all --overlap skip"
    more = "--jitter 30s --dst asynq --start 2030-01-01T00:00:00Z --end 2031-01-01T00:00:00Z"
    task = "--queue low --max-retry 3 --timeout 5m --unique 1h --retention 1d --header t=x"
    arguments = [one.replace("\t", " ") for one in f"{words} {more} {task}".split(" ")]
    done = cli("cron", *arguments)
    assert "Added n: due 2030-01-01T03:00:00Z" in done.out
    (shown,) = cli("cron", "ls", "--json").json["entries"]
    assert {name: shown[name] for name in ("missed", "overlap", "jitter", "dst", "timezone")} == {
        "missed": "all", "overlap": "skip", "jitter": 30, "dst": "asynq",
        "timezone": "Europe/Lisbon",
    }  # fmt: skip
    assert shown["payload"] == {"a": 1}
    assert (shown["start"], shown["end"]) == ("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
    assert "Changed n" in cli("cron", "add", "n", "@daily", "report", "-q", "low").out
    assert "Removed n." in cli("cron", "rm", "n").out
    cli("cron", "rm", "n", code=3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("61 * * * *", "report"), "61 is above the maximum 59"),
        (("@daily", "report", "--timezone", "Nowhere/City"), "unknown time zone"),
        (("@daily", "report", "--jitter", "30"), "30s"),
        (("@daily", "report", "{no json"), "is not JSON"),
        (("@daily", "report", "--start", "2030-01-01"), "no time zone"),
    ],
)
def test_add_refuses_what_no_scheduler_could_use(
    cli: Cli, store: Store, words: tuple[str, ...], message: str
) -> None:
    assert message in cli("cron", "add", "n", *words, code=2).err
    assert not store.raw.exists(keys.schedule(""))


def test_add_in_place_of_a_declared_entry_says_so_and_keeps_its_queue(
    cli: Cli, store: Store
) -> None:
    store.periodic("nightly", "@daily", source="config")
    wrong = cli("cron", "add", "nightly", "@hourly", "report", "-q", "high", code=1).err
    assert "is in the queue low, and would change to high" in wrong
    done = cli("cron", "add", "nightly", "@hourly", "report")
    assert "stands in for the entry of this name in the configuration" in done.err
    (document,) = store.raw.hvals(keys.schedule(""))
    assert from_json(document).options.queue == "low"


def test_rm_refuses_a_declared_entry_and_says_what_to_do(cli: Cli, store: Store) -> None:
    store.periodic("nightly", "@daily", source="code")
    wrong = cli("cron", "rm", "nightly", code=3).err
    assert "declared in the code" in wrong
    assert "qd cron pause nightly" in wrong


# --- with a scheduler that runs ---


@pytest.fixture
def app(redis_url: str) -> Any:
    app = App("cron", config={"redis": {"addrs": [redis_url]}})

    @app.schedule("@every 1s", name="declared", payload={"n": 1})
    @app.task("tick")
    async def tick(n: int) -> None:
        await asyncio.sleep(0)

    app.start()
    yield app
    app.stop()
    app.close()


def entries(cli: Cli) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in cli("cron", "ls", "--json").json["entries"]}


def test_a_running_scheduler_takes_over_what_the_command_line_changes(cli: Cli, app: App) -> None:
    eventually(lambda: entries(cli).get("declared", {}).get("prev"), within=10)
    assert "No scheduler knows" not in cli("cron", "add", "extra", "@every 1s", "tick", "n=2").err
    eventually(lambda: entries(cli)["extra"]["prev"], within=10)
    assert entries(cli)["extra"]["source"] == "runtime"
    assert entries(cli)["declared"]["source"] == "code"
    cli("cron", "rm", "extra")
    eventually(lambda: "extra" not in entries(cli), within=10)
    cli("cron", "pause", "declared")
    run = cli("cron", "run", "declared", "--json").json["done"][0]["id"]
    assert run in cli("cron", "history", "declared").out
