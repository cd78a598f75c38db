"""
Reads the configuration from all its sources, and reports all problems at once.

A later source wins: defaults, the file, the environment, `--set`, flags. The file is the one
named, else that of `QD_CONFIG`, else `./qd.yaml`, else `/etc/qd/qd.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from qd.config.build import Builder
from qd.config.from_python import read_python
from qd.config.from_text import merge_environment, merge_flags, merge_sets
from qd.config.given import Given, Place
from qd.config.interpolate import Interpolation, read_secret_file
from qd.config.model import Settings
from qd.config.report import Report
from qd.config.rules import conflicts
from qd.config.secrets import Secret
from qd.errors import ConfigError

# Relative to the working directory, in this order.
SEARCHED_FILES = ("qd.yaml", "/etc/qd/qd.yaml")

_PASSWORD = "redis.password"  # noqa: S105 - the name of a setting
_PASSWORD_FILE = "redis.password_file"  # noqa: S105


class Loaded(Struct, frozen=True):
    """
    The settings, and where each came from.

    `origins` names a source for every key: `qd.yaml:12`, `QD_WORKER__CONCURRENCY`, `--set`,
    `--concurrency` or `default`; ` via ${env:NAME}` follows where a reference was filled in.
    `path` is the file that was read, None if there was none.
    """

    settings: Settings
    origins: Mapping[str, str]
    path: Path | None


def load(
    path: str | Path | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    sets: Sequence[str] = (),
    env: Mapping[str, str],
    cwd: Path,
) -> Loaded:
    """
    Read the configuration. Reads files, changes nothing; safe to repeat.

    Args:
        path: The file to read instead of searching for one; it must exist.

        overrides: Values of flags by dotted key, as in `{"worker.concurrency": 20}`. Text is read
            as in the file; a None is skipped.

        sets: The `key=value` texts of `--set`.

        env: The environment, with its `QD_A__B` variables.

        cwd: What relative paths start from.

    Raises:
        ConfigError: One line for each problem, with its place, its value and what to do.
    """
    report = Report()
    file = _find_file(path, env, cwd, report)
    tree: dict[str, Given] = {}
    if file is not None:
        # PyYAML is the slowest import of the configuration: only for those who have a file.
        from qd.config.from_yaml import read_yaml

        tree = read_yaml(file, _label(file, cwd), report)
    merge_environment(tree, env)
    merge_sets(tree, sets, report)
    tree = Interpolation(env, cwd, report).tree(tree)
    # Flags and values of Python are taken as they are: the shell has filled in what was meant.
    merge_flags(tree, overrides or {})
    return Loaded(*_build(tree, cwd, report), file)


def from_mapping(source: object) -> Settings:
    """
    Return the settings that a mapping or an object holds, the defaults for all others.

    Understood are nested mappings by the model's names, objects with attributes of these names,
    the flat names of a ConfigProvider (`redis_addrs`, `concurrency` ...), and `Settings`, which is
    returned as it is. Numbers for durations are seconds. Neither file nor environment is read,
    except for `redis.password_file`.

    Raises:
        ConfigError: One line for each problem.
    """
    if isinstance(source, Settings):
        return source
    report = Report()
    tree = read_python(source, Place("config"), report)
    settings, _ = _build(tree, Path.cwd(), report)
    return settings


def _build(
    tree: Mapping[str, Given], cwd: Path, report: Report
) -> tuple[Settings, Mapping[str, str]]:
    builder = Builder(report)
    settings = builder.settings(tree)
    for conflict in conflicts(settings):
        # A rule about a value that was not understood would only confuse.
        if report.failed.isdisjoint(conflict.keys):
            given = [builder.given[key] for key in conflict.keys if key in builder.given]
            place = given[0].place if given else Place("config")
            report.add(place, f"{conflict.keys[0]}: {conflict.message}")
    settings = _with_password(settings, builder, cwd)
    if report.problems:
        raise ConfigError(report.lines())
    return settings, builder.origins


def _with_password(settings: Settings, builder: Builder, cwd: Path) -> Settings:
    file = settings.redis.password_file
    if not file or settings.redis.password:
        return settings
    try:
        password = Secret(read_secret_file(cwd / file))
    except ValueError as error:
        given = builder.given[_PASSWORD_FILE]
        builder.report.about(("redis", "password_file"), given, str(error))
        return settings
    builder.origins[_PASSWORD] = f"{builder.origins[_PASSWORD_FILE]} via {_PASSWORD_FILE}"
    return replace(settings, redis=replace(settings.redis, password=password))


def _find_file(
    path: str | Path | None, env: Mapping[str, str], cwd: Path, report: Report
) -> Path | None:
    named = path or env.get("QD_CONFIG")
    if not named:
        return next((cwd / name for name in SEARCHED_FILES if (cwd / name).is_file()), None)
    file = cwd / named
    if file.is_file():
        return file
    place = Place("-c" if path else "QD_CONFIG")
    what = "is not a file" if file.exists() else "does not exist"
    report.add(place, f'"{named}" {what}; name a file, or write one with `qd config init`')
    return None


def _label(file: Path, cwd: Path) -> str:
    return str(file.relative_to(cwd) if file.is_relative_to(cwd) else file)
