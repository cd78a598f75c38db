"""The settings of the connection to Redis."""

from __future__ import annotations

from msgspec import Struct

from qd.config.kinds import DURATION, NAME, REDIS_ADDRESSES, SECRET, SWITCH, TEXT, WHOLE
from qd.config.secrets import Secret
from qd.config.setting import section, setting


class TlsSettings(Struct, frozen=True):
    """Encryption on the way to Redis."""

    ca_file: str = setting("", "CA certificates in PEM; empty = the system's", TEXT, also=("ca",))
    cert_file: str = setting("", "own certificate in PEM", TEXT, also=("cert",))
    key_file: str = setting("", "own private key in PEM", TEXT, also=("key",))
    insecure: bool = setting(False, "true accepts any certificate: for tests only", SWITCH)


class SentinelSettings(Struct, frozen=True):
    """How to find the server through sentinels."""

    master: str = setting("mymaster", "name of the group of servers", NAME)
    username: str = setting("", "ACL user of the sentinels", TEXT)
    password: Secret = setting(Secret(), "password of the sentinels", SECRET)


class RedisSettings(Struct, frozen=True):
    """Where Redis is, and how to log in."""

    enabled: bool = setting(True, "false: worker and enqueue refuse to start", SWITCH)
    addrs: tuple[str, ...] = setting(
        (),
        "host:port, or URLs redis:// rediss:// unix:// redis-sentinel:// redis-cluster://; "
        "several host:port are a cluster; none = a private server of qd's own",
        REDIS_ADDRESSES,
        also=("addr", "address", "url", "host"),
        flag="--redis",
    )
    username: str = setting("", "ACL user; empty = the default user", TEXT, also=("user",))
    password: Secret = setting(Secret(), "better kept elsewhere: see password_file", SECRET)
    password_file: str = setting("", "file that holds the password", TEXT)
    db: int = setting(0, "database number; a cluster has only 0", WHOLE, minimum=0)
    connect_timeout: float = setting(2.0, "longest wait for a connection", DURATION, minimum=0.001)
    call_timeout: float = setting(3.0, "longest wait for an answer", DURATION, minimum=0.001)
    embedded_dir: str = setting(".qd", "where the private server keeps its data", NAME)
    tls: TlsSettings = section(TlsSettings, "For rediss:// addresses.")
    sentinel: SentinelSettings = section(
        SentinelSettings, "For redis-sentinel:// addresses, which name the sentinels."
    )
