"""The terminal while the dashboard has it: keys one by one, and its size."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Self

_KEYS = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
    "\x1b[5~": "page-up",
    "\x1b[6~": "page-down",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
    "\x1b": "esc",
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x03": "ctrl-c",
}
_REST_OF_A_SEQUENCE = 0.05
"""Seconds within which what follows an escape belongs to the same key, over a slow line, too."""


class Keyboard:
    """Reads single keys from standard input; puts the terminal back as it was when left."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._unread = ""

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        tty.setraw(self._fd, termios.TCSANOW)
        # Output is still for people: a newline is to go to the first column.
        now = termios.tcgetattr(self._fd)
        now[1] = self._before[1]
        termios.tcsetattr(self._fd, termios.TCSANOW, now)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> str | None:
        """Return the next key, by name; None if none came, and "ctrl-c" if the terminal is gone."""
        if not self._unread and not self._read(max(seconds, 0)):
            return None
        while self._unread.startswith("\x1b") and self._unread not in _KEYS:
            if not self._read(_REST_OF_A_SEQUENCE):
                break
        if self._unread == "\x1b":
            self._read(_REST_OF_A_SEQUENCE)
        return self._next()

    def _read(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._fd], [], [], seconds)
        if not readable:
            return False
        data = os.read(self._fd, 1024)
        self._unread += data.decode("utf-8", "ignore") if data else "\x03"
        return True

    def _next(self) -> str:
        for sequence in sorted(_KEYS, key=len, reverse=True):
            if self._unread.startswith(sequence):
                self._unread = self._unread[len(sequence) :]
                return _KEYS[sequence]
        key, self._unread = self._unread[:1], self._unread[1:]
        return key
