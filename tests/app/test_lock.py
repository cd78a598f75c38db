"""Named locks between processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import pytest
import redis

import qd
from qd import App
from qd.errors import TimedOut, UsageError
from tests.support.procs import running
from tests.support.wait import eventually

MakeApp = Callable[..., App]

HOLDER = """
import os, sys, qd
app = qd.App("holder", config={"redis": {"addrs": [os.environ["ADDRESS"]]}})
lock = qd.lock("poll", os.environ["TTL"], app=app)
print("acquired", lock.acquire(wait=5), flush=True)
for line in sys.stdin:
    print(line.strip(), getattr(lock, line.strip())(), flush=True)
"""

TRY = """
import os, qd
app = qd.App("second", config={"redis": {"addrs": [os.environ["ADDRESS"]]}})
lock = qd.lock("poll", "30s", app=app)
print("acquired", lock.acquire(wait=os.environ["WAIT"]), flush=True)
print("released", lock.release(), flush=True)
"""


def test_one_process_holds_it_and_another_gets_it_after_the_release(
    app: App, redis_url: str
) -> None:
    lock = qd.lock("poll", "30s", app=app)
    assert lock.acquire()
    env = {"ADDRESS": redis_url, "WAIT": "0s"}
    with running(sys.executable, "-c", TRY, env=env) as other:
        other.out.wait("acquired False", 10)
        other.out.wait("released False")
    assert lock.extend()
    with running(sys.executable, "-c", TRY, env={**env, "WAIT": "20s"}) as other:
        # It is waiting by now, or will be: either way it gets the lock in the end.
        assert lock.release()
        other.out.wait("acquired True", 10)
        other.out.wait("released True")
    assert not lock.release(), "it is not held any more"


def test_the_lock_of_a_killed_process_ends_with_its_ttl(app: App, redis_url: str) -> None:
    lock = qd.lock("poll", "30s", app=app)
    env = {"ADDRESS": redis_url, "TTL": "500ms"}
    with running(sys.executable, "-c", HOLDER, env=env) as holder:
        holder.out.wait("acquired True", 10)
        os.kill(holder.pid, 9)
        assert lock.acquire(wait="5s")


def test_a_lost_lock_can_neither_be_extended_nor_released(app: App, raw: redis.Redis) -> None:
    first, second = qd.lock("poll", "100ms", app=app), qd.lock("poll", "30s", app=app)
    assert first.acquire()
    eventually(second.acquire)
    assert not first.extend()
    assert not first.release()
    assert second.extend("1m")
    (key,) = raw.keys("qd:lock*")  # type: ignore[misc]
    assert 50 < raw.ttl(key) <= 60  # type: ignore[operator]


def test_waiting_ends_after_the_time_given(app: App) -> None:
    first, second = qd.lock("poll", "30s", app=app), qd.lock("poll", "30s", app=app)
    assert first.acquire()
    started = time.monotonic()
    assert not second.acquire(wait="300ms")
    assert 0.3 <= time.monotonic() - started < 10


def test_as_a_context_manager_it_is_released_at_the_end(app: App, raw: redis.Redis) -> None:
    with qd.lock("poll", "30s", app=app):
        assert raw.keys("qd:lock*")
        with pytest.raises(TimedOut, match="poll"), qd.lock("poll", "30s", app=app):
            raise AssertionError("must not be entered")
    assert not raw.keys("qd:lock*")


def test_an_error_of_the_body_is_not_hidden_and_releases_the_lock(
    app: App, raw: redis.Redis
) -> None:
    with pytest.raises(LookupError), qd.lock("poll", "30s", app=app):
        raise LookupError
    assert not raw.keys("qd:lock*")


def test_the_holder_does_not_get_it_twice(app: App) -> None:
    lock = qd.lock("poll", "30s", app=app)
    assert lock.acquire()
    assert not lock.acquire()


def test_without_an_app_the_only_one_is_used_and_else_it_must_be_named(
    make_app: MakeApp,
) -> None:
    first = make_app()
    second = make_app()
    with pytest.raises(UsageError, match="apps in this process"):
        qd.lock("poll", "30s")
    assert first is not second


async def test_coroutines_hold_it_as_threads_do(app: App, raw: redis.Redis) -> None:
    async with qd.lock("poll", "30s", app=app) as lock:
        assert await lock.aextend("1m")
        (key,) = raw.keys("qd:lock*")  # type: ignore[misc]
        assert 50 < raw.ttl(key) <= 60  # type: ignore[operator]
        other = qd.lock("poll", "30s", app=app)
        assert not await other.aacquire(wait="200ms")
        assert not await other.arelease(), "it is not its own"
        assert not other.release()
        with pytest.raises(TimedOut, match="poll"):
            await other.__aenter__()
    assert not raw.keys("qd:lock*")
    assert not await lock.aextend()


def test_environments_on_one_redis_have_locks_of_their_own(make_app: MakeApp) -> None:
    one, other = make_app(queue_prefix="prod_"), make_app(queue_prefix="test_")
    assert qd.lock("poll", "30s", app=one).acquire()
    assert qd.lock("poll", "30s", app=other).acquire()


@pytest.mark.parametrize("ttl", ["0s", 0, "-1s"])
def test_a_ttl_that_is_no_time_is_refused(app: App, ttl: str | int) -> None:
    with pytest.raises(UsageError):
        qd.lock("poll", ttl, app=app)
