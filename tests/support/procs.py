"""Run a program as a separate process: read its lines, wait for one, signal it, see its children."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]


class Lines:
    """The lines of one output stream, as they come in."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._seen = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stream:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def wait(self, pattern: str, within: float = 5.0) -> re.Match[str]:
        """
        The next line in which `pattern` is found; later calls look only behind it.

        AssertionError, with all lines so far, if none comes within `within` seconds.
        """
        found: re.Match[str] | None = None

        def look() -> bool:
            nonlocal found
            for index in range(self._seen, len(self._lines)):
                found = re.search(pattern, self._lines[index])
                if found:
                    self._seen = index + 1
                    return True
            return False

        with self._news:
            if self._news.wait_for(look, within) and found:
                return found
        raise AssertionError(f"no line with {pattern!r} within {within:g} s in:\n{self.text()}")

    def all(self, pattern: str = "") -> list[str]:
        """All lines so far in which `pattern` is found, whether waited for or not."""
        with self._news:
            return [line for line in self._lines if re.search(pattern, line)]

    def text(self) -> str:
        return "\n".join(self.all())

    def wait_for_end(self, within: float = 5.0) -> None:
        """Until every process that could write has ended, and all lines are here."""
        self._reader.join(within)

    def close(self) -> None:
        self.wait_for_end()
        if not self._reader.is_alive():
            self._stream.close()


def environment(**more: str) -> dict[str, str]:
    """
    The environment of a program that a test starts, in whatever folder: with this source, and *more*.

    Compiled code is kept, as it is where qd is installed: to compile all of it takes longer than to start.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


class Proc:
    """A running program. `out` and `err` are its lines."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._popen = subprocess.Popen(
            list(command),
            cwd=ROOT,
            env=environment(**{"PYTHONUNBUFFERED": "1", **(env or {})}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self.out = Lines(self._popen.stdout)
        self.err = Lines(self._popen.stderr)

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, within: float = 5.0) -> int:
        """
        The exit code, negative for a signal; all lines are there then.

        AssertionError if the program still runs after `within` seconds.
        """
        try:
            exit_code = self._popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still running after {within:g} s; its output:\n{self.out.text()}\n{self.err.text()}"
            ) from None
        self.out.wait_for_end()
        self.err.wait_for_end()
        return exit_code

    def close(self) -> None:
        """Kill it and everything below it, and wait until all of them are gone."""
        below = descendants_of(self.pid)
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait(5)
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.out.close()
        self.err.close()


@contextmanager
def running(*command: str, env: Mapping[str, str] | None = None) -> Iterator[Proc]:
    """The program `command`, ended with the block."""
    proc = Proc(command, env)
    try:
        yield proc
    finally:
        proc.close()


def children_of(pid: int) -> list[int]:
    """The direct children of a process, zombies included; none of a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for word in text.split()]


def descendants_of(pid: int) -> list[int]:
    below = children_of(pid)
    return below + [pid for child in below for pid in descendants_of(child)]


def state_of(pid: int) -> str:
    """One letter as in `ps`: R, S, Z ...; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_seconds_of(pid: int) -> float:
    """Processor time that the process has used so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def wait_until_gone(pid: int, within: float = 5.0) -> None:
    """Until the process has ended; a zombie counts as ended."""
    eventually(lambda: state_of(pid) in ("", "Z"), within)
