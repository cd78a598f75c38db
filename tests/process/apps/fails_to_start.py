"""An application whose startup hook fails."""

from __future__ import annotations

import qd

app = qd.App("fails_to_start")


@app.on_startup
async def connect() -> None:
    raise ConnectionError("no database")
