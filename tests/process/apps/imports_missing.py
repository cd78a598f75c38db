"""An application that needs a package that is not there."""

from __future__ import annotations

import no_such_package  # noqa: F401
