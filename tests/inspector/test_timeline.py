"""The way of tasks, read back: in order, by task, by trace, as it comes, and with gaps where there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import redis
from msgspec.structs import replace

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from qd.errors import BrokerRefused
from qd.inspector.inspector import Inspector
from qd.inspector.timeline import UNSEEN, Choice, Transition
from qd.protocol import keys
from qd.protocol.ops import endings, tasks, upkeep
from qd.protocol.ops.endings import Ending
from qd.protocol.state import TaskState
from qd.protocol.timeline import Timeline
from tests.support.builders import DAY, NOW, NOW_NS, OWNER, Queue, held, message, new
from tests.support.server_groups import ClusterServers

KEEP = Timeline(keep=3600, most=10_000, header="traceparent")


@pytest.fixture
def noting(redis_url: str) -> Iterator[Link]:
    """A link that keeps a timeline; `link` is one that does not, as a Go server's."""
    with closing(open_link(replace(parse_addresses([redis_url]), timeline=KEEP))) as link:
        yield link


def way(found: list[Transition]) -> list[str]:
    return [f"{one.before or 'new'} > {one.after or 'gone'} ({one.step})" for one in found]


def announced(link: Link, *names: str) -> list[Queue]:
    link.execute(tasks.announce(names))
    return [Queue(link, name) for name in names]


def fail(link: Link, retried: int, queue: str = "mail") -> None:
    end = Ending(held("t1")[0], message=message("t1", queue, retried=retried, error="no"), at=NOW)
    link.execute(endings.retry(queue, OWNER, [end], day=DAY, now=NOW))


def due(link: Link, queue: str = "mail") -> None:
    link.execute(upkeep.forward(queue, TaskState.RETRY, now_ns=NOW_NS + 10**10, limit=10))


def test_a_task_is_found_in_any_queue_and_after_it_is_gone(
    inspector: Inspector, noting: Link
) -> None:
    mail, _ = announced(noting, "mail", "low")
    mail.done(mail.hold("t1"))
    found = inspector.timeline.of_task("t1")
    assert way(found) == [
        "new > pending (enqueue)",
        "pending > active (dequeue)",
        "active > gone (done)",
    ]
    assert found[0].as_dict().keys() == {
        "at", "queue", "task_id", "type", "from", "to", "step", "attempt", "user", "host", "pid", "reason",
        "next_at", "trace_id",
    }  # fmt: skip
    assert abs(found[0].at - datetime.now(UTC)) < timedelta(minutes=5) if found[0].at else False
    assert inspector.timeline.of_task("t1", ["low"]) == []
    assert inspector.timeline.of_task("t2") == []


def test_what_others_have_moved_is_shown_as_unseen(
    inspector: Inspector, link: Link, noting: Link
) -> None:
    mail, _ = announced(noting, "mail", "low")
    mail.enqueue("t1")
    Queue(link).take(nonce="1")
    assert way(inspector.timeline.of_task("t1"))[1:] == ["pending > active (unseen)"]
    fail(noting, 1)
    assert way(inspector.timeline.of_task("t1")) == [
        "new > pending (enqueue)",
        "pending > active (unseen)",
        "active > retry (retry)",
    ]
    due(noting)
    # A whole run of another leaves nothing but a greater number.
    Queue(link).take(nonce="2")
    fail(link, 2)
    due(link)
    mail.take(nonce="3")
    mail.done(held("t1"))
    found = inspector.timeline.of_task("t1")
    assert way(found)[3:] == [
        "retry > pending (forward)",
        "pending > pending (unseen)",
        "pending > active (dequeue)",
        "active > gone (done)",
    ]
    assert [one.attempt for one in found if one.step == "dequeue"] == [3]
    unseen = [one for one in found if one.step == UNSEEN]
    assert {(one.at, one.attempt, one.host, one.pid) for one in unseen} == {(None, None, "", None)}


def test_who_begins_late_does_not_know_the_beginning(
    inspector: Inspector, link: Link, noting: Link
) -> None:
    announced(link, "mail")
    Queue(link).enqueue("t1")
    Queue(noting).take()
    found = inspector.timeline.of_task("t1")
    assert way(found) == ["new > pending (unseen)", "pending > active (dequeue)"]
    assert "not known" in found[0].reason


def test_a_trace_goes_through_queues_in_the_order_of_time(
    inspector: Inspector, noting: Link
) -> None:
    mail, low = announced(noting, "mail", "low")
    headers = (("traceparent", "request-1"),)
    mail.enqueue(new("t1", headers=headers), new("other"))
    low.enqueue(new("t2", "low", headers=headers))
    mail.take()
    # The same id, in another trace.
    mail.enqueue(new("t2", headers=(("traceparent", "request-2"),)))
    found = inspector.timeline.of_trace("request-1")
    assert [(one.queue, one.task_id, one.after) for one in found if one.queue == "mail"] == [
        ("mail", "t1", "pending"),
        ("mail", "t1", "active"),
    ]
    assert [(one.task_id, one.after) for one in found if one.queue == "low"] == [("t2", "pending")]
    assert [one.at for one in found] == sorted(one.at for one in found if one.at)
    assert inspector.timeline.of_trace("request-3") == []


def test_the_latest_come_last_and_are_chosen_before_they_are_counted(
    inspector: Inspector, noting: Link
) -> None:
    mail, low = announced(noting, "mail", "low")
    for n in range(1400):
        (mail if n % 2 else low).enqueue(f"t{n}")
    reader = inspector.timeline
    assert [one.task_id for one in reader.recent(["low"], limit=2)] == ["t1396", "t1398"]
    # Which of two queues was first within a millisecond is not known.
    everything = reader.recent()
    assert {one.task_id for one in everything} == {f"t{n}" for n in range(1400)}
    assert [one.at for one in everything] == sorted(one.at for one in everything if one.at)
    assert reader.recent(limit=3) == everything[-3:]
    mail.take(2)
    found = reader.recent(choice=Choice(states=frozenset({"active"})), limit=1)
    assert [one.task_id for one in found] == ["t3"]
    since = everything[300].at
    assert since is not None
    found = reader.recent(choice=Choice(since=since))
    assert everything[300] in found
    assert all(one.at is not None and one.at >= since for one in found)


def follow_two_queues(link: Link) -> None:
    """The second of them is there only later."""
    (first,) = announced(link, "first")
    first.enqueue("before")
    following = Inspector(link).timeline.follow(wait=0.05)
    assert next(following) == []
    first.enqueue("t1")
    assert [one.task_id for one in next(following)] == ["t1"]
    (second,) = announced(link, "second")
    second.enqueue("t2")
    first.take(2)
    seen: list[tuple[str, str | None]] = []
    for batch in following:
        seen += [(one.task_id, one.after) for one in batch]
        if len(seen) >= 3:
            break
    assert sorted(seen) == [("before", "active"), ("t1", "active"), ("t2", "pending")]
    since = Choice(since=datetime.now(UTC) - timedelta(minutes=5))
    assert len(next(Inspector(link).timeline.follow(choice=since))) == 5


def test_what_comes_is_told_once_also_of_new_queues(noting: Link) -> None:
    follow_two_queues(noting)


def test_before_there_is_any_queue_following_waits(noting: Link) -> None:
    following = Inspector(noting).timeline.follow(wait=0.01)
    assert next(following) == []
    (mail,) = announced(noting, "mail")
    mail.enqueue("t1")
    assert [one.task_id for batch in (next(following), next(following)) for one in batch] == ["t1"]


def test_what_somebody_else_has_written_stops_nobody(
    noting: Link, raw: redis.Redis, inspector: Inspector
) -> None:
    (mail,) = announced(noting, "mail")
    following = inspector.timeline.follow(wait=0.05)
    assert next(following) == []
    raw.xadd(keys.events("mail"), {"some": "thing"})
    raw.xadd(keys.events("mail"), {str(n): "x" for n in range(10)})
    assert [one.step for one in next(following)] == ["unreadable"] * 2
    mail.enqueue("t1")
    assert [one.task_id for one in next(following)] == ["t1"]
    assert len(inspector.timeline.recent()) == 3
    raw.delete(keys.events("mail"))
    raw.set(keys.events("mail"), "x")
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        inspector.timeline.recent()


def test_it_is_the_same_on_a_cluster(cluster: ClusterServers) -> None:
    endpoint = replace(parse_addresses(cluster.addrs), timeline=KEEP)
    with closing(open_link(endpoint)) as link:
        follow_two_queues(link)
        reader = Inspector(link).timeline
        assert way(reader.of_task("t1")) == [
            "new > pending (enqueue)",
            "pending > active (dequeue)",
        ]
        assert len(reader.recent()) == 5
        Queue(link, "second").enqueue(new("t3", "second", headers=(("traceparent", "x"),)))
        assert [one.task_id for one in reader.of_trace("x")] == ["t3"]


def test_a_queue_that_is_removed_takes_its_timeline_along(
    inspector: Inspector, noting: Link
) -> None:
    mail, low = announced(noting, "mail", "low")
    mail.enqueue(new("t1", headers=(("traceparent", "x"),)))
    low.enqueue(new("t2", "low", headers=(("traceparent", "x"),)))
    inspector.queues.remove("mail", force=True)
    assert [one.task_id for one in inspector.timeline.of_trace("x")] == ["t2"]
    assert inspector.timeline.of_task("t1", ["mail"]) == []
