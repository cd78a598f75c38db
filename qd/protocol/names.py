"""Which queue names, task types, ids and group names are allowed. Same rules on both sides."""

from __future__ import annotations

from qd.errors import InvalidName

_LONGEST = 512


def check_queue(name: str) -> str:
    """
    Return *name* if it can be a queue.

    Braces would break the cluster hash tag that all keys of a queue share; control characters
    and blank names are unreadable in every tool.

    Raises:
        InvalidName: The name cannot be used; nothing was written.
    """
    _check("queue name", name)
    if "{" in name or "}" in name:
        raise InvalidName(
            f"queue name {name!r} contains a brace",
            hint="Braces mark the Redis Cluster hash tag; use letters, digits, and - _ . :",
        )
    return name


def check_type(name: str) -> str:
    """Return *name* if it can be a task type; raises InvalidName."""
    return _check("task type", name)


def check_id(name: str) -> str:
    """Return *name* if it can be a task id; raises InvalidName."""
    return _check("task id", name)


def check_group(name: str) -> str:
    """Return *name* if it can be a group; raises InvalidName."""
    return _check("group", name)


def _check(what: str, name: str) -> str:
    if not isinstance(name, str):
        raise InvalidName(f"{what} must be text, not {type(name).__name__}")
    if not name.strip():
        raise InvalidName(f"{what} {name!r} is blank", hint=f"Give the {what} a name.")
    if len(name) > _LONGEST:
        raise InvalidName(f"{what} has {len(name)} characters; {_LONGEST} is the most")
    if not name.isprintable():
        raise InvalidName(
            f"{what} {name!r} contains a control character",
            hint="Only printable characters can be shown and typed by the people who run this.",
        )
    return name
