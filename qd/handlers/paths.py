"""What stands under a path such as `payload.tenant.id` in a task: keys of limits, breakers and polls."""

from __future__ import annotations

import hashlib
from typing import Any

from qd import jsoncodec
from qd.protocol.message import TaskMessage

_LONGEST_KEY = 200


def short_key(key: str) -> str:
    """Return a key as it is, or its digest if it is long: it is kept in Redis for each task that waits."""
    return key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()


def value_at(path: str, message: TaskMessage) -> str:
    """The value under a path such as `payload.tenant.id`; empty if there is none."""
    where, _, rest = path.partition(".")
    if where == "headers":
        return dict(message.terms.headers).get(rest, "")
    try:
        value: Any = jsoncodec.loads(message.payload)
        for step in rest.split("."):
            value = value[step]
    except (ValueError, TypeError, LookupError):
        return ""
    return value if isinstance(value, str) else jsoncodec.dumps(value).decode()
