"""Passwords do not show."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qd.config.dump import dump, flatten
from qd.config.load import from_mapping, load
from qd.config.model import Settings
from qd.config.secrets import Secret, mask_url

HIDDEN = {
    "redis": {
        "password": "hunter2",
        "addrs": ["redis://app:hunter2@a:1", "redis://b:2"],
        "sentinel": {"password": "hunter2"},
    }
}


def test_a_secret_shows_only_when_it_is_revealed() -> None:
    secret = Secret("hunter2")
    assert (str(secret), repr(secret), f"{secret}") == ("***", "Secret('***')", "***")
    assert secret.reveal() == "hunter2"


def test_secrets_are_compared_by_their_text_and_an_empty_one_is_false() -> None:
    assert Secret("a") == Secret("a")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"
    assert not Secret()
    assert str(Secret()) == ""


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://user:pw@host", "rediss://user:***@host"),
        ("redis://user:p@ss/w,rd@host", "redis://user:***@host"),
        ("redis://u:a@h1,redis://u:b@h2", "redis://u:***@h2"),
        ("unix:///run/s?password=pw&db=1", "unix:///run/s?password=***&db=1"),
        ("redis-sentinel://h?sentinel_password=pw", "redis-sentinel://h?sentinel_password=***"),
        ("redis://user@host:6379/0", "redis://user@host:6379/0"),
        ("host:6379", "host:6379"),
        ("no url at all", "no url at all"),
    ],
)
def test_the_password_in_a_url_is_masked(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@given(st.text(alphabet="abc@:/,?#%!", min_size=1, max_size=12))
def test_no_password_survives_masking(password: str) -> None:
    assert mask_url(f"redis://user:Z{password}Z@host:6379/0") == "redis://user:***@host:6379/0"


def test_settings_never_show_a_password_unless_asked_to() -> None:
    settings = from_mapping(HIDDEN)
    assert "hunter2" not in json.dumps(dump(settings))
    assert "hunter2" not in repr(settings.redis.password)
    revealed = dump(settings, reveal=True)["redis"]
    assert revealed["password"] == revealed["sentinel"]["password"] == "hunter2"
    assert revealed["addrs"] == ["redis://app:hunter2@a:1", "redis://b:2"]


def test_printing_the_settings_shows_no_password() -> None:
    assert "hunter2" not in f"{from_mapping(HIDDEN)!r} {from_mapping(HIDDEN)}"


def test_what_is_shown_can_be_read_back(tmp_path: Path) -> None:
    """`qd config show --reveal > qd.yaml` gives the same settings."""
    text = """\
redis: {addrs: ["redis://u:p@h:1/0"], password: "0123", connect_timeout: 1500ms}
payload_limit: 3MiB
worker: {recycle: {max_memory: 300MiB, max_tasks_jitter: 0.25}, shutdown_timeout: 1m30s}
queues: {a: 1, no: 2}
retry: {policy: list, delays: [1s, 1h30m]}
tasks:
  a.b: {timeout: 5m, retry: {policy: fixed, delays: []}}
schedule:
  nightly: {spec: "0 7 * * *", type: report, payload: {n: [1, "2"]}, headers: {a: b}, enabled: no}
"""
    (tmp_path / "qd.yaml").write_text(text)
    first = load(env={}, cwd=tmp_path).settings
    (tmp_path / "qd.yaml").write_text(yaml.safe_dump(dump(first, reveal=True)))
    assert load(env={}, cwd=tmp_path).settings == first


def test_every_shown_key_has_an_origin_under_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "qd.yaml").write_text("tasks: {a.b: {timeout: 5m, retry: {max: 2h}}}")
    loaded = load(env={}, cwd=tmp_path)
    flat = flatten(dump(loaded.settings))
    assert flat['tasks."a.b".timeout'] == "5m"
    assert flat["queues"] == dict(Settings().queues)
    assert set(flat) <= set(loaded.origins)
