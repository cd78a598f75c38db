"""Which Redis an application talks to; qd's own server where none is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from qd import App
from qd.app.connection import Connection
from qd.config.load import from_mapping
from qd.errors import ConfigError
from tests.support.servers import RedisServer


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


def test_without_an_address_a_server_is_started_once_and_told_of_once(own: Path) -> None:
    settings = from_mapping({"redis": {"embedded_dir": str(own)}})
    said: list[str] = []
    first, second = Connection(settings, said.append), Connection(settings, said.append)
    assert first.endpoint.path == second.endpoint.path
    assert first.endpoint is first.endpoint
    assert ["started" in said[0], "using" in said[1]] == [True, True]
    assert all(str(own) in line and "\n" not in line for line in said)
    assert len(said) == 2
    second.close()
    first.close()


def test_tasks_in_it_survive_the_end_of_its_last_user(own: Path) -> None:
    config = {"redis": {"embedded_dir": str(own)}}
    app = App(config=config)
    task_id = app.client.enqueue("work").id
    app.close()
    app = App(config=config)
    assert app.inspector().tasks.find(task_id).state == "pending"
    app.close()


def test_an_address_is_used_as_it_is(redis_url: str) -> None:
    said: list[str] = []
    connection = Connection(from_mapping({"redis": {"addrs": [redis_url]}}), said.append)
    assert redis_url == str(connection.endpoint)
    assert said == []
    connection.close()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"environment": "production"}, "production"),
        ({"redis": {"enabled": False}}, "redis.enabled"),
        ({"redis": {"enabled": False, "addrs": ["localhost:6379"]}}, "redis.enabled"),
    ],
)
def test_a_server_that_may_not_be_used_is_refused(settings: dict[str, Any], says: str) -> None:
    connection = Connection(from_mapping(settings))
    with pytest.raises(ConfigError, match=says):
        _ = connection.endpoint
    connection.close()


def test_user_and_password_of_the_settings_reach_the_server(
    server: RedisServer, raw: redis.Redis
) -> None:
    server.add_user("shop", "s3cret", "~*", "&*", "+@all")
    app = App(config={"redis": {"addrs": [server.url], "username": "shop", "password": "s3cret"}})
    info = app.client.enqueue("work")
    assert app.inspector().tasks.find(info.id).state == "pending"
    app.close()
