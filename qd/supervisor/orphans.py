"""
News of dead workers, until somebody has been told who hands their tasks back.

The scheduler is told if it is ready, else a worker that is. Handing back twice is harmless, so a
line whose reader dies soon after is sent to the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from qd import failpoint
from qd.supervisor.child import ChildRole, Death, inbox_line
from qd.supervisor.process import Child

# Seconds within which a reader may not yet have done what a line says.
_IN_HAND = 30.0
# Names are at most 255 bytes here, so that a line stays shorter than PIPE_BUF.
_NAMES_IN_A_LINE = 12
# Far more than can matter: the leases of the oldest have run out long before.
_MOST_KEPT = 1000
# Seconds until full inboxes are tried again.
RETRY_AFTER = 0.5


class Orphans:
    """Lines on their way, in order of death."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque(maxlen=_MOST_KEPT)
        self._given: deque[tuple[float, int, bytes]] = deque(maxlen=_MOST_KEPT)

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, identity: str, death: Death, cause: str, running: Sequence[str]) -> None:
        """A worker died of *cause*; *running* are the tasks that *death* speaks of."""
        for start in range(0, len(running), _NAMES_IN_A_LINE):
            part = running[start : start + _NAMES_IN_A_LINE]
            self._queue.append(inbox_line("running", identity, *part))
        self._queue.append(inbox_line("orphan", identity, death, cause))

    def take_back(self, pid: int, now: float) -> None:
        """The child `pid` died: what it was told of late counts as not done."""
        for given_at, reader, line in self._given:
            if reader == pid and now - given_at < _IN_HAND:
                self._queue.append(line)
        self._given = deque((item for item in self._given if item[1] != pid), maxlen=_MOST_KEPT)

    def deliver(self, children: Iterable[Child], now: float) -> bool:
        """Send what can be sent; True if no inbox had room, and it must be tried again."""
        readers = [
            child
            for child in children
            if child.state.serving and child.state.slot.role is not ChildRole.MONITOR
        ]
        readers.sort(key=lambda child: child.state.slot.role is not ChildRole.SCHEDULER)
        for reader in readers:
            while self._queue and _send(reader, self._queue[0]):
                self._given.append((now, reader.pid, self._queue.popleft()))
        return bool(self._queue and readers)


def _send(reader: Child, line: bytes) -> bool:
    failpoint.hit("news.before")
    sent = reader.send(line)
    failpoint.hit("news.after")
    return sent
