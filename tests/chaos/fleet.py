"""
Hosts: each a `qd worker` with all its children, started again when it dies, as systemd would.

A host is killed as a whole by killing its supervisor and every process below it at once. Which
child is which is read from the log; everything else from /proc.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.chaos import journal
from tests.support.procs import ROOT, children_of, descendants_of, environment, state_of
from tests.support.wait import eventually

RESTART_AFTER = 0.2
READY_WITHIN = 30.0
_ROLE = re.compile(rb"(worker|scheduler)(?: \d+)? \(pid (\d+)\) (started|is ready)")


class Host:
    """
    One host. *restart* says whether its supervisor is started again 200 ms after it has died.

    `settings` go into its configuration file; `env` into its environment. `prefix` is a program
    that runs it, such as unshare.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: dict[str, Any],
        env: dict[str, str],
        prefix: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._file = folder / f"{name}.json"
        self._file.write_text(json.dumps(settings))
        self._env = env
        self._prefix = prefix
        self._lock = threading.Lock()
        self._wanted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._read = 0
        self._roles: dict[int, str] = {}
        self._ready: set[int] = set()

    def start(self, *, restart: bool = True) -> None:
        """Start it, and return when all of its children are ready."""
        self._wanted = restart
        seen = self._lines()
        self._spawn()
        if restart:
            self._keeper = threading.Thread(target=self._keep, daemon=True)
            self._keeper.start()
        eventually(lambda: not self.alive or "children are ready" in self._text(seen), READY_WITHIN)
        assert self.alive, f"host {self.name} did not start:\n{self._text(seen)}"

    @property
    def pid(self) -> int:
        """The supervisor."""
        assert self._process is not None, "the host was never started"
        return children_of(self._process.pid)[0] if self._prefix else self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def children(self, role: str, *, ready: bool = False) -> list[int]:
        """The living children of a kind, `worker` or `scheduler`; zombies do not live."""
        self._learn()
        return [
            pid
            for pid in children_of(self.pid)
            if self._roles.get(pid) == role
            and (not ready or pid in self._ready)
            and state_of(pid) not in ("", "Z")
        ]

    def everything(self) -> list[int]:
        """Every process of this host, the supervisor first."""
        return [self.pid, *descendants_of(self.pid)]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor, if there is one just now."""
        with self._lock, suppress(ProcessLookupError):
            if self.alive:
                os.kill(self.pid, number)

    def lose(self) -> list[int]:
        """The host is gone: every process is killed, none is started again; returns their pids."""
        self._wanted = False
        pids = self.kill_all()
        self._reap()
        return pids

    def kill_all(self) -> list[int]:
        """Kill every process at once; returns their pids."""
        pids = self.everything()
        # Stopped first, so that none of them sees the end of another.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        return pids

    def retire(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to stop, for good."""
        self._wanted = False
        self.send(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 30.0) -> int:
        """Stop it in order, for good; returns its exit code."""
        self.retire(number)
        assert self._process is not None
        code = self._process.wait(within)
        self._reap()
        return code

    def wait_ready(self, workers: int, within: float = READY_WITHIN) -> list[int]:
        """Wait until so many workers are ready; returns their pids."""

        def look() -> list[int] | None:
            found = self.children("worker", ready=True)
            return found if len(found) >= workers else None

        found = eventually(look, within)
        assert found is not None
        return found

    def close(self) -> None:
        if self.alive:
            self.lose()
        self._reap()

    def _spawn(self) -> None:
        command = [*self._prefix, sys.executable, "-m", "qd", "worker", "--app", "tests.chaos.app"]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(QD_CONFIG=str(self._file), **self._env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while self._wanted:
            assert self._process is not None
            self._process.wait()
            time.sleep(RESTART_AFTER)
            with self._lock:
                if self._wanted:
                    self._spawn()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None

    def _lines(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _text(self, start: int = 0) -> str:
        with self.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def _learn(self) -> None:
        with self.log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        for role, number, what in _ROLE.findall(new):
            pid = int(number)
            self._roles[pid] = role.decode()
            if what == b"is ready":
                self._ready.add(pid)
            else:
                # A number that is used again.
                self._ready.discard(pid)


class Fleet:
    """Some hosts on one Redis, with one journal; `gate` lets tasks of type `gate` end."""

    def __init__(self, url: str, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.journal = journal.Journal(folder / "journal")
        self.gate = folder / "gate"
        self.hosts: list[Host] = []
        self._settings = {
            "redis": {"addrs": [url]},
            "queues": {"default": 1},
            "log": {"format": "text"},
            **settings,
        }

    def add(
        self, name: str, *, restart: bool = True, prefix: Sequence[str] = (), **worker: Any
    ) -> Host:
        """Start one more host with these settings of `worker`."""
        settings = {**self._settings, "worker": {"processes": 2, "concurrency": 10, **worker}}
        env = {journal.ENV: str(self.journal.path), "CHAOS_GATE": str(self.gate)}
        host = Host(name, self.folder, settings, env, prefix)
        self.hosts.append(host)
        host.start(restart=restart)
        return host

    def log(self) -> str:
        return "\n".join(host.log.read_text(errors="replace") for host in self.hosts)

    def stop(self) -> None:
        """Stop all hosts in order."""
        for host in self.hosts:
            host.retire()
        for host in self.hosts:
            host.stop()

    def close(self) -> None:
        for host in self.hosts:
            host.close()


@contextmanager
def fleet(url: str, folder: Path, **settings: Any) -> Iterator[Fleet]:
    """Hosts that end with the block, however it ends."""
    made = Fleet(url, folder, **settings)
    try:
        yield made
    finally:
        made.close()
