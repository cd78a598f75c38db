"""The application of `jobs.py` for one who has much to import: nothing of it is there before the file `go`."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.wait import eventually

eventually(Path(os.environ["TEST_JOURNAL"]).with_name("go").exists, 60)

from tests.process.apps.jobs import app  # noqa: E402

__all__ = ["app"]
