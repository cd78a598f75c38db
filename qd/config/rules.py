"""The rules about settings that must fit each other, and about starting at all."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from qd.config.addresses import is_loopback
from qd.config.model import MonitorSettings, Settings
from qd.config.pressure import BackpressureSettings
from qd.config.redis import RedisSettings
from qd.config.tasks import RetrySettings
from qd.errors import ConfigError


class Conflict(Struct, frozen=True):
    """Settings that do not go together; the first key is the one to look at."""

    keys: tuple[str, ...]
    message: str


def conflicts(settings: Settings) -> Iterator[Conflict]:
    """Yield what does not fit together. Passwords must not have been read from files yet."""
    yield from _redis_conflicts(settings.redis)
    yield from _retry_conflicts("retry", settings.retry)
    yield from _monitor_conflicts(settings.monitor)
    for name, limit in settings.limits.items():
        if not limit.rate and not limit.concurrency:
            yield Conflict(
                (f"limits.{_quoted(name)}.rate", f"limits.{_quoted(name)}.concurrency"),
                "limits nothing; set a rate such as 90/min, a concurrency, or both",
            )
    yield from _pressure_conflicts(settings.backpressure)
    for name, breaker in settings.breakers.items():
        if not breaker.failures and not breaker.ratio:
            key = f"breakers.{_quoted(name)}"
            yield Conflict((f"{key}.failures", f"{key}.ratio"), "never opens; set one of the two")
    for name, overrides in settings.tasks.items():
        if overrides.retry is not None:
            yield from _retry_conflicts(f"tasks.{_quoted(name)}.retry", overrides.retry)


def _quoted(name: str) -> str:
    return f'"{name}"' if "." in name else name


def require_redis(settings: Settings) -> None:
    """
    Refuse to go on where there must be a Redis server and the settings say there is none.

    Raises:
        ConfigError: `redis.enabled` is false, or `environment` is production and no address is
            set, so that only the private server would be left.
    """
    if not settings.redis.enabled:
        raise ConfigError(
            ["redis.enabled is false: without Redis no task can be enqueued or run"],
            hint="Set redis.enabled to true.",
        )
    if settings.environment == "production" and not settings.redis.addrs:
        raise ConfigError(
            [
                "environment is production and redis.addrs is empty: the private server qd would"
                " start is for development"
            ],
            hint="Set redis.addrs to your server, or QD_REDIS__ADDRS=host:port.",
        )


def _redis_conflicts(redis: RedisSettings) -> Iterator[Conflict]:
    if redis.password and redis.password_file:
        yield Conflict(
            ("redis.password_file", "redis.password"),
            "redis.password is set as well; keep one of the two",
        )
    if bool(redis.tls.cert_file) != bool(redis.tls.key_file):
        yield Conflict(
            ("redis.tls.cert_file", "redis.tls.key_file"),
            "a certificate and its key go together; set redis.tls.cert_file and redis.tls.key_file",
        )
    schemes = {_scheme(address) for address in redis.addrs}
    if len(schemes) > 1:
        yield Conflict(
            ("redis.addrs",),
            f"addresses of different kinds ({', '.join(sorted(schemes))}); several addresses must"
            " be nodes of one cluster, or sentinels of one group",
        )
    elif "unix" in schemes and len(redis.addrs) > 1:
        yield Conflict(("redis.addrs",), "several unix:// sockets cannot be one cluster; keep one")
    clustered = "redis-cluster" in schemes or (
        len(redis.addrs) > 1 and "redis-sentinel" not in schemes
    )
    if clustered and redis.db:
        yield Conflict(
            ("redis.db", "redis.addrs"),
            f"{redis.db} does not exist in a cluster, which has only database 0; set 0",
        )


def _monitor_conflicts(monitor: MonitorSettings) -> Iterator[Conflict]:
    if monitor.address and not monitor.remote and not is_loopback(monitor.address):
        yield Conflict(
            ("monitor.address", "monitor.remote"),
            f"other hosts can reach {monitor.address}, and nobody is asked for a password; write"
            " 127.0.0.1 or unix:///path, or set monitor.remote to true",
        )


def _pressure_conflicts(pressure: BackpressureSettings) -> Iterator[Conflict]:
    for name in (None, *pressure.queues):
        one = pressure.of(name)
        key = "backpressure" if name is None else f"backpressure.queues.{name}"
        if not one.hysteresis < one.warning < one.critical:
            yield Conflict(
                (f"{key}.warning", f"{key}.critical", f"{key}.hysteresis"),
                f"hysteresis {one.hysteresis:g}, warning {one.warning:g} and critical "
                f"{one.critical:g} must be in this order",
            )


def _scheme(address: str) -> str:
    scheme, mark, _ = address.partition("://")
    return scheme if mark else "redis"


def _retry_conflicts(key: str, retry: RetrySettings) -> Iterator[Conflict]:
    if retry.policy == "list" and not retry.delays:
        yield Conflict(
            (f"{key}.policy", f"{key}.delays"),
            f"the policy list needs {key}.delays, as in [1s, 10s, 5m]",
        )
    if retry.delays and retry.policy != "list":
        yield Conflict(
            (f"{key}.delays", f"{key}.policy"),
            f"is used by the policy list only; set {key}.policy to list, or remove the delays",
        )
    if retry.policy == "exponential" and retry.initial > retry.max:
        yield Conflict(
            (f"{key}.initial", f"{key}.max", f"{key}.policy"),
            f"the first delay is longer than the longest; raise {key}.max",
        )
