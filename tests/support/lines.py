"""Files that programs under test write to, line by line, while tests read them."""

from __future__ import annotations

from pathlib import Path


def whole_lines(path: Path) -> list[str]:
    """
    The lines that are there completely; none if there is no file.

    The last one may be on its way: a write that crosses a page is seen in two steps.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return whole.splitlines()
