"""Two applications: which one is meant must be said."""

from __future__ import annotations

import qd

first = qd.App("first")
second = qd.App("second")
