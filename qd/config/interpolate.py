"""
Fills in references inside text: `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}` and
`${credential:NAME}`, the last from systemd's `$CREDENTIALS_DIRECTORY`. `$${` stands for `${`.

What was filled in is not looked at again, so that a secret may hold any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath

from msgspec import Struct
from msgspec.structs import replace

from qd.config.given import Given, Path
from qd.config.report import Report
from qd.suggest import did_you_mean

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_SOURCES = ("env", "file", "credential")


def read_secret_file(path: FilePath) -> str:
    """
    Return the text of a file without the line break at its end.

    Raises:
        ValueError: The file cannot be read; the message says why.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f'the file "{path}" cannot be read: {error.strerror}') from None
    except UnicodeDecodeError:
        raise ValueError(f'the file "{path}" is not UTF-8 text') from None
    return text.removesuffix("\n")


class Interpolation(Struct):
    """Fills in the references of a whole tree and collects what is wrong with them."""

    env: Mapping[str, str]
    cwd: FilePath
    report: Report

    def tree(self, tree: dict[str, Given], path: Path = ()) -> dict[str, Given]:
        """Return the tree with all references filled in, without the values that failed."""
        filled = {name: self._given(given, (*path, name)) for name, given in tree.items()}
        return {name: given for name, given in filled.items() if given is not None}

    def _given(self, given: Given, path: Path) -> Given | None:
        if isinstance(given.value, dict):
            inside = self.tree(given.value, path)
            return replace(given, value=inside, via=_via(inside.values()))
        if isinstance(given.value, list):
            items = [self._given(item, path) for item in given.value]
            kept = [item for item in items if item is not None]
            return replace(given, value=kept, via=_via(kept))
        if not isinstance(given.value, str) or "${" not in given.value:
            return given
        try:
            text, via = self._fill(given.value)
        except ValueError as error:
            self.report.about(path, given, str(error))
            return None
        return replace(given, value=text, via=via, data=given.data if given.only_text else text)

    def _fill(self, text: str) -> tuple[str, tuple[str, ...]]:
        via: list[str] = []

        def fill(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            if match[1] is None:
                raise ValueError("a ${ has no closing brace; write $${ for the two characters")
            source, _, argument = match[1].partition(":")
            # The default may be a secret; where a value came from is told without it.
            via.append("${" + source + ":" + argument.partition(":-")[0] + "}")
            return self._resolve(source, argument)

        return _REFERENCE.sub(fill, text), tuple(via)

    def _resolve(self, source: str, argument: str) -> str:
        if source == "env" and argument:
            return self._variable(argument)
        if source == "file" and argument:
            return read_secret_file(self.cwd / argument)
        if source == "credential" and argument:
            return self._credential(argument)
        if not argument and source not in _SOURCES:
            raise ValueError(
                f"${{{source}}} names no source; write ${{env:{source or 'NAME'}}} for a variable,"
                " or $${ for the two characters"
            )
        raise ValueError(
            f"${{{source}:...}} is not understood; write ${{env:NAME}}, ${{file:/path}} or"
            f" ${{credential:NAME}}.{did_you_mean(source, _SOURCES)}"
        )

    def _variable(self, argument: str) -> str:
        name, default_mark, default = argument.partition(":-")
        value = self.env.get(name, "")
        if value or (not default_mark and name in self.env):
            return value
        if default_mark:
            return default
        raise ValueError(
            f"the environment has no {name}; set it, or write ${{env:{name}:-default}}"
        )

    def _credential(self, name: str) -> str:
        folder = self.env.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise ValueError(
                f"no credentials were passed; the unit needs LoadCredential={name}:/path"
            )
        if "/" in name or name in (".", ".."):
            raise ValueError(f'"{name}" is not the name of a credential; leave out the path')
        return read_secret_file(FilePath(folder, name))


def _via(inside: Iterable[Given]) -> tuple[str, ...]:
    merged: dict[str, None] = {}
    for given in inside:
        merged |= dict.fromkeys(given.via)
    return tuple(merged)
