"""The client library is imported in part; those who want the rest get all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import sys, threading
from qd.broker import connect, lean
assert "redis.asyncio.connection" in sys.modules
assert not [name for name in sys.modules if name.startswith(("redis.commands", "redis.client"))]
"""


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr


@pytest.mark.parametrize(
    "program",
    [
        "import redis; redis.Redis.get, redis.__version__, redis.connection.Connection",
        "from redis import Redis, StrictRedis, exceptions; Redis.get",
        "import redis.asyncio as library; library.Redis.get, library.connection.Connection",
        "from redis.asyncio import Redis; import redis; Redis.get, redis.Redis.get",
        "import redis.cluster, redis.asyncio.cluster; redis.cluster.RedisCluster.get",
        "from redis import *; Redis.get",
        "import redis.client as library; import redis; assert redis.Redis is library.Redis",
        "import redis, importlib; importlib.reload(redis).Redis.get",
    ],
)
def test_a_handler_may_import_the_client_library_as_it_likes(program: str) -> None:
    run(program)


def test_threads_that_ask_for_it_at_the_same_time_all_get_it() -> None:
    run("""
import redis
found = []
go = threading.Barrier(8)
def ask():
    go.wait()
    found.append((redis.Redis.get, redis.RedisCluster, redis.asyncio.Redis.get))
threads = [threading.Thread(target=ask) for _ in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
assert len(found) == 8
""")


def test_there_is_one_copy_of_each_part() -> None:
    run("""
import redis
assert redis.connection is lean.connection is sys.modules["redis.connection"]
assert redis.asyncio.connection is lean.async_connection
assert redis.ConnectionError is lean.exceptions.ConnectionError
""")


def test_a_library_that_was_there_before_is_taken_as_it_is() -> None:
    program = "import redis; from qd.broker import lean; assert redis.connection is lean.connection"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
