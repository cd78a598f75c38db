"""The raw task, for handlers that ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qd import jsoncodec
from qd.errors import PayloadError
from qd.protocol.message import TaskMessage


class Task:
    """A task as a handler sees it: type, payload bytes, headers."""

    __slots__ = ("_message",)

    def __init__(self, message: TaskMessage) -> None:
        self._message = message

    @property
    def id(self) -> str:
        return self._message.id

    @property
    def type(self) -> str:
        return self._message.type

    @property
    def payload(self) -> bytes:
        """The payload as it was enqueued; any bytes, not only JSON."""
        return self._message.payload

    @property
    def queue(self) -> str:
        return self._message.terms.queue

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self._message.terms.headers)

    def json(self) -> Any:
        """
        Return the payload read as JSON.

        Raises:
            PayloadError: It is not JSON; left alone, it sends the task to the dead letters.
        """
        try:
            return jsoncodec.loads(self._message.payload)
        except ValueError as error:
            raise PayloadError(f"payload of {self.type} is not JSON: {error}") from error

    def __repr__(self) -> str:
        return f"Task(type={self.type!r}, id={self.id!r}, payload={len(self.payload)} bytes)"
