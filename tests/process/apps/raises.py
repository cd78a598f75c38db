"""An application whose import fails."""

from __future__ import annotations

import qd

app = qd.App("raises")


def connect() -> None:
    raise ValueError("no database\nat this address")


connect()
