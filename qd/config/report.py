"""Collects everything that is wrong with a configuration, in the order people look for it."""

from __future__ import annotations

from msgspec import Struct, field

from qd.config.given import Given, Path, Place, Problem, dotted


class Report(Struct):
    """The problems found so far, and the keys whose values could not be taken."""

    problems: list[Problem] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    def add(self, place: Place, message: str) -> None:
        """Note a problem that belongs to no setting."""
        self.problems.append(Problem(place, message))

    def about(self, path: Path, given: Given, message: str) -> None:
        """Note that the value given for a setting cannot be taken."""
        self.failed.add(dotted(path))
        self.add(given.place, f"{dotted(path)}: {message}")

    def about_key(self, path: Path, given: Given, message: str) -> None:
        """Note a problem with a key itself, not with its value."""
        self.failed.add(dotted(path))
        self.add(given.key_place, f"{dotted(path)}: {message}")

    def lines(self) -> list[str]:
        """Return one line for each problem: the file's from top to bottom, then the others."""
        in_order = sorted(
            self.problems,
            key=lambda problem: (not problem.place.line, problem.place.line, problem.place.column),
        )
        return list(dict.fromkeys(str(problem) for problem in in_order))
