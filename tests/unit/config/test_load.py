"""Which source wins, which file is read, and what is told about the origin of a value."""

import subprocess
import sys
from pathlib import Path

import pytest

from qd.config import load as load_module
from qd.config.load import load
from qd.config.model import Settings
from qd.errors import ConfigError


@pytest.fixture(autouse=True)
def no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep a file of the machine out of the tests; return the path that stands for it."""
    path = tmp_path / "etc" / "qd.yaml"
    monkeypatch.setattr(load_module, "SEARCHED_FILES", ("qd.yaml", str(path)))
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_any_source_all_values_are_the_defaults(tmp_path: Path) -> None:
    loaded = load(env={}, cwd=tmp_path)
    assert loaded.settings == Settings()
    assert loaded.path is None
    assert set(loaded.origins.values()) == {"default"}


def test_each_source_wins_over_those_below_it(tmp_path: Path) -> None:
    """Flags > --set > environment > file > defaults, and the origin names the winner."""
    write(tmp_path / "qd.yaml", "worker:\n  concurrency: 1\n")
    below: dict[str, object] = {}
    seen = []
    for step in (
        {},
        {"env": {"QD_WORKER__CONCURRENCY": "2"}},
        {"sets": ["worker.concurrency=3"]},
        {"overrides": {"worker.concurrency": 4}},
    ):
        below |= step
        loaded = load(**{"env": {}, "cwd": tmp_path, **below})  # type: ignore[arg-type]
        seen.append((loaded.settings.worker.concurrency, loaded.origins["worker.concurrency"]))
    assert seen == [
        (1, "qd.yaml:2"),
        (2, "QD_WORKER__CONCURRENCY"),
        (3, "--set"),
        (4, "--concurrency"),
    ]


def test_sources_add_up_key_by_key(tmp_path: Path) -> None:
    write(tmp_path / "qd.yaml", "worker: {concurrency: 3, processes: 2}\nlog: {level: debug}\n")
    settings = load(
        env={"QD_WORKER__PROCESSES": "5"}, sets=["log.format=json"], cwd=tmp_path
    ).settings
    assert (settings.worker.concurrency, settings.worker.processes) == (3, 5)
    assert (settings.log.level, settings.log.format) == ("debug", "json")


def test_a_flag_that_was_not_used_changes_nothing(tmp_path: Path) -> None:
    loaded = load(overrides={"worker.concurrency": None}, env={}, cwd=tmp_path)
    assert loaded.settings == Settings()


@pytest.mark.parametrize(
    ("key", "value", "origin"),
    [
        ("worker.strict_priority", True, "--strict"),
        ("scheduler.enabled", False, "--no-scheduler"),
        ("worker.shutdown_timeout", "20s", "--shutdown-timeout"),
        ("queues", {"low": 2}, "--queues"),
    ],
)
def test_the_origin_of_a_flag_is_its_name(
    tmp_path: Path, key: str, value: object, origin: str
) -> None:
    assert load(overrides={key: value}, env={}, cwd=tmp_path).origins[key] == origin


def test_queues_given_whole_replace_all_below(tmp_path: Path) -> None:
    write(tmp_path / "qd.yaml", "queues: {a: 1, b: 2}\n")
    assert load(env={}, cwd=tmp_path).settings.queues == {"a": 1, "b": 2}
    assert load(env={"QD_QUEUES": "c=3, d"}, cwd=tmp_path).settings.queues == {"c": 3, "d": 1}
    flag = load(overrides={"queues": "critical=10,default=4"}, env={}, cwd=tmp_path)
    assert flag.settings.queues == {"critical": 10, "default": 4}


def test_one_queue_given_by_its_key_is_added_to_those_below(tmp_path: Path) -> None:
    loaded = load(env={"QD_QUEUES__LOW": "2"}, sets=["queues.reports=5"], cwd=tmp_path)
    assert loaded.settings.queues == {**Settings().queues, "low": 2, "reports": 5}
    assert loaded.origins["queues"].startswith("default + ")

    write(tmp_path / "qd.yaml", "queues: {a: 1}\n")
    assert load(env={}, sets=["queues.b=2"], cwd=tmp_path).settings.queues == {"a": 1, "b": 2}


def test_entries_of_several_sources_are_merged_by_name(tmp_path: Path) -> None:
    write(tmp_path / "qd.yaml", "tasks:\n  email:send: {timeout: 5m, queue: high}\n")
    loaded = load(
        env={}, sets=["tasks.email:send.timeout=1m", 'tasks."a.b".max_retry=2'], cwd=tmp_path
    )
    email = loaded.settings.tasks["email:send"]
    assert (email.timeout, email.queue, email.max_retry) == (60.0, "high", None)
    assert loaded.settings.tasks["a.b"].max_retry == 2
    assert loaded.origins["tasks.email:send.timeout"] == "--set"
    assert loaded.origins["tasks.email:send.queue"] == "qd.yaml:2"
    assert loaded.origins['tasks."a.b".max_retry'] == "--set"


def test_the_retries_of_a_task_type_follow_the_general_ones(tmp_path: Path) -> None:
    write(
        tmp_path / "qd.yaml",
        "tasks: {a: {retry: {max: 10m}}, b: {queue: low}}\nretry: {initial: 5s, jitter: 0.5}\n",
    )
    settings = load(env={}, cwd=tmp_path).settings
    retry = settings.tasks["a"].retry
    assert retry is not None
    assert (retry.initial, retry.jitter, retry.max) == (5.0, 0.5, 600.0)
    assert settings.tasks["b"].retry is None


def test_free_form_payloads_keep_their_types(tmp_path: Path) -> None:
    write(
        tmp_path / "qd.yaml",
        "schedule:\n"
        "  report:\n"
        "    spec: '@every 1h'\n"
        "    type: report:daily\n"
        "    payload: {n: 7, x: 1.5, on: true, none: null, at: 12:30, list: [a, '7']}\n",
    )
    payload = load(env={}, cwd=tmp_path).settings.schedule["report"].payload
    assert payload == {
        "n": 7,
        "x": 1.5,
        "on": True,
        "none": None,
        "at": "12:30",
        "list": ["a", "7"],
    }
    changed = load(env={}, sets=['schedule.report.payload={"n": 8}'], cwd=tmp_path)
    assert changed.settings.schedule["report"].payload == {"n": 8}


def test_the_named_file_is_read_before_all_others(tmp_path: Path, no_system_file: Path) -> None:
    """-c, else QD_CONFIG, else ./qd.yaml, else the system's file."""
    named = write(tmp_path / "named.yaml", "app: named")
    variable = write(tmp_path / "variable.yaml", "app: variable")
    local = write(tmp_path / "qd.yaml", "app: local")
    write(no_system_file, "app: system")
    env = {"QD_CONFIG": str(variable)}

    assert load("named.yaml", env=env, cwd=tmp_path).settings.app == "named"
    assert load(named, env=env, cwd=tmp_path).path == named
    assert load(env=env, cwd=tmp_path).settings.app == "variable"
    assert load(env={}, cwd=tmp_path).path == local
    local.unlink()
    loaded = load(env={}, cwd=tmp_path)
    assert (loaded.settings.app, loaded.path) == ("system", no_system_file)


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_named_file_must_exist(tmp_path: Path, by_variable: bool) -> None:
    env = {"QD_CONFIG": "gone.yaml"} if by_variable else {}
    with pytest.raises(ConfigError) as caught:
        load(None if by_variable else "gone.yaml", env=env, cwd=tmp_path)
    source = "QD_CONFIG" if by_variable else "-c"
    assert caught.value.problems == [
        f'{source}: "gone.yaml" does not exist; name a file, or write one with `qd config init`'
    ]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a file"):
        load(".", env={}, cwd=tmp_path)


def test_an_empty_file_and_empty_sections_are_the_defaults(tmp_path: Path) -> None:
    write(tmp_path / "qd.yaml", "# nothing\n")
    assert load(env={}, cwd=tmp_path).settings == Settings()
    write(tmp_path / "qd.yaml", "redis:\n  tls:\nworker:\ntasks:\nschedule: {}\n")
    assert load(env={}, cwd=tmp_path).settings == Settings()


@pytest.mark.parametrize(
    "name",
    [
        "QD_DEBUG",
        "QD_FAILPOINT",
        "QD_REDIS_SERVER",
        "QD_SERVICE_HOST",
        "QD_PORT_6379_TCP_ADDR",
        "QD_METRICS_SERVICE_PORT_HTTP",
        "OTHER",
    ],
)
def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path, name: str) -> None:
    """QD_'s own special names, and the links to services that Kubernetes sets."""
    assert load(env={name: "tcp://10.0.0.1:80"}, cwd=tmp_path).settings == Settings()


def test_yaml_is_imported_only_when_there_is_a_file(tmp_path: Path) -> None:
    """Commands without a file start faster by the import of PyYAML."""
    code = (
        "import sys, pathlib\n"
        "from qd.config.load import load\n"
        "load(env={}, cwd=pathlib.Path(sys.argv[1]))\n"
        "print(sorted({'yaml', 'redis', 'asyncio', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
