"""The scripts of circuit breakers: what opens one, who may try, and what closes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.op import command
from qd.protocol.ops import breakers
from qd.protocol.ops.breakers import Answer, Ended, Rules, Shown
from qd.protocol.ops.limits import Member
from tests.support.servers import RedisServer
from tests.support.wait import eventually

RULES = Rules("sms", open=3600.0)
GOOD, BAD, NEITHER = Ended.SUCCESS, Ended.FAILURE, Ended.NEITHER


class Lab:
    def __init__(self, link: Link) -> None:
        self.link = link
        self._number = 0

    def ask(self, rules: Rules, *ids: str, key: str = "") -> list[float]:
        return self.link.execute(breakers.ask(rules, [member(one, key) for one in ids])).verdicts

    def end(self, rules: Rules, *how: Ended, key: str = "", task: str = "") -> Answer:
        ends = []
        for one in how:
            self._number += 1
            ends.append((member(task or f"run{self._number}", key), one))
        return self.link.execute(breakers.tell(rules, ends))

    def shown(self, key: str = "") -> Shown | None:
        found = self.link.execute(breakers.show("sms"))
        return next((one for one in found if one.key == key), None)


def member(task_id: str, key: str = "") -> Member:
    return Member(keys.task("q", task_id), key)


@pytest.fixture
def lab(server: RedisServer) -> Iterator[Lab]:
    link = open_link(parse_addresses([server.url]))
    yield Lab(link)
    link.close()


def test_it_opens_after_exactly_so_many_failures_in_a_row(lab: Lab) -> None:
    lab.end(RULES, *[BAD] * 4)
    assert lab.ask(RULES, "a") == [0]
    answer = lab.end(RULES, BAD)
    assert [(one.before, one.state) for one in answer.changes] == [("closed", "open")]
    (wait,) = lab.ask(RULES, "a")
    assert -3600 <= wait < -3500
    shown = lab.shown()
    assert shown is not None
    assert (shown.state, shown.failures, shown.waiting) == ("open", 5, 1)
    assert shown.since is not None
    assert shown.until == pytest.approx(shown.since + 3600)


def test_a_success_ends_the_row_and_leaves_nothing_behind(lab: Lab, server: RedisServer) -> None:
    lab.end(RULES, *[BAD] * 4, GOOD)
    with server.client() as raw:
        assert raw.keys("qd:{breaker:*") == []
    lab.end(RULES, *[BAD] * 4)
    assert lab.ask(RULES, "a") == [0]


def test_what_is_neither_counts_for_nothing(lab: Lab) -> None:
    lab.end(RULES, *[BAD] * 4, *[NEITHER] * 9)
    assert lab.end(RULES, BAD).changes


def test_each_key_has_a_state_of_its_own(lab: Lab) -> None:
    lab.end(RULES, *[BAD] * 5, key="voda")
    assert lab.ask(RULES, "a", key="voda")[0] < 0
    assert lab.ask(RULES, "b", key="tele") == [0]


def test_a_share_of_failures_opens_it_once_there_were_enough_runs(lab: Lab) -> None:
    rules = replace(RULES, failures=0, share=0.5, runs=10)
    for _ in range(4):
        assert not lab.end(rules, BAD, GOOD).changes
    assert not lab.end(rules, GOOD).changes
    assert lab.end(rules, BAD).changes
    assert lab.ask(RULES, "a")[0] < 0


def test_a_share_counts_in_its_window_only(lab: Lab, server: RedisServer) -> None:
    rules = replace(RULES, failures=0, share=0.5, runs=2)
    with server.client() as raw:
        for _ in range(9):
            assert not lab.end(rules, BAD).changes
            raw.hset("qd:{breaker:sms}:b:", "window", 1)
    lab.end(rules, BAD)
    assert lab.end(rules, BAD).changes


def open_(lab: Lab, *waiting: str) -> None:
    """Open it, let these tasks wait, and let the time be over."""
    lab.end(RULES, *[BAD] * 5)
    for one in waiting:
        assert lab.ask(RULES, one)[0] < 0
    state = keys.breaker_prefix("sms") + "b:"
    lab.link.execute(command("HSET", [state], ["until", 1], int))


def test_when_it_is_half_open_the_oldest_three_try_and_no_others(lab: Lab) -> None:
    """Even if those who came later ask first; and asked twice, a try stays one."""
    open_(lab, "a", "b", "c", "d", "e")
    assert lab.ask(RULES, "late")[0] < 0
    assert lab.ask(RULES, "d", "e")[0] < 0
    assert lab.ask(RULES, "c", "b", "a") == [1, 1, 1]
    assert lab.ask(RULES, "a") == [1]
    assert lab.ask(RULES, "d")[0] < 0
    shown = lab.shown()
    assert shown is not None
    assert (shown.state, shown.trying, shown.waiting) == ("half-open", 3, 3)


def test_those_far_behind_in_the_line_come_back_later(lab: Lab) -> None:
    """Three at a time, one opening after the other, and nobody later than 21 openings."""
    lab.end(RULES, *[BAD] * 5)
    waits = lab.ask(RULES, *[f"t{n}" for n in range(90)])
    turns = [round(-wait / 3600) for wait in waits]
    assert turns[:7] == [1, 1, 1, 2, 2, 2, 3]
    assert turns[-1] == 21


def test_two_successes_close_it_and_call_all_who_wait(lab: Lab) -> None:
    waiting = [f"w{n}" for n in range(250)]
    open_(lab, "a", "b", *waiting)
    lab.ask(RULES, "a", "b")
    first = lab.end(RULES, GOOD, task="a")
    assert not first.changes
    assert [one.task for one in first.called] == [member(n).task for n in ("w0", "w1")]
    answer = lab.end(RULES, GOOD, task="b")
    assert [(one.before, one.state) for one in answer.changes] == [("half-open", "closed")]
    called = list(answer.called)
    while found := lab.link.execute(breakers.call_next(RULES, [Member("", "")])).called:
        called += found
    assert called == [member(one) for one in waiting]
    assert lab.shown() is None


def test_one_failure_of_a_try_opens_it_again(lab: Lab) -> None:
    open_(lab, "a", "b")
    lab.ask(RULES, "a", "b")
    assert [one.state for one in lab.end(RULES, BAD, task="a").changes] == ["open"]
    assert not lab.end(RULES, GOOD, task="b").changes
    assert not lab.end(RULES, GOOD, GOOD).changes
    assert lab.ask(RULES, "b")[0] < 0


def test_runs_that_began_before_it_opened_count_for_nothing(lab: Lab) -> None:
    lab.end(RULES, *[BAD] * 5)
    assert not lab.end(RULES, *[GOOD] * 5, *[BAD] * 5).changes
    open_(lab, "a")
    assert lab.ask(RULES, "a") == [1]
    assert not lab.end(RULES, *[GOOD] * 5, *[BAD] * 5).changes


def test_a_try_that_says_nothing_makes_way_for_the_next(lab: Lab) -> None:
    open_(lab, "a", "b", "c", "d")
    lab.ask(RULES, "a", "b", "c")
    answer = lab.end(RULES, NEITHER, task="b")
    assert [one.task for one in answer.called] == [member("d").task]
    assert lab.ask(RULES, "d") == [1]


def test_a_try_that_nobody_renews_is_lost(lab: Lab, server: RedisServer) -> None:
    open_(lab, "a", "b", "c", "d")
    lab.ask(RULES, "a", "b", "c")
    assert lab.link.execute(breakers.renew("sms", [member("a"), member("d")])) == 1
    with server.client() as raw:
        raw.zadd("qd:{breaker:sms}:try:", {member("b").task: 1})
    assert lab.ask(RULES, "d") == [1]


def test_tasks_that_will_not_come_do_not_keep_the_others_back(lab: Lab) -> None:
    open_(lab, "gone1", "gone2", "gone3", "d")
    lab.ask(RULES, "late")
    gone = [member(f"gone{n}") for n in (1, 2, 3)]
    answer = lab.link.execute(breakers.call_next(RULES, gone))
    assert [one.task for one in answer.called] == [member("d").task, member("late").task]


def test_reset_closes_it_and_calls_those_who_wait(lab: Lab) -> None:
    open_(lab, "a", "b")
    answer = lab.link.execute(breakers.reset("sms", ""))
    assert [one.state for one in answer.changes] == ["closed"]
    assert len(answer.called) == 2
    assert lab.ask(RULES, "c") == [0]


def test_all_of_it_is_forgotten_after_a_while(lab: Lab, server: RedisServer) -> None:
    open_(lab, "a", "b", "c", "d")
    lab.ask(RULES, "a", "d")
    with server.client() as raw:
        found = {key.decode().rpartition("}:")[2]: raw.pttl(key) for key in raw.keys("qd:{b*")}
    assert set(found) == {"index", "b:", "try:", "line:"}
    assert all(ttl > 0 for name, ttl in found.items() if name != "index")


def test_it_is_half_open_when_its_time_is_over(lab: Lab) -> None:
    rules = replace(RULES, open=0.05)
    lab.end(rules, *[BAD] * 5)
    eventually(lambda: lab.ask(RULES, "a") == [1])


def test_a_full_server_is_no_obstacle(lab: Lab, server: RedisServer) -> None:
    """Tasks under it have been taken already: without an answer they would keep their slots."""
    lab.end(RULES, *[BAD] * 5)
    with server.configured(maxmemory="1"):
        assert lab.ask(RULES, "a")[0] < 0
    open_(lab)
    with server.configured(maxmemory="1"):
        assert lab.ask(RULES, "a") == [1]
        assert lab.link.execute(breakers.renew("sms", [member("a")])) == 1
