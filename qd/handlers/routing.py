"""Which handler takes a task: exact type first, then the longest prefix (asynq's ServeMux)."""

from __future__ import annotations

from collections.abc import Iterator

from qd.errors import UsageError
from qd.handlers.handler import Handler

_REMEMBERED = 4096


class Router:
    """Handlers by pattern. A pattern is a task type or a prefix of task types."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._found: dict[str, Handler | None] = {}

    def add(self, handler: Handler) -> None:
        """
        Register a handler.

        Raises:
            UsageError: The pattern is blank or taken.
        """
        if not handler.pattern.strip():
            raise UsageError("a handler's pattern must not be blank")
        if handler.pattern in self._handlers:
            raise UsageError(
                f"{handler.pattern!r} has two handlers",
                hint="Task types are registered once; is a module imported under two names?",
            )
        self._handlers[handler.pattern] = handler
        self._found.clear()

    def find(self, task_type: str) -> Handler | None:
        """Return the handler of a task type, or None."""
        try:
            return self._found[task_type]
        except KeyError:
            pass
        handler = self._handlers.get(task_type)
        if handler is None:
            prefixes = [one for one in self._handlers if task_type.startswith(one)]
            handler = self._handlers[max(prefixes, key=len)] if prefixes else None
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[task_type] = handler
        return handler

    @property
    def patterns(self) -> list[str]:
        return sorted(self._handlers)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())
