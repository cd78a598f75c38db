"""A link for synchronous code: shared by threads, carried over forks, used again after restarts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from qd.broker.connect import open_link
from qd.broker.endpoint import Endpoint
from qd.broker.link import Link, NodeLink
from qd.errors import BrokerRefused, BrokerUnavailable
from qd.protocol import keys
from qd.protocol.op import Op, command
from qd.protocol.ops import inspect_queues, locks, tasks
from tests.support.builders import new
from tests.support.servers import RedisServer
from tests.support.wait import eventually

CALL_TIMEOUT = 1.0


def echo(value: str) -> Op[bytes]:
    return command("ECHO", [], [value], bytes)


def client_ids(server: RedisServer) -> set[bytes]:
    """Who is connected, apart from the asker."""
    lines = server.command("CLIENT", "LIST").splitlines()
    return {line.split()[0] for line in lines if b"cmd=client|list" not in line}


def test_answers_come_in_the_order_of_the_operations(link: Link) -> None:
    assert link.execute_many([echo(str(n)) for n in range(200)]) == [
        str(n).encode() for n in range(200)
    ]


def test_nothing_is_sent_for_no_operations(link: Link) -> None:
    assert link.execute_many([]) == []


def test_a_script_the_server_has_forgotten_is_sent_again(
    link: Link, server: RedisServer, raw: redis.Redis
) -> None:
    raw.set(keys.lock("a"), "me")
    assert link.execute(locks.release("a", "me")) is True
    server.command("SCRIPT", "FLUSH")
    assert link.execute(locks.release("a", "me")) is False
    server.command("SCRIPT", "FLUSH")
    ops = [echo("1"), tasks.arm("mail"), locks.release("a", "me"), echo("2")]
    assert link.execute_many(ops) == [b"1", 0, False, b"2"]


def test_an_operation_of_a_pipeline_that_fails_does_not_keep_the_others_from_being_done(
    link: Link, raw: redis.Redis
) -> None:
    raw.set(keys.pending("broken"), "not a list")
    ops = [
        tasks.enqueue("broken", [new("t1", "broken")], now_ns=1),
        tasks.enqueue("mail", [new("t2")], now_ns=1),
    ]
    with pytest.raises(BrokerRefused, match="enqueue") as caught:
        link.execute_many(ops)
    assert "asynq:{broken}:pending is a string" in str(caught.value)
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"t2"]
    assert raw.exists(keys.task("broken", "t1")) == 0


def test_the_next_batch_is_made_while_the_server_works_on_the_one_before(
    link: Link, raw: redis.Redis
) -> None:
    link.execute(tasks.enqueue("other", [new("t", "other")], now_ns=1))  # the script is known

    def batches() -> Iterator[list[Op[Any]]]:
        for n in range(3):
            if n:
                eventually(lambda n=n: raw.llen(keys.pending("mail")) == n)
            yield [echo(str(n)), tasks.enqueue("mail", [new(f"t{n}")], now_ns=1)]

    answers = [[str(n).encode(), [None]] for n in range(3)]
    assert list(link.execute_in_turn(batches())) == answers


def test_batches_get_through_a_server_that_was_started_anew(
    link: Link, server: RedisServer
) -> None:
    def batches() -> Iterator[list[Op[Any]]]:
        for n in range(3):
            yield [echo(str(n)), tasks.enqueue("mail", [new(f"t{n}")], now_ns=1)]

    answers = [[str(n).encode(), [None]] for n in range(3)]
    assert list(link.execute_in_turn(batches())) == answers
    server.restart()
    assert list(link.execute_in_turn(batches())) == answers


def test_batches_that_are_not_made_to_the_end_leave_the_link_as_it_was(
    link: Link, raw: redis.Redis
) -> None:
    def batches() -> Iterator[list[Op[Any]]]:
        yield [echo("1")]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(link.execute_in_turn(batches()))
    assert link.execute(echo("2")) == b"2"
    raw.set(keys.pending("broken"), "not a list")
    ops = [[tasks.enqueue(queue, [new("t1", queue)], now_ns=1)] for queue in ("a", "broken", "b")]
    (first,), (refused,), (last,) = link.execute_in_turn(ops)
    assert isinstance(refused, BrokerRefused)
    assert first == last == [None]


def test_threads_share_a_link_and_never_an_answer(link: Link) -> None:
    def ask(thread: int) -> bool:
        return all(
            link.execute(echo(f"{thread}-{n}")) == f"{thread}-{n}".encode() for n in range(100)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_a_child_opens_a_connection_of_its_own(link: Link, server: RedisServer) -> None:
    link.execute(echo("parent"))
    mine = client_ids(server)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = link.execute(echo("child"))
            seen = client_ids(server)
            os.write(write, answer + b" " + b",".join(sorted(seen)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer, _, seen = os.read(read, 65536).partition(b" ")
    os.close(read)
    os.close(write)
    assert answer == b"child"
    assert mine < set(seen.split(b","))
    assert link.execute(echo("parent")) == b"parent"
    eventually(lambda: client_ids(server) == mine)


def test_a_paused_server_is_unavailable_within_the_call_timeout_and_then_works_again(
    link: Link, server: RedisServer
) -> None:
    link.execute(echo("x"))
    server.pause()
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        link.execute(echo("late"))
    assert time.monotonic() - began < CALL_TIMEOUT + 5
    server.resume()
    # The late answer belongs to a connection that was given up.
    assert link.execute(echo("x")) == b"x"


def test_a_connection_that_was_closed_while_idle_is_replaced_unnoticed(
    link: Link, server: RedisServer
) -> None:
    link.execute(echo("x"))
    server.restart()
    assert link.execute(echo("x")) == b"x"


def test_an_operation_that_is_not_safe_to_repeat_is_not_sent_again(
    link: Link, server: RedisServer
) -> None:
    link.execute(echo("x"))
    server.restart()
    with pytest.raises(BrokerUnavailable):
        link.execute(inspect_queues.resume("mail"))
    assert link.execute(inspect_queues.resume("mail")) is False


def test_a_server_that_is_gone_is_unavailable_and_found_again(
    link: Link, server: RedisServer
) -> None:
    link.execute(echo("x"))
    server.kill()
    with pytest.raises(BrokerUnavailable) as caught:
        link.execute(echo("x"))
    assert str(server.socket_path) in str(caught.value)
    assert caught.value.hint
    server.start()
    assert link.execute(echo("x")) == b"x"


def test_a_closed_link_opens_a_new_connection_when_it_is_used_again(
    link: Link, server: RedisServer
) -> None:
    link.execute(echo("x"))
    link.close()
    eventually(lambda: not client_ids(server))
    assert link.execute(echo("x")) == b"x"


def test_a_thread_that_is_waiting_does_not_keep_others_waiting(
    endpoint: Endpoint, server: RedisServer
) -> None:
    link = open_link(endpoint)
    waiting: Op[object] = command("BLPOP", [keys.lock("none")], [0.5], lambda reply: reply)
    thread = threading.Thread(target=link.execute, args=(waiting,))
    thread.start()
    eventually(lambda: b"cmd=blpop" in server.command("CLIENT", "LIST"))
    assert link.execute(echo("x")) == b"x"
    assert b"cmd=blpop" in server.command("CLIENT", "LIST")
    thread.join()
    link.close()


def test_a_link_names_the_command_and_the_place_in_its_errors(
    endpoint: Endpoint, raw: redis.Redis
) -> None:
    link = open_link(endpoint)
    assert isinstance(link, NodeLink)
    raw.set(keys.pending("mail"), "not a list")
    with pytest.raises(BrokerRefused) as caught:
        link.execute(tasks.enqueue("mail", [new("t1")], now_ns=1))
    assert str(caught.value).startswith("enqueue: Redis at unix://")
    assert "A key of the queue holds something else" in caught.value.hint
    link.close()
