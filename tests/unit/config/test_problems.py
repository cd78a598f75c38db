"""What people are told about a configuration that cannot be taken."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from qd.config.load import load
from qd.errors import ConfigError


def problems(
    cwd: Path,
    text: str | bytes | None = None,
    *,
    env: Mapping[str, str] | None = None,
    sets: Sequence[str] = (),
    overrides: Mapping[str, object] | None = None,
) -> list[str]:
    path = None
    if text is not None:
        path = cwd / "qd.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load(path, env=env or {}, sets=sets, overrides=overrides or {}, cwd=cwd)
    assert int(caught.value.exit_code) == 78
    return caught.value.problems


def test_all_problems_of_all_sources_are_reported_at_once(tmp_path: Path) -> None:
    """Each with its place, its key, its value and what to write instead."""
    text = """\
envronment: production
redis:
  addr: localhost:6379
  db: -1
worker:
  concurrency: eight
  shutdown_timeout: 30
queues: {low: 0}
defaults:
  timeout: 5 minutes
retry: {policy: expo, jitter: 2}
schedule:
  nightly: {cron: "0 7 * * *", type: report}
log: debug
payload_limit: 1M
"""
    assert problems(
        tmp_path,
        text,
        env={"QD_WORKER__CONCURENCY": "9", "QD_LOG__LEVEL": "loud"},
        sets=["worker.stall=60", "log.level"],
        overrides={"worker.processes": -2},
    ) == [
        'qd.yaml:1:1: envronment: unknown key. Did you mean "environment"?',
        'qd.yaml:3:3: redis.addr: unknown key. Did you mean "addrs"?',
        "qd.yaml:4:7: redis.db: -1 is too small; 0 is the least",
        'qd.yaml:6:16: worker.concurrency: "eight" is not a whole number; write one such as 10',
        "qd.yaml:7:21: worker.shutdown_timeout: 30 has no unit: write 30s for seconds or 30m for"
        " minutes",
        "qd.yaml:8:15: queues.low: 0 is too small; 1 is the least",
        'qd.yaml:10:12: defaults.timeout: "5 minutes" is not a duration: write 5m',
        'qd.yaml:11:17: retry.policy: "expo" is not one of exponential, fixed, list, asynq.'
        " Write exponential or fixed or list or asynq",
        "qd.yaml:11:31: retry.jitter: 2 is too large; 1 is the most",
        'qd.yaml:13:3: schedule.nightly: spec is missing; write one such as "0 7 * * 1-5"',
        'qd.yaml:13:13: schedule.nightly.cron: unknown key. Did you mean "spec"?',
        'qd.yaml:15:16: payload_limit: "1M" is not a size: write 1MiB',
        "--set: the value is missing; write --set worker.concurrency=20",
        "QD_WORKER__CONCURENCY: worker.concurency: unknown key."
        ' Did you mean "QD_WORKER__CONCURRENCY"?',
        "--processes: worker.processes: -2 is too small; 0 is the least",
        "--set: worker.stall: 60 has no unit: write 60s for seconds or 60m for minutes",
        'QD_LOG__LEVEL: log.level: "loud" is not one of debug, info, warning, error.'
        " Write debug or info or warning or error",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "concurrency: 5",
            'qd.yaml:1:1: concurrency: unknown key. Did you mean "worker.concurrency"?',
        ),
        ("worker: {threads: 5}", 'worker.threads: unknown key. Did you mean "concurrency"?'),
        ("log: {xyzzy: 5}", "log.xyzzy: unknown key. Known here: level, format, file."),
        ("log: debug", "qd.yaml:1:6: log: is a section; set one of its keys, such as log.level"),
        ("app:", "app: has no value; write one, or remove the line"),
        ("app: [a]", "app: takes a single value, not a list"),
        ("worker: {concurrency: {a: 1}}", "takes a single value, not a mapping"),
        ("worker: {polling: maybe}", '"maybe" is not a switch; write true or false'),
        ("worker: {concurrency: true}", '"true" is not a whole number'),
        ("worker: {concurrency: 1.5}", '"1.5" is not a whole number'),
        ("worker: {concurrency: 200000}", "200000 is too large; 100000 is the most"),
        ("worker: {shutdown_timeout: 0s}", "0s is too small; 100ms is the least"),
        ("retry: {factor: .nan}", '".nan" is not a number'),
        ("retry: {delays: [1s, 5]}", "qd.yaml:1:22: retry.delays: 5 has no unit"),
        ("retry: {delays: [[1s]]}", "retry.delays: takes a single value, not a list"),
        ("queues: [a, b]", "queues: takes names with values, as in name: value"),
        ("queues: {}", "queues: is empty; name at least one"),
        ("queues: {' ': 1}", "a queue name must not be blank"),
        ("queues: {'a{b}': 1}", "leave out the braces"),
        ('queues: {"a\\nb": 1}', "control characters"),
        ("queue_prefix: 'x{'", "leave out the braces"),
        ("queues: {a: }", "queues.a: takes a single value, not an empty one"),
        ("queues: a=1,a=2", '"a" stands there twice; keep one'),
        ("environment: ' '", "environment: it must not be blank"),
        ("scheduler: {timezone: Europe/Berln}", 'Did you mean "Europe/Berlin"?'),
        ("scheduler: {timezone: ../../etc/passwd}", "is not a time zone"),
        ("tasks: [a]", "tasks: takes entries by name"),
        ("tasks: {a: 5m}", "tasks.a: takes keys such as queue, max_retry, timeout"),
        ("tasks: {a: {timout: 5m}}", 'tasks.a.timout: unknown key. Did you mean "timeout"?'),
        ("tasks: {' ': {queue: a}}", "the name cannot be taken: it must not be blank"),
        ("schedule: {a: {spec: '@daily'}}", "schedule.a: type is missing"),
        ("schedule: {a: {spec: '', type: b}}", "schedule.a.spec: it must not be blank"),
        ("payload_limit: 1.5", '"1.5" is not a size'),
        ("payload_limit: 0", "0 is too small; 1 is the least"),
    ],
)
def test_a_problem_names_the_place_the_key_and_the_fix(
    tmp_path: Path, text: str, problem: str
) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert problem in found[0]
    assert found[0].startswith("qd.yaml:1:")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("localhost", '"localhost" has no port; write localhost:6379'),
        (":6379", '":6379" has no host'),
        ("localhost:port", "has no valid port"),
        ("localhost:70000", "has no valid port"),
        ("http://localhost:6379", "http:// is not one of redis://"),
        ("reddis://localhost", 'Did you mean "redis"?'),
        ("redis://", "has no host"),
        ("unix://run/redis.sock", "has no path; write unix:///run/redis.sock"),
        ("/run/redis.sock", "is a path; write unix:///run/redis.sock"),
        ("redis://:hunter2 @host:1", "must not be empty or hold blanks"),
        ("redis://:hunt/er2@host:1", "written %2F in a URL"),
        ("redis://:hunter2@host:99999", '"redis://:***@host:99999" has no valid port'),
    ],
)
def test_an_address_of_the_wrong_shape_is_refused(
    tmp_path: Path, address: str, problem: str
) -> None:
    found = problems(tmp_path, f"redis: {{addrs: ['{address}']}}")
    assert len(found) == 1
    assert problem in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("localhost:6379", ["localhost:6379"]),
        ("a:1, b:2", ["a:1", "b:2"]),
        ("[::1]:6379", ["[::1]:6379"]),
        ("redis://localhost", ["redis://localhost"]),
        ("redis://user:pa,ss@localhost:6380/2", ["redis://user:pa,ss@localhost:6380/2"]),
        ("rediss://[::1]:6380", ["rediss://[::1]:6380"]),
        ("unix:///run/redis.sock", ["unix:///run/redis.sock"]),
        ("unix://:secret@/run/redis.sock", ["unix://:secret@/run/redis.sock"]),
        ("rediss://a:1,rediss://b:2", ["rediss://a:1", "rediss://b:2"]),
        (
            "redis-sentinel://a:26379,b:26379/mymaster",
            ["redis-sentinel://a:26379,b:26379/mymaster"],
        ),
        ("redis-cluster://a:7000,b:7000", ["redis-cluster://a:7000,b:7000"]),
    ],
)
def test_all_documented_forms_of_addresses_are_taken(
    tmp_path: Path, text: str, addresses: list[str]
) -> None:
    """As one text with commas, and as a list; a URL may itself name several servers."""
    as_text = load(env={"QD_REDIS__ADDRS": text}, cwd=tmp_path).settings
    assert list(as_text.redis.addrs) == addresses
    (tmp_path / "qd.yaml").write_text(f"redis: {{addrs: {addresses}}}")
    as_list = load(env={}, cwd=tmp_path).settings
    assert list(as_list.redis.addrs) == addresses


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "QD_WORKER_CONCURRENCY",
            'worker_concurrency: unknown key. Did you mean "QD_WORKER__CONCURRENCY"?',
        ),
        ("QD_CONFG", 'confg: unknown key. Did you mean "QD_CONFIG"?'),
        ("QD_ZZZZZZ", "zzzzzz: unknown key. Variables are named as in QD_WORKER__CONCURRENCY."),
        ("QD_WORKER", "worker: is a section; set one of its keys, such as worker.processes"),
        ("QD_WORKER__CONCURRENCY__X", "worker.concurrency: takes a single value, not a mapping"),
    ],
)
def test_an_unknown_variable_is_a_problem(tmp_path: Path, name: str, problem: str) -> None:
    assert problems(tmp_path, env={name: "5"}) == [f"{name}: {problem}"]


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("worker.concurency=5", 'worker.concurency: unknown key. Did you mean "concurrency"?'),
        ("=5", '"" is no key; write --set worker.concurrency=20'),
        ("a..b=5", '"a..b" is no key; write --set worker.concurrency=20'),
        ("hunter2", "the value is missing; write --set worker.concurrency=20"),
        ("schedule.a.payload=abc", "schedule.a.payload: is not JSON"),
        ("schedule.a.headers=x", '"x" has no value; write x=value'),
    ],
)
def test_a_set_that_cannot_be_taken_is_a_problem(
    tmp_path: Path, assignment: str, problem: str
) -> None:
    found = problems(tmp_path, sets=[assignment])
    assert any(line.startswith("--set: ") and problem in line for line in found)


def test_an_unknown_flag_key_is_a_problem(tmp_path: Path) -> None:
    found = problems(tmp_path, overrides={"worker.concurency": 5})
    assert found == ['--concurency: worker.concurency: unknown key. Did you mean "concurrency"?']


def test_a_secret_never_stands_in_a_problem(tmp_path: Path) -> None:
    text = "redis: {password: [hunter2], pasword: hunter2, addrs: ['ftp://u:hunter2@h:1']}"
    found = problems(
        tmp_path, text, env={"QD_REDIS__PASSWRD": "hunter2"}, sets=["redis.passwort=hunter2"]
    )
    assert len(found) == 5
    assert "hunter2" not in "\n".join(found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("worker:\n\tconcurrency: 5\n", "qd.yaml:2:1: not valid YAML: a tab stands before the key"),
        ("worker: {concurrency: 5\n", "not valid YAML"),
        ("app: a\napp: b\n", 'qd.yaml:2:1: "app" is set twice, first in line 1; keep one'),
        ("- a\n", "qd.yaml:1:1: the file must hold `key: value` lines"),
        ("just text\n", "the file must hold `key: value` lines"),
        ("app: !!python/object/apply:os.getcwd []\n", "is not supported; write the plain value"),
        ("app: !secret x\n", "qd.yaml:1:6: the tag !secret is not supported"),
        ("app: !!int x\n", "is not what its tag says"),
        ("? [a]\n: 1\n", "a key must be a plain word"),
        ("tasks: &a {b: *a}\n", "the alias stands inside the value it repeats"),
        ("app: *nobody\n", "not valid YAML"),
        ("<<: 5\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        (b"app: \xff\n", "qd.yaml: byte 5 is not UTF-8; save the file as UTF-8"),
        ("app: a\x07\n", "not valid YAML"),
        ("app: " + "[" * 5000 + "]" * 5000, "the file is nested too deeply"),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_a_problem(
    tmp_path: Path, text: str | bytes, problem: str
) -> None:
    found = problems(tmp_path, text)
    assert any(problem in line for line in found), found
    assert all(line.startswith("qd.yaml") for line in found)


def test_problems_of_other_sources_are_reported_beside_a_broken_file(tmp_path: Path) -> None:
    found = problems(tmp_path, "worker: {", env={"QD_DB": "5"})
    assert len(found) == 2


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    (tmp_path / "qd.yaml").write_text(
        "tasks:\n"
        "  a: &slow {timeout: 1h, max_retry: 3}\n"
        "  b: {<<: *slow, max_retry: 5}\n"
        "  c: *slow\n"
    )
    tasks = load(env={}, cwd=tmp_path).settings.tasks
    assert (tasks["b"].timeout, tasks["b"].max_retry) == (3600.0, 5)
    assert tasks["c"] == tasks["a"]


def test_a_text_keeps_what_yaml_takes_for_another_type(tmp_path: Path) -> None:
    """A queue may be called `no`, and a password may begin with a zero."""
    (tmp_path / "qd.yaml").write_text(
        "queues: {no: 1, on: 2, 1: 3}\ndefaults: {queue: no}\nredis: {password: 0123}\n"
    )
    settings = load(env={}, cwd=tmp_path).settings
    assert settings.queues == {"no": 1, "on": 2, "1": 3}
    assert settings.defaults.queue == "no"
    assert settings.redis.password.reveal() == "0123"
