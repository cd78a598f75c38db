"""A terminal for programs that draw on a whole screen: what it shows, and keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import pyte

from tests.support.procs import ROOT
from tests.support.wait import eventually

KEYS = {"enter": "\r", "esc": "\x1b", "tab": "\t", "down": "\x1b[B", "up": "\x1b[A",
        "right": "\x1b[C", "left": "\x1b[D", "ctrl-c": "\x03", "end": "\x1b[F",
        "end of tmux": "\x1b[4~", "home of tmux": "\x1b[1~"}  # fmt: skip


class Terminal:
    """A real pseudo terminal of a size, with `qd WORDS` on it, or another program."""

    def __init__(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
        program: Sequence[str] = (sys.executable, "-m", "qd"),
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._ours, theirs = pty.openpty()
        self._set_size(theirs, columns, lines)
        os.set_blocking(self._ours, False)
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *program, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", **env},
            cwd=ROOT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def lines(self) -> list[str]:
        """What is shown now."""
        try:
            while data := os.read(self._ours, 65536):
                self.raw += data
                self._stream.feed(data)
        except BlockingIOError:
            pass
        return [line.rstrip() for line in self._screen.display]

    def line(self, part: str) -> str:
        """The first line shown that has *part* in it; empty if there is none."""
        return next((line for line in self.lines if part in line), "")

    def reversed(self, part: str) -> bool:
        """Whether the first line that has *part* in it begins in reverse, as under a cursor."""
        number = next((at for at, line in enumerate(self.lines) if part in line), None)
        return number is not None and bool(self._screen.buffer[number][0].reverse)

    def wait(self, *parts: str, within: float = 10.0) -> list[str]:
        """Wait until all of these are shown."""

        def shown() -> list[str] | None:
            lines = self.lines
            return lines if all(any(part in line for line in lines) for part in parts) else None

        try:
            found = eventually(shown, within)
        except AssertionError:
            raise AssertionError(f"{parts} is not in\n" + "\n".join(self.lines)) from None
        assert found
        return found

    def press(self, *keys: str) -> None:
        for key in keys:
            os.write(self._ours, KEYS.get(key, key).encode())

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        self._set_size(self._theirs, columns, lines)
        self._process.send_signal(signal.SIGWINCH)

    def end(self, within: float = 10.0) -> int:
        """Wait for the program to leave; its exit code."""

        def ended() -> bool:
            assert self.lines
            return self._process.poll() is not None

        eventually(ended, within)
        assert self._process.returncode is not None
        return self._process.returncode

    def is_as_before(self) -> bool:
        """Whether the settings of the terminal are those from before the program."""
        return termios.tcgetattr(self._theirs) == self.before

    @property
    def pid(self) -> int:
        return self._process.pid

    @staticmethod
    def _set_size(fd: int, columns: int, lines: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
