"""Settings that must fit each other."""

import pytest

from qd.config.load import from_mapping
from qd.config.model import Settings
from qd.config.rules import require_redis
from qd.errors import ConfigError, ExitCode


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"redis": {"password": "a", "password_file": "b"}},
            "redis.password_file: redis.password is set as well; keep one of the two",
        ),
        (
            {"redis": {"tls": {"cert_file": "a.pem"}}},
            "redis.tls.cert_file: a certificate and its key go together; set redis.tls.cert_file"
            " and redis.tls.key_file",
        ),
        (
            {"redis": {"addrs": ["a:1", "unix:///s"]}},
            "redis.addrs: addresses of different kinds (redis, unix); several addresses must be"
            " nodes of one cluster, or sentinels of one group",
        ),
        (
            {"redis": {"addrs": ["unix:///a", "unix:///b"]}},
            "redis.addrs: several unix:// sockets cannot be one cluster; keep one",
        ),
        (
            {"redis": {"addrs": ["a:1", "b:2"], "db": 3}},
            "redis.db: 3 does not exist in a cluster, which has only database 0; set 0",
        ),
        (
            {"redis": {"addrs": ["redis-cluster://a"], "db": 3}},
            "redis.db: 3 does not exist in a cluster, which has only database 0; set 0",
        ),
        (
            {"retry": {"policy": "list"}},
            "retry.policy: the policy list needs retry.delays, as in [1s, 10s, 5m]",
        ),
        (
            {"retry": {"delays": [1, 2]}},
            "retry.delays: is used by the policy list only; set retry.policy to list, or remove"
            " the delays",
        ),
        (
            {"retry": {"initial": "2h"}},
            "retry.initial: the first delay is longer than the longest; raise retry.max",
        ),
        (
            {"tasks": {"a.b": {"retry": {"policy": "list"}}}},
            'tasks."a.b".retry.policy: the policy list needs tasks."a.b".retry.delays, as in'
            " [1s, 10s, 5m]",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_a_problem(
    given: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(given)
    assert caught.value.problems == [f"config: {problem}"]


@pytest.mark.parametrize(
    "given",
    [
        {"redis": {"addrs": ["redis-sentinel://a:1", "redis-sentinel://b:1"], "db": 3}},
        {"redis": {"addrs": ["a:1", "redis://b:2"]}},
        {"redis": {"addrs": ["a:1"], "db": 3}},
        {"redis": {"tls": {"cert_file": "a", "key_file": "b"}}},
        {"retry": {"policy": "list", "delays": ["1s"]}},
        {"retry": {"policy": "fixed", "initial": "2h"}},
    ],
)
def test_settings_that_go_together_are_taken(given: dict[str, object]) -> None:
    assert from_mapping(given) != Settings()


def test_no_rule_speaks_about_a_value_that_was_not_understood() -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping({"retry": {"policy": "list", "delays": ["5"]}})
    assert len(caught.value.problems) == 1


def test_work_without_redis_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"redis\.enabled is false") as caught:
        require_redis(from_mapping({"redis": {"enabled": False}}))
    assert caught.value.exit_code is ExitCode.CONFIG
    assert caught.value.hint == "Set redis.enabled to true."


def test_production_needs_a_redis_server_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"production and redis\.addrs is empty") as caught:
        require_redis(from_mapping({"environment": "production"}))
    assert "QD_REDIS__ADDRS=host:port" in caught.value.hint


@pytest.mark.parametrize(
    "given", [{}, {"environment": "staging"}, {"environment": "production", "redis_addrs": "a:1"}]
)
def test_elsewhere_redis_or_the_private_server_will_do(given: dict[str, object]) -> None:
    require_redis(from_mapping(given))
