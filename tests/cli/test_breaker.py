"""`qd breaker`: which are open, who waits behind them, and closing one by hand."""

from __future__ import annotations

import time

import pytest

from qd import jsoncodec
from qd.protocol import keys
from qd.protocol.ops import breakers
from qd.protocol.ops.breakers import Ended, Rules
from qd.protocol.ops.limits import Member
from tests.cli.conftest import Cli, Store

SMS = Rules("sms", open=3600.0)


@pytest.fixture
def broken(store: Store) -> Store:
    """A breaker that is open for one channel, with a parked task, and has two failures of another."""
    document = {"types": ["sms:*"], "key": "payload.channel"}
    store.link.execute(breakers.publish({"sms": jsoncodec.dumps(document)}))
    ends = [(Member(f"x{n}", "voda"), Ended.FAILURE) for n in range(5)]
    ends += [(Member(f"y{n}", "tele"), Ended.FAILURE) for n in range(2)]
    store.link.execute(breakers.tell(SMS, ends))
    task = store.task("sms:send", task_id="held", process_in="1h")
    store.link.execute(breakers.ask(SMS, [Member(keys.task("default", task.id), "voda")]))
    waits = jsoncodec.dumps(["breaker", "sms", "voda"])
    store.raw.hset(keys.task("default", task.id), "qd_waits", waits)
    return store


def test_ls_shows_what_is_not_at_rest(cli: Cli, broken: Store) -> None:
    found = cli("breaker", "ls", "--json").json
    assert found["schema"] == "qd.breaker.ls/1"
    tele, voda = found["breakers"]
    assert (tele["key"], tele["state"], tele["failures"]) == ("tele", "closed", 2)
    assert (voda["key"], voda["state"], voda["failures"]) == ("voda", "open", 5)
    assert (voda["waiting"], voda["types"], tele["until"]) == (1, ["sms:*"], None)
    table = cli("breaker", "ls", "-o", "table").out
    assert "voda" in table
    assert "open" in table


def test_a_breaker_at_rest_is_shown_as_closed(cli: Cli, store: Store) -> None:
    store.link.execute(breakers.publish({"sms": b"{}"}))
    [one] = cli("breaker", "ls", "--json").json["breakers"]
    assert (one["name"], one["key"], one["state"]) == ("sms", "", "closed")


def test_without_breakers_it_says_where_they_stand(cli: Cli) -> None:
    assert "configuration" in cli("breaker", "ls").err


def test_why_says_which_breaker_holds_a_task_back_and_until_when(cli: Cli, broken: Store) -> None:
    text = " ".join(cli("task", "why", "held", "-o", "table").out.split())
    assert "held back by the breaker sms for voda, which is open since" in text
    assert "after 5 failures" in text
    assert cli("task", "why", "held", "--json").json["why"]["reasons"][0]["code"] == "breaker"


def test_reset_closes_one_key_and_brings_its_tasks_back(cli: Cli, broken: Store) -> None:
    done = cli("breaker", "reset", "sms", "--key", "voda", "--json").json
    assert done["keys"] == ["voda"]
    left = cli("breaker", "ls", "--json").json["breakers"]
    assert [one["key"] for one in left] == ["tele"]
    assert broken.raw.lrange(keys.pending("default"), 0, -1) == [b"held"]


def test_reset_closes_all_keys_and_can_be_repeated(cli: Cli, broken: Store) -> None:
    assert cli("breaker", "reset", "sms", "--json").json["keys"] == ["tele", "voda"]
    assert cli("breaker", "reset", "sms", "--json").json["keys"] == []
    assert not broken.raw.keys("qd:{breaker:sms}:[bl]*")


def test_reset_brings_back_however_many_wait(cli: Cli, broken: Store) -> None:
    members = []
    for number in range(350):
        broken.raw.hset(
            keys.task("default", f"w{number}"),
            mapping={"state": "scheduled", "qd_waits": "x", "msg": "x"},
        )
        broken.raw.zadd(keys.scheduled("default"), {f"w{number}": time.time() + 3600})
        members.append(Member(keys.task("default", f"w{number}"), "voda"))
    broken.link.execute(breakers.ask(SMS, members))
    cli("breaker", "reset", "sms")
    assert broken.raw.llen(keys.pending("default")) == 351
    assert broken.raw.lindex(keys.pending("default"), -1) == b"held"


def test_an_unknown_breaker_is_not_found(cli: Cli, broken: Store) -> None:
    assert 'no breaker "sma"' in cli("breaker", "reset", "sma", code=3).err
