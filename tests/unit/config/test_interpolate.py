"""References inside text: environment, files and systemd's credentials."""

from pathlib import Path

import pytest

from qd.config.dump import dump
from qd.config.load import load
from qd.errors import ConfigError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "qd.yaml"


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "redis").write_text("from systemd\n")
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${env:NAME}", "value"),
        ("a-${env:NAME}-${env:OTHER:-z}", "a-value-z"),
        ("${env:EMPTY:-default}", "default"),
        ("${env:EMPTY}x", "x"),
        ("${env:NAME:-default}", "value"),
        ("${env:OTHER:-}x", "x"),
        ("$${env:NAME}", "${env:NAME}"),
        ("$NAME $5", "$NAME $5"),
        ("${env:NESTED}", "${env:NAME}"),
    ],
)
def test_a_variable_is_filled_in_once(config: Path, text: str, expected: str) -> None:
    config.write_text(f"app: '{text}'\n")
    env = {"NAME": "value", "EMPTY": "", "NESTED": "${env:NAME}"}
    assert load(env=env, cwd=config.parent).settings.app == expected


def test_the_origin_tells_through_which_references_a_value_came(config: Path) -> None:
    config.write_text("app: ${env:A:-hidden}\nredis: {addrs: ['${env:B}:${env:C}']}\n")
    origins = load(env={"B": "host", "C": "1"}, cwd=config.parent).origins
    assert origins["app"] == "qd.yaml:1 via ${env:A}"
    assert origins["redis.addrs"] == "qd.yaml:2 via ${env:B} via ${env:C}"


def test_what_is_filled_in_is_read_as_the_settings_kind(config: Path) -> None:
    config.write_text("worker: {concurrency: '${env:N}', shutdown_timeout: '${env:T}'}\n")
    settings = load(env={"N": "7", "T": "20s"}, cwd=config.parent).settings
    assert (settings.worker.concurrency, settings.worker.shutdown_timeout) == (7, 20.0)


def test_a_file_gives_its_text_without_the_last_line_break(config: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("${env:X}\n\n")
    config.write_text(
        f"redis: {{password: '${{file:{tmp_path / 'secret'}}}'}}\napp: ${{file:app}}\n"
    )
    (tmp_path / "app").write_text("myapp.tasks\n")
    settings = load(env={}, cwd=tmp_path).settings
    assert settings.redis.password.reveal() == "${env:X}\n"
    assert settings.app == "myapp.tasks"


def test_a_credential_of_systemd_is_read(config: Path, credentials: Path) -> None:
    config.write_text("redis: {password: '${credential:redis}'}\n")
    loaded = load(env={"CREDENTIALS_DIRECTORY": str(credentials)}, cwd=config.parent)
    assert loaded.settings.redis.password.reveal() == "from systemd"
    assert loaded.origins["redis.password"] == "qd.yaml:1 via ${credential:redis}"


def test_references_work_in_the_environment_and_in_set(config: Path, credentials: Path) -> None:
    env = {
        "QD_REDIS__PASSWORD": "${credential:redis}",
        "CREDENTIALS_DIRECTORY": str(credentials),
        "APP": "myapp",
    }
    settings = load(env=env, sets=["app=${env:APP}.tasks"], cwd=config.parent).settings
    assert settings.redis.password.reveal() == "from systemd"
    assert settings.app == "myapp.tasks"


def test_values_of_flags_are_taken_as_they_are(tmp_path: Path) -> None:
    loaded = load(overrides={"app": "${env:X}"}, env={}, cwd=tmp_path)
    assert loaded.settings.app == "${env:X}"


def test_references_inside_payloads_are_filled_in_and_masked(config: Path) -> None:
    config.write_text(
        "schedule:\n"
        "  a: {spec: '@daily', type: t, payload: {token: '${env:TOKEN}'},"
        " headers: {auth: '${env:TOKEN}'}}\n"
        "  b: {spec: '@daily', type: t, payload: {n: 1}, headers: {x: open}}\n"
    )
    loaded = load(env={"TOKEN": "hunter2"}, cwd=config.parent)
    assert loaded.settings.schedule["a"].payload == {"token": "hunter2"}
    shown = dump(loaded.settings, loaded.origins)
    assert "hunter2" not in str(shown)
    assert shown["schedule"]["b"]["payload"] == {"n": 1}
    assert shown["schedule"]["b"]["headers"] == {"x": "open"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${env:NOPE}", "the environment has no NOPE; set it, or write ${env:NOPE:-default}"),
        ("${file:gone}", 'gone" cannot be read: No such file or directory'),
        ("${file:.}", "cannot be read: Is a directory"),
        ("${file:binary}", "is not UTF-8 text"),
        ("${credential:redis}", "the unit needs LoadCredential=redis:/path"),
        ("${credentials:redis}", 'Did you mean "credential"?'),
        ("${NAME}", "${NAME} names no source; write ${env:NAME} for a variable"),
        ("${}", "write ${env:NAME} for a variable"),
        ("${env:}", "is not understood"),
        ("${env:NAME", "has no closing brace"),
    ],
)
def test_a_reference_that_cannot_be_filled_in_is_the_only_problem_of_its_key(
    config: Path, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    config.write_text(f"retry: {{policy: list, delays: ['{text}']}}\n")
    with pytest.raises(ConfigError) as caught:
        load(env={}, cwd=tmp_path)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("qd.yaml:1:32: retry.delays: ")
    assert problem in caught.value.problems[0]


@pytest.mark.parametrize("name", ["../redis", "..", "gone"])
def test_a_credential_is_a_name_and_exists(config: Path, credentials: Path, name: str) -> None:
    config.write_text(f"redis: {{password: '${{credential:{name}}}'}}\n")
    with pytest.raises(ConfigError, match=r"leave out the path|cannot be read"):
        load(env={"CREDENTIALS_DIRECTORY": str(credentials)}, cwd=config.parent)


def test_the_password_file_becomes_the_password(config: Path, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2\n")
    config.write_text("redis: {password_file: pw}\n")
    loaded = load(env={}, cwd=tmp_path)
    assert loaded.settings.redis.password.reveal() == "hunter2"
    assert loaded.origins["redis.password"] == "qd.yaml:1 via redis.password_file"


def test_a_password_file_that_cannot_be_read_is_a_problem(config: Path) -> None:
    config.write_text("redis: {password_file: gone}\n")
    with pytest.raises(ConfigError, match=r"qd\.yaml:1:24: redis\.password_file: .*cannot be read"):
        load(env={}, cwd=config.parent)
