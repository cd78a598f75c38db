"""An application whose handler `sms` fails while the file `down` is there, and waits while `hold` is."""

from __future__ import annotations

import qd
from tests.process.apps.jobs import JOURNAL, app, note
from tests.support.wait import aeventually

DOWN = JOURNAL.with_name("down")
HOLD = JOURNAL.with_name("hold")


@app.task("sms", max_retry=0)
async def sms(ctx: qd.Context) -> None:
    note("start", ctx)
    await aeventually(lambda: not HOLD.exists(), 120)
    if DOWN.exists():
        note("fail", ctx)
        raise ConnectionError("no answer")
    note("end", ctx)
