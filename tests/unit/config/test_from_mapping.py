"""Configuration given in Python: mappings, objects, and the settings themselves."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from qd.config.load import from_mapping
from qd.config.model import Settings
from qd.config.secrets import Secret
from qd.errors import ConfigError


def test_settings_are_taken_as_they_are() -> None:
    settings = replace(Settings(), app="a")
    assert from_mapping(settings) is settings


def test_an_empty_mapping_gives_the_defaults() -> None:
    assert from_mapping({}) == Settings()


def test_numbers_are_seconds_and_bytes() -> None:
    settings = from_mapping(
        {
            "payload_limit": 2048,
            "worker": {"shutdown_timeout": 30, "stall": timedelta(minutes=2), "watchdog": "20s"},
            "retry": {"policy": "list", "delays": [0.5, "1m"]},
            "log": {"file": Path("/var/log/qd.log")},
            "redis": {"password": Secret("a")},
        }
    )
    assert settings.payload_limit == 2048
    worker = settings.worker
    assert (worker.shutdown_timeout, worker.stall, worker.watchdog) == (30.0, 120.0, 20.0)
    assert settings.retry.delays == (0.5, 60.0)
    assert settings.log.file == "/var/log/qd.log"
    assert settings.redis.password == Secret("a")


def test_text_is_taken_literally() -> None:
    """A password that looks like a reference is a password, and data is data."""
    settings = from_mapping(
        {
            "redis": {"password": "${env:HOME}"},
            "schedule": {"a": {"spec": "@daily", "type": "t", "payload": "plain text"}},
        }
    )
    assert settings.redis.password.reveal() == "${env:HOME}"
    assert settings.schedule["a"].payload == "plain text"


FLAT = {
    "redis_enabled": True,
    "redis_addrs": ["a:1", "b:2"],
    "redis_username": "app",
    "redis_password": "hunter2",
    "concurrency": 32,
    "queue_prefix": "prod_",
    "polling_enabled": False,
}


@pytest.mark.parametrize("source", [FLAT, SimpleNamespace(**FLAT, unrelated=5)])
def test_the_flat_names_of_a_config_provider_are_understood(source: object) -> None:
    settings = from_mapping(source)
    redis = settings.redis
    assert (redis.enabled, redis.addrs, redis.username) == (True, ("a:1", "b:2"), "app")
    assert redis.password.reveal() == "hunter2"
    assert (settings.worker.concurrency, settings.worker.polling) == (32, False)
    assert settings.queue_prefix == "prod_"


def test_flat_and_nested_names_can_be_mixed() -> None:
    settings = from_mapping({"redis": {"db": 1}, "redis_addrs": "a:1", "concurrency": 5})
    assert (settings.redis.db, settings.redis.addrs, settings.worker.concurrency) == (
        1,
        ("a:1",),
        5,
    )


def test_an_object_may_be_nested_like_the_settings() -> None:
    @dataclass
    class Redis:
        addrs: list[str] = field(default_factory=lambda: ["a:1"])
        other: int = 0

    @dataclass
    class Config:
        redis: Redis = field(default_factory=Redis)
        queues: dict[str, int] = field(default_factory=lambda: {"a": 1})
        unrelated: str = ""

    settings = from_mapping(Config())
    assert (settings.redis.addrs, settings.queues) == (("a:1",), {"a": 1})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"concurency": 5}, 'concurency: unknown key. Did you mean "worker.concurrency"?'),
        ({"concurrency": "many"}, 'worker.concurrency: "many" is not a whole number'),
        ({"concurrency": True}, "worker.concurrency: True is not a whole number"),
        ({"worker": {"polling": 1}}, "worker.polling: 1 is not a switch; use True or False"),
        ({"worker": {"stall": None}}, "worker.stall: has no value"),
        ({"worker": {"stall": -5}}, "worker.stall: -5 is not a duration"),
        ({"worker": {"stall": object}}, "is not a duration: give seconds as a number"),
        ({"worker": 5}, "worker: is a section; set one of its keys"),
        ({"payload_limit": 1.5}, "payload_limit: 1.5 is not a size"),
        ({"retry": {"jitter": "much"}}, 'retry.jitter: "much" is not a number'),
        ({"retry": {"factor": float("inf")}}, "retry.factor: inf is not a number"),
        ({"app": 5}, "app: 5 is not text; write it as a string"),
        ({"redis": {"password": 1234}}, "redis.password: the value is not text"),
        ({"redis": {"addrs": 5}}, "redis.addrs: 5 is not text"),
        ({"queues": 5}, "queues: takes names with values"),
        ({"log": {"level": 5}}, "log.level: 5 is not text"),
        (object(), "object has no attribute that is a setting"),
        (None, "NoneType has no attribute that is a setting"),
    ],
)
def test_what_cannot_be_taken_is_a_problem(given: object, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(given)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("config: ")
    assert problem in caught.value.problems[0]
    assert "1234" not in caught.value.problems[0]


def test_the_defaults_cannot_be_changed_through_settings() -> None:
    first = from_mapping({})
    assert isinstance(first.queues, dict)
    first.queues["extra"] = 1
    assert "extra" not in Settings().queues
