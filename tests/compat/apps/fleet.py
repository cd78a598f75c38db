"""The application of `qd worker` in the compatibility suites; COMPAT_FOLDER has its files."""

from __future__ import annotations

import os
from pathlib import Path

import qd
from tests.compat.apps.behaviours import install

app = qd.App("fleet")
install(app, Path(os.environ["COMPAT_FOLDER"]))
