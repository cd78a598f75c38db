"""The commented file that is shipped and that `qd config init` writes."""

import re
from datetime import UTC, datetime
from pathlib import Path

import yaml

from qd.config.load import load
from qd.config.model import Settings
from qd.config.setting import Entries, Section, settings_of
from qd.config.tasks import RetrySettings, ScheduleEntry, TaskOverrides
from qd.config.template import render_template

SHIPPED = Path(__file__).parents[3] / "config" / "qd.yaml"


def uncommented(text: str) -> str:
    """Return the file with every setting in force; prose and examples stay comments."""
    return re.sub(r"^( *)#(?=[a-z]|  [a-z])", r"\1", text, flags=re.MULTILINE)


def keys_of(model: type) -> set[str]:
    keys: set[str] = set()
    for name, setting in settings_of(model).items():
        inside = keys_of(setting.shape.model) if isinstance(setting.shape, Section) else set()
        keys |= {f"{name}.{key}" for key in inside} or {name}
    return keys


def named_keys(data: object, model: type) -> set[str]:
    assert isinstance(data, dict)
    keys: set[str] = set()
    for name, value in data.items():
        setting = settings_of(model)[name]
        if isinstance(setting.shape, Section):
            keys |= {f"{name}.{key}" for key in named_keys(value, setting.shape.model)}
        else:
            keys.add(name)
    return keys


def example(name: str) -> str:
    """Return the example of a setting that holds entries, with its comment signs taken away."""
    match = re.search(rf"^# {name}:\n(?:#  .*\n)+", render_template(), re.MULTILINE)
    assert match is not None
    return re.sub(r"^# ", "", match[0], flags=re.MULTILINE)


def test_the_shipped_file_is_what_the_model_gives() -> None:
    """If this fails, write `render_template()` to config/qd.yaml again."""
    assert SHIPPED.read_text() == render_template()


def test_the_file_as_it_is_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "qd.yaml").write_text(render_template())
    loaded = load(env={}, cwd=tmp_path)
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}


def test_the_file_names_every_key_at_its_default(tmp_path: Path) -> None:
    text = uncommented(render_template())
    assert named_keys(yaml.safe_load(text), Settings) == keys_of(Settings)

    (tmp_path / "qd.yaml").write_text(text)
    loaded = load(env={}, cwd=tmp_path)
    assert loaded.settings == Settings()
    assert not [key for key, origin in loaded.origins.items() if origin == "default"]


def test_every_setting_can_be_taken_into_force_by_itself(tmp_path: Path) -> None:
    """Taking away the # of one line gives a file that can be read."""
    lines = render_template().splitlines()
    settings = [
        number
        for number, line in enumerate(lines)
        if re.match(r" *#[a-z]", line) and not line.startswith("#queues:")
    ]
    assert len(settings) > 50
    for number in settings:
        changed = [*lines[:number], lines[number].replace("#", "", 1), *lines[number + 1 :]]
        (tmp_path / "qd.yaml").write_text("\n".join(changed))
        assert load(env={}, cwd=tmp_path).settings == Settings()


def test_the_example_of_a_periodic_task_names_all_its_keys(tmp_path: Path) -> None:
    text = example("schedule")
    [entry] = yaml.safe_load(text)["schedule"].values()
    assert set(entry) == set(settings_of(ScheduleEntry))

    (tmp_path / "qd.yaml").write_text(text)
    [read] = load(env={}, cwd=tmp_path).settings.schedule.values()
    assert read == ScheduleEntry(
        spec="0 7 * * 1-5",
        type="report:daily",
        queue="default",
        max_retry=25,
        timeout=1800.0,
        retention=0.0,
        timezone="UTC",
        start=datetime(2030, 1, 1, tzinfo=UTC),
        end=datetime(2030, 12, 31, tzinfo=UTC),
    )


def test_the_example_of_a_task_type_names_all_its_keys(tmp_path: Path) -> None:
    text = example("tasks")
    [entry] = yaml.safe_load(text)["tasks"].values()
    assert set(entry) == set(settings_of(TaskOverrides))

    (tmp_path / "qd.yaml").write_text(text)
    [read] = load(env={}, cwd=tmp_path).settings.tasks.values()
    assert read.retry == RetrySettings(policy="fixed", initial=30.0)


def test_every_setting_is_explained_in_few_words() -> None:
    """One explanation for each, no line of the file wider than 100 characters."""
    assert max(map(len, render_template().splitlines())) <= 100

    def check(model: type) -> None:
        for name, setting in settings_of(model).items():
            assert 5 < len(setting.comment) < 160, name
            if isinstance(setting.shape, (Section, Entries)):
                check(setting.shape.model)

    check(Settings)
