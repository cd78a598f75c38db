"""Reads the sources whose values are text by dotted key: the environment, `--set`, and flags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qd.config.from_python import given_from
from qd.config.given import Given, Place, merge, split_key
from qd.config.model import Settings
from qd.config.report import Report
from qd.config.setting import Section, settings_of

PREFIX = "QD_"

# Names that begin like settings and are read elsewhere.
RESERVED = frozenset({"QD_CONFIG", "QD_DEBUG", "QD_FAILPOINT", "QD_REDIS_SERVER"})

# Kubernetes sets these in every container beside a service whose name begins with "qd".
_SERVICE_LINK = re.compile(
    r"QD_(.+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


def merge_environment(tree: dict[str, Given], env: Mapping[str, str]) -> None:
    """Put the values of all `QD_A__B` variables into `tree`."""
    found = [
        (tuple(name.removeprefix(PREFIX).lower().split("__")), name)
        for name in env
        if name.startswith(PREFIX) and name not in RESERVED and not _SERVICE_LINK.fullmatch(name)
    ]
    # A whole mapping before single entries of it: QD_QUEUES, then QD_QUEUES__LOW.
    for path, name in sorted(found, key=lambda item: len(item[0])):
        place = Place(name)
        merge(tree, path, Given(env[name], place, place))


def merge_sets(tree: dict[str, Given], sets: Sequence[str], report: Report) -> None:
    """Put the values of `--set key=value` into `tree`, the last one of a key winning."""
    place = Place("--set")
    for assignment in sets:
        key, sign, text = assignment.partition("=")
        path = split_key(key.strip())
        if sign and path:
            merge(tree, path, Given(text, place, place))
        else:
            # Without the sign the whole may be a secret: only a key is repeated.
            what = f'"{key}" is no key' if sign else "the value is missing"
            report.add(place, f"{what}; write --set worker.concurrency=20")


def merge_flags(tree: dict[str, Given], overrides: Mapping[str, object]) -> None:
    """Put the values of flags, by dotted key, into `tree`; None means the flag was not used."""
    for key, value in overrides.items():
        if value is not None:
            path = split_key(key) or (key,)
            merge(tree, path, given_from(value, Place(_flag_for(path))))


def variable(path: tuple[str, ...]) -> str:
    """Return a setting's name in the environment, as in `QD_WORKER__CONCURRENCY`."""
    return PREFIX + "__".join(path).upper()


def _flag_for(path: tuple[str, ...]) -> str:
    model: type = Settings
    for name in path:
        setting = settings_of(model).get(name)
        if setting is None:
            break
        if setting.flag:
            return setting.flag
        if not isinstance(setting.shape, Section):
            break
        model = setting.shape.model
    return "--" + path[-1].replace("_", "-")
