"""
For tests of applications: a kit with a server of its own and a clock that stands still.

    with Kit(app) as kit:                     # or the fixture `qd_kit` of the pytest plugin
        kit.run(send_email, to="ann@example.com", subject="Hello")
        signup.enqueue(...)
        kit.assert_enqueued("email:send", payload={"to": "ann@example.com"})
        kit.drain()
        kit.advance("1d")

Read `kit.py` first. Tasks are run by the worker and moved by the scheduler that production has, one
step at a time (`stage.py`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qd.errors import KitError as KitError
    from qd.testing.crash import Crash as Crash
    from qd.testing.kit import Kit as Kit
    from qd.testing.ran import Ran as Ran
    from qd.testing.ran import Runs as Runs
    from qd.testing.stored import StoredTask as StoredTask

_HOMES = {
    "Crash": "qd.testing.crash",
    "Kit": "qd.testing.kit",
    "KitError": "qd.errors",
    "Ran": "qd.testing.ran",
    "Runs": "qd.testing.ran",
    "StoredTask": "qd.testing.stored",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # pytest loads the plugin of this package in every project that has qd installed.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'qd.testing' has no attribute {name!r}")
    return getattr(import_module(home), name)
