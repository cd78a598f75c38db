"""
Writes the commented file that `qd config init` gives and `config/qd.yaml` is.

Every setting stands there at its default, commented out as `#key: value`; section names are not
commented, so that taking away one `#` is enough. Prose begins with `# `.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from qd.config.kinds import Data, Kind, ListOf, MapOf
from qd.config.model import Settings
from qd.config.setting import Entries, Section, Setting, settings_of

_HEADER = """\
# Settings of qd. Every key stands here at its default, commented out.
#
# Flags win over --set a.b=c, then the environment (QD_WORKER__CONCURRENCY=20), then this file.
# Durations: 500ms 30s 5m 2h 7d 1h30m. Sizes: bytes, or 512KiB 1MiB 2GiB.
# Values may hold ${env:NAME}, ${env:NAME:-default}, ${file:/path} and ${credential:NAME}.
# See what applies with `qd config show`; look for mistakes with `qd config check`.
"""
_WIDTH = 100
_COLUMN = 34
_STEP = "  "
_PLAIN_TEXT = re.compile(r"[A-Za-z./][\w./:-]*|\d+(\.\d+)?[A-Za-z]+", re.ASCII)
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})

# What the commented file shows as an entry of the settings that are entries by name.
_EXAMPLE_NAMES = {
    "tasks": "email:send",
    "limits": "stripe",
    "breakers": "sms",
    "queues": "low",
    "schedule": "nightly-report",
}


def render_template() -> str:
    """Return the text of the commented file, with a line break at its end."""
    lines: list[str] = [_HEADER]
    for name, setting in settings_of(Settings).items():
        if isinstance(setting.shape, (Section, Entries, MapOf)):
            lines.append("")
        lines += _render(name, setting, "")
    return "\n".join(lines).rstrip() + "\n"


def _render(name: str, setting: Setting, indent: str) -> Iterator[str]:
    shape = setting.shape
    if isinstance(shape, Section):
        yield f"{indent}# {setting.comment}"
        yield f"{indent}{name}:"
        for inner, inner_setting in settings_of(shape.model).items():
            yield from _render(inner, inner_setting, indent + _STEP)
    elif isinstance(shape, Entries):
        yield f"{indent}# {setting.comment}"
        yield f"{indent}#{name}: {{}}"
        yield f"{indent}# {name}:"
        yield f"{indent}# {_STEP}{_EXAMPLE_NAMES[name]}:"
        for inner, inner_setting in settings_of(shape.model).items():
            yield from _render_example(inner, inner_setting, f"{indent}# {_STEP * 2}")
    elif isinstance(shape, MapOf):
        yield f"{indent}# {setting.comment}"
        yield f"{indent}#{name}:"
        for entry, value in setting.make_default().items():
            yield f"{indent}#{_STEP}{entry}: {_scalar(shape.kind.show(value))}"
    else:
        value = _shown(setting, setting.make_default())
        yield from _with_comment(f"{indent}#{name}: {value}", _explanation(setting), indent)


def _render_example(name: str, setting: Setting, indent: str) -> Iterator[str]:
    """Show a key of an entry: at its example, else at its default."""
    if isinstance(setting.shape, Section):
        yield f"{indent}# {setting.comment}"
        yield f"{indent}{name}: {{policy: fixed, initial: 30s}}"
        return
    default = setting.make_default()
    value = setting.example if default is None else default
    yield from _with_comment(
        f"{indent}{name}: {_shown(setting, value)}", _explanation(setting), indent
    )


def _with_comment(line: str, comment: str, indent: str) -> Iterator[str]:
    head = line.ljust(_COLUMN) + " "
    first, *more = textwrap.wrap(comment, _WIDTH - len(head) - 2)
    yield f"{head}# {first}"
    for text in more:
        yield f"{indent}".ljust(len(head)) + f"# {text}"


def _explanation(setting: Setting) -> str:
    shape = setting.shape
    limits = ""
    if isinstance(shape, Kind):
        limits = _limits(setting, shape)
    return setting.comment + limits


def _limits(setting: Setting, kind: Kind) -> str:
    if kind.options:
        return ": " + " | ".join(kind.options)
    low, high = setting.minimum, setting.maximum
    if high is not None:
        return f" ({kind.show(low)} to {kind.show(high)})"
    return f" (at least {kind.show(low)})" if low else ""


def _shown(setting: Setting, value: Any) -> str:
    shape = setting.shape
    if isinstance(shape, ListOf):
        return "[" + ", ".join(_scalar(shape.kind.show(item)) for item in value) + "]"
    if isinstance(shape, (MapOf, Data)):
        return json.dumps(value)
    assert isinstance(shape, Kind)  # noqa: S101 - sections and entries were dealt with before
    return _scalar(shape.show(value))


def _scalar(value: Any) -> str:
    """Write one value so that YAML reads it back: bare where that is safe, else quoted."""
    if isinstance(value, str) and _PLAIN_TEXT.fullmatch(value) and value not in _YAML_WORDS:
        return value
    return json.dumps(value)
