"""
Hands on what a server sends, as it arrives.

The client library opens a connection and logs in; from then on the transport has this protocol. Its
own way would be a stream, a coroutine that waits for it, and a turn of the loop between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from qd.broker.lean import exceptions, hiredis_parser

_NOTHING = hiredis_parser.NOT_ENOUGH_DATA


class Replies(asyncio.Protocol):
    """
    Takes over *connection*, which is the library's and open.

    *on_reply* gets every reply in its order, errors as exceptions; *on_lost* why the connection is of no
    use any more, perhaps more than once.
    """

    def __init__(
        self,
        connection: Any,
        on_reply: Callable[[Any], None],
        on_lost: Callable[[BaseException], None],
    ) -> None:
        self._reader = connection._parser._reader
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._stream = connection._reader
        self.transport = cast(asyncio.Transport, connection._writer.transport)

    def start(self) -> None:
        """Hand on what has come already, then what comes."""
        self.transport.set_protocol(self)
        # The stream stops reading when it is full, and has no say any more.
        self.transport.resume_reading()
        self.data_received(bytes(self._stream._buffer))
        if self._stream.at_eof():
            self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        gets, on_reply = self._reader.gets, self._on_reply
        try:
            self._reader.feed(data)
            while (reply := gets()) is not _NOTHING:
                on_reply(reply)
        except exceptions.RedisError as error:  # this is not the protocol of Redis
            self._on_lost(error)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._on_lost(exc or exceptions.ConnectionError("Connection closed by server."))
