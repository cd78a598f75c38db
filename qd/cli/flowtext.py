"""What people read of a task's place in a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qd.cli.render import Cell
    from qd.inspector.flows import PlaceView


def in_flow(place: PlaceView) -> dict[str, Cell]:
    """Return the facts: which flow, which link of it, what came before, what waits for it."""
    flow = place.flow
    return {
        "flow": f"{flow.id}, {flow.state}: {flow.ended} of {flow.links} links have ended",
        "link": f"{place.number} of {flow.links}",
        "comes after": _names(place.before, place.before_count),
        "waited for by": _names(place.behind, place.behind_count),
    }


def _names(ids: tuple[str, ...], count: int) -> str | None:
    more = f" and {count - len(ids):,} more" if count > len(ids) else ""
    return f"{', '.join(ids)}{more}" or None
