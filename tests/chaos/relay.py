"""
A TCP relay between qd and its server that knows Redis' protocol well enough to do harm on purpose.

It counts commands and answers, so that the answer to the second `dequeue` can be lost after the server
has carried it out. It also holds, delays, cuts and refuses connections, all of them at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from qd.protocol.scripts import Script

T = TypeVar("T")

_CHUNK = 1 << 16
_CALL_LIMIT = 10.0


class Loss(Enum):
    """What the client sees of a lost answer."""

    CUT = auto()
    """The connection ends."""
    SILENCE = auto()
    """The connection stays open, and nothing comes out of it any more."""


@dataclass
class _Wish:
    """Lose the answers to a command: *skip* of them pass, then *left* are lost."""

    command: str
    skip: int
    left: int
    loss: Loss


@dataclass(eq=False)
class _Pair:
    """One connection: to the client, to the server, and the commands that wait for an answer."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    unanswered: deque[str] = field(default_factory=deque)
    silent: bool = False

    def cut(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Relay:
    """
    Listens on a free port of 127.0.0.1 and passes all on to a server's unix socket.

    Commands are named as they are sent, in capitals; scripts by their name, as in `dequeue`. Every
    method may be called from any thread, and what it asks for holds when it returns.
    """

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._listener: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._carriers: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._seconds = 0.0
        self._wishes: list[_Wish] = []
        self.answered: Counter[str] = Counter()
        """How many answers to each command came from the server, lost ones included."""
        self.lost: Counter[str] = Counter()
        """How many of them were lost."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wait_for(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def lose_answer(
        self, command: str, *, nth: int = 1, times: int = 1, loss: Loss = Loss.CUT
    ) -> None:
        """
        Lose the *nth* answer to a command from now on, and the *times* - 1 after it.

        The server has carried the command out. That it does not know a script is no answer.
        """
        self._call(lambda: self._wishes.append(_Wish(command, nth - 1, times, loss)))

    def cut(self) -> None:
        """Break all connections; new ones are accepted."""
        self._call(lambda: [pair.cut() for pair in list(self._pairs)])

    def delay(self, seconds: float) -> None:
        """Pass every answer on so much later than it came; 0 ends that."""
        self._call(lambda: setattr(self, "_seconds", seconds))

    def hold(self) -> None:
        """Pass nothing on, in neither direction; connections stay open."""
        self._call(self._flowing.clear)

    def release(self) -> None:
        """Pass on what was held, and all that follows."""
        self._call(self._flowing.set)

    def refuse(self) -> None:
        """Accept no new connection; those that exist stay."""
        self._wait_for(self._refuse())

    def accept(self) -> None:
        """Accept connections, on the same port as before."""
        self._wait_for(self._accept())

    def _call(self, what: Callable[[], Any]) -> None:
        async def call() -> None:
            what()

        self._wait_for(call())

    def _wait_for(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(_CALL_LIMIT)

    async def _accept(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        # Without wait_closed(): from Python 3.12 on that waits for the connections as well.
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _close(self) -> None:
        await self._refuse()
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_unix_connection(self._socket_path)
        except OSError:
            writer.transport.abort()
            return
        # Nothing may be left in a buffer when a connection is cut: what was not lost on purpose arrives.
        writer.transport.set_write_buffer_limits(0)
        pair = _Pair(writer, to_server)
        self._pairs.add(pair)
        carriers = [
            asyncio.create_task(self._carry_commands(reader, pair)),
            asyncio.create_task(self._carry_answers(from_server, pair)),
        ]
        self._carriers.update(carriers)
        try:
            await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # One side has ended: so has the other.
            pair.cut()
            self._pairs.discard(pair)
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
            self._carriers.difference_update(carriers)

    async def _carry_commands(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        frames = _Frames()
        while chunk := await reader.read(_CHUNK):
            await self._flowing.wait()
            pair.unanswered.extend(map(_name_of, frames.feed(chunk)))
            pair.server.write(chunk)
            await pair.server.drain()

    async def _carry_answers(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        frames = _Frames()
        while chunk := await reader.read(_CHUNK):
            if self._seconds:
                await asyncio.sleep(self._seconds)
            await self._flowing.wait()
            for frame in frames.feed(chunk):
                loss = self._loss_of(frame, pair)
                if loss is Loss.CUT:
                    await pair.client.drain()
                    return
                pair.silent = pair.silent or loss is Loss.SILENCE
                if not pair.silent:
                    pair.client.write(frame)
            await pair.client.drain()

    def _loss_of(self, frame: bytes, pair: _Pair) -> Loss | None:
        """Count an answer, and say whether it is to be lost."""
        if frame.startswith(b">") and b"subscribe\r\n" not in frame[:40]:
            return None  # sent unasked
        command = pair.unanswered.popleft()
        if frame.startswith(b"-NOSCRIPT"):
            return None
        self.answered[command] += 1
        for wish in self._wishes:
            if wish.command != command or not wish.left:
                continue
            if wish.skip:
                wish.skip -= 1
                continue
            wish.left -= 1
            self.lost[command] += 1
            return wish.loss
        return None


class _Frames:
    """Cuts a stream into the commands or answers it is made of, bytes unchanged."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        data, start = self._rest + chunk, 0
        while (end := _end_of_frame(data, start)) is not None:
            yield data[start:end]
            start = end
        self._rest = data[start:]


def _end_of_frame(data: bytes, start: int) -> int | None:
    """Where the value that begins at *start* ends; None if not all of it is there."""
    line_end = data.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, end = data[start : start + 1], line_end + 2
    if kind in b"$=!":  # a length, then so many bytes
        length = int(data[start + 1 : line_end])
        end += length + 2 if length >= 0 else 0
        return end if end <= len(data) else None
    if kind in b"*~>%":  # a count, then so many values; a map has two for each
        for _ in range(int(data[start + 1 : line_end]) * (2 if kind == b"%" else 1)):
            inner = _end_of_frame(data, end)
            if inner is None:
                return None
            end = inner
    return end


def _name_of(frame: bytes) -> str:
    _, _, command, _, first, *_ = [*frame.split(b"\r\n", 5), b"", b"", b""]
    name = command.decode().upper()
    if name == "EVALSHA":
        return _script_names().get(first.decode(), name)
    if name == "EVAL":
        digest = hashlib.sha1(first, usedforsecurity=False).hexdigest()
        return _script_names().get(digest, name)
    return name


@cache
def _script_names() -> dict[str, str]:
    """The scripts of qd by the digests of both their texts."""
    names = {}
    for file in (files("qd.protocol") / "lua").iterdir():
        if file.name.endswith(".lua"):
            script = Script(file.name.removesuffix(".lua"))
            names[script.sha] = names[script.plain_sha] = script.name
    return names
