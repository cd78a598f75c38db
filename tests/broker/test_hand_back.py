"""hand_back: what a dead worker held is put back at once; what has killed two is archived."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerRefused
from qd.protocol import codec, constants, keys
from qd.protocol.ops import upkeep
from tests.property.asynq_proto import TaskMessage as AsynqMessage
from tests.support.builders import DAY, NOW, NOW_NS, OWNER, UNTIL, Queue, message, new
from tests.support.servers import RedisServer
from tests.support.snapshot import snapshot


def hand_back(
    link: Link, *running: str, owner: str = OWNER, killed: bool = False
) -> tuple[list[str], list[str]]:
    return link.execute(
        upkeep.hand_back(
            "mail",
            owner,
            running=[keys.task("mail", one) for one in running],
            cause="signal 9",
            killed=killed,
            day=DAY,
            now_ns=NOW_NS,
        )
    )


def test_what_was_only_held_is_as_if_it_had_never_been_taken(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    queue.hold("t1")
    raw.delete(keys.fetch("mail", OWNER))
    assert hand_back(link) == (["t1"], [])
    assert snapshot(raw) == {
        "asynq:{mail}:pending": ["t1"],
        "asynq:{mail}:t:t1": {
            "msg": message("t1"),
            "state": b"pending",
            "pending_since": str(NOW_NS).encode(),
        },
    }


def test_the_oldest_is_the_next_to_run_before_all_that_waits(queue: Queue, link: Link) -> None:
    queue.hold("a", "b", "c")
    queue.enqueue("new")
    hand_back(link, "a", "c")
    taken = queue.take(9, nonce="n2")
    assert taken is not None
    assert [(one.id, one.deaths) for one in taken] == [("a", 1), ("b", 0), ("c", 1), ("new", 0)]


def test_that_somebody_killed_its_worker_is_forgiven_a_task_once(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    queue.hold("t1")
    for killed in range(constants.POISON_DEATHS_IN_COMPANY):
        deaths = str(killed).encode() if killed else None
        assert hand_back(link, "t1", killed=True) == (["t1"], [])
        assert raw.hget(keys.task("mail", "t1"), "qd_deaths") == deaths
        queue.take(1, nonce=f"n{killed}")
    assert hand_back(link, "t1", killed=True) == ([], ["t1"])


class Killings:
    """Processes that are killed one after the other; the task `bad` was running in each, and others."""

    def __init__(self, queue: Queue, link: Link) -> None:
        self._queue = queue
        self._link = link
        self._count = 0

    def kill(self, *company: str, with_bad: bool = True, at: int = NOW) -> list[str]:
        """One more; returns what was archived for it."""
        self._count += 1
        owner = f"w{self._count}"
        self._queue.take(9, nonce=owner, owner=owner)
        running = [*(["bad"] if with_bad else []), *company]
        step = upkeep.hand_back(
            "mail",
            owner,
            running=[keys.task("mail", one) for one in running],
            cause="signal 9",
            killed=True,
            day=DAY,
            now_ns=at * 10**9,
        )
        return self._link.execute(step)[1]


@pytest.fixture
def killings(queue: Queue, link: Link) -> Killings:
    queue.enqueue("bad", "a", "b")
    return Killings(queue, link)


def test_a_task_that_was_all_alone_in_the_two_that_were_killed_is_archived(
    killings: Killings, raw: redis.Redis
) -> None:
    assert [killings.kill(), killings.kill()] == [[], ["bad"]]
    assert raw.hget(keys.task("mail", "bad"), "qd_deaths") == b"2"


def test_in_company_it_takes_a_third_alone(killings: Killings) -> None:
    assert [killings.kill("a"), killings.kill("a", "b"), killings.kill()] == [[], [], ["bad"]]


def test_company_is_never_blamed_for_kills(killings: Killings) -> None:
    assert [killings.kill("a") for _ in range(4)] == [[]] * 4


@pytest.mark.parametrize("stranger", [["a"], []])
def test_while_others_are_killed_too_it_is_a_stranger(
    killings: Killings, stranger: list[str]
) -> None:
    assert killings.kill() == []
    assert killings.kill(*stranger, with_bad=False) == []
    assert [killings.kill(), killings.kill()] == [[], []]


def test_kills_more_than_a_minute_apart_say_nothing(killings: Killings) -> None:
    assert [killings.kill(at=NOW + 61 * n) for n in range(4)] == [[]] * 4


def test_the_second_death_archives_a_task_counts_it_as_failed_and_says_why(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    queue.enqueue(new("bad", retried=3, error="of an earlier attempt"), "held")
    queue.take(2, nonce="n1")
    assert hand_back(link, "bad") == (["held", "bad"], [])
    queue.take(2, nonce="n2")
    assert hand_back(link, "bad") == (["held"], ["bad"])
    stored = raw.hgetall(keys.task("mail", "bad"))
    written = stored.pop(b"msg")
    assert stored == {b"state": b"archived", b"qd_deaths": b"2", b"qd_cause": b"signal 9"}
    said = message("bad", retried=3, error="worker died: signal 9", last_failed_at=NOW)
    assert codec.decode_task(written) == codec.decode_task(said)
    # And to asynq's own reader.
    assert AsynqMessage.FromString(written) == AsynqMessage.FromString(said)
    for counter in ("processed", "failed"):
        assert (
            raw.get(f"asynq:{{mail}}:{counter}")
            == raw.get(f"asynq:{{mail}}:{counter}:{DAY}")
            == b"1"
        )
    assert raw.zrange(keys.archived("mail"), 0, -1, withscores=True) == [(b"bad", NOW)]
    assert raw.exists(keys.active("mail"), keys.lease("mail")) == 0


def test_a_task_of_the_same_id_in_another_queue_is_not_blamed(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    queue.hold("t1")
    step = upkeep.hand_back(
        "mail", OWNER, running=[keys.task("sms", "t1")], cause="", day=DAY, now_ns=NOW_NS
    )
    assert link.execute(step) == (["t1"], [])
    assert raw.hget(keys.task("mail", "t1"), "qd_deaths") is None


def test_other_workers_keep_theirs(queue: Queue, link: Link, raw: redis.Redis) -> None:
    queue.hold("mine")
    queue.hold("other", owner="worker-2")
    assert hand_back(link, "mine", "other") == (["mine"], [])
    assert raw.hget(keys.task("mail", "other"), "state") == b"active"


def test_what_a_go_server_has_taken_over_is_left_to_it(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    """It leaves the field of the owner before it in place; its leases are longer than ours."""
    queue.hold("t1")
    raw.zadd(keys.lease("mail"), {"t1": NOW + 30})
    before = snapshot(raw)
    assert hand_back(link, "t1") == ([], [])
    assert snapshot(raw) == before


def test_it_is_safe_to_repeat(queue: Queue, link: Link, raw: redis.Redis) -> None:
    queue.hold("t1")
    hand_back(link, "t1")
    before = snapshot(raw)
    assert hand_back(link, "t1") == ([], [])
    assert snapshot(raw) == before


def test_one_odd_task_does_not_keep_the_others(queue: Queue, link: Link, raw: redis.Redis) -> None:
    queue.hold("not a hash", "odd count", "t1")
    raw.delete(keys.task("mail", "not a hash"))
    raw.set(keys.task("mail", "not a hash"), "x")
    raw.hset(keys.task("mail", "odd count"), "qd_deaths", "x")
    assert hand_back(link, "odd count", "t1") == (["t1", "odd count"], [])


@pytest.mark.parametrize("name", ["pending", "active", "lease", "archived"])
def test_a_key_of_another_type_leaves_everything_untouched(
    queue: Queue, link: Link, raw: redis.Redis, name: str
) -> None:
    queue.hold("t1")
    key = f"asynq:{{mail}}:{name}"
    raw.delete(key)
    raw.set(key, "something else")
    before = snapshot(raw)
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        hand_back(link, "t1")
    assert snapshot(raw) == before


def test_a_full_server_is_no_obstacle(queue: Queue, link: Link, server: RedisServer) -> None:
    queue.hold("t1", until=UNTIL)
    with server.configured(maxmemory="1"):
        assert hand_back(link, "t1") == (["t1"], [])
