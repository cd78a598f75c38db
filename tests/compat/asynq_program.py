"""asynqctl as a process: run to its end, kept running, or carrying out steps."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import Any, Self

from tests.compat.asynq_build import program
from tests.compat.asynq_words import AsynqError, json_values, parsed

LIMIT_SECONDS = 30.0


def run_program(words: list[str], stdin: str = "") -> str:
    """What asynqctl prints. Raises AsynqError where asynq refuses or the call is wrong."""
    done = subprocess.run(
        [program("asynqctl"), *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS * 2,
        check=False,
    )
    if done.returncode == 1:
        parsed(done.stdout.splitlines()[-1])
    if done.returncode:
        raise AsynqError(done.stderr.strip(), "usage")
    return done.stdout


class Program:
    """A running asynqctl. Leaving the `with` ends it by SIGTERM, or by SIGKILL if that fails."""

    def __init__(self, words: list[str]) -> None:
        self._process = subprocess.Popen(
            [program("asynqctl"), *words, "--with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.ready: dict[str, Any] = {}
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def next(self, within: float = LIMIT_SECONDS) -> Any:
        """The next document it prints. AssertionError if there is none, TimeoutError if it is late."""
        try:
            line = self._lines.get(timeout=within)
        except queue.Empty:
            raise TimeoutError(f"asynqctl printed nothing within {within:g} s") from None
        assert line is not None, f"asynqctl has ended with {self._process.wait()}"
        return parsed(line)

    def send(self, document: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as a crash: tasks in hand stay active, and the server's keys expire."""
        self._process.kill()
        self._process.wait()

    def wait(self, within: float = LIMIT_SECONDS) -> int:
        """Its exit status, when it has ended by itself."""
        return self._process.wait(within)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


class Steps:
    """
    Operations on real asynq, one after the other; servers keep running in between.

    A server's handlers hold every task until `end` says how it ends, so a test knows which task is
    active. Waits take `limit` (default 10 s); what did not happen raises AsynqError "timeout". The
    end of the session shuts its servers down; what they still hold goes back to pending.
    """

    def __init__(self, running: Program) -> None:
        self._program = running

    def __call__(self, op: str, **fields: Any) -> Any:
        """Carry out one operation by its name and return its result."""
        self._program.send(json_values({"op": op, **fields}))
        answer = self._program.next()
        if not answer["ok"]:
            raise AsynqError(answer["error"], answer["kind"])
        return answer["result"]

    def enqueue(self, type: str, **options: Any) -> dict[str, Any]:
        """The TaskInfo."""
        return self("enqueue", type=type, **options)

    def start_server(self, server: str = "", **options: Any) -> str:
        """The server's ID. Concurrency 1, task_check 20 ms and shutdown_timeout 0.5 s by default."""
        return self("start-server", server=server, **options)["server_id"]

    def stop_server(self, server: str = "") -> None:
        """Shut down; what handlers still hold after shutdown_timeout goes back to pending."""
        self("stop-server", server=server)

    def wait_active(self, id: str = "", limit: float = 10) -> dict[str, Any]:
        """What the handler saw: of this task or, without `id`, of one not returned before."""
        return self("wait-active", id=id, limit=limit)

    def end(self, id: str, how: str, *, error: str = "failed", **result: Any) -> None:
        """
        End a held task: ok, fail, nofail, skip, revoke or panic, with `error` as the text.

        `result=` is written first. Returns when asynq has acknowledged the outcome in Redis.
        """
        self("end", id=id, how=how, error=error, **result)

    def wait_inactive(self, id: str, queue: str = "default", limit: float = 10) -> None:
        """Until a task has left the active list by itself, as after a cancel or a timeout."""
        self("wait-inactive", id=id, queue=queue, limit=limit)

    def wait_queue(self, queue: str, limit: float = 10, **counts: int) -> None:
        """Until the queue's info has these counts, such as `pending=1, scheduled=0`."""
        self("wait-queue", queue=queue, counts=counts, limit=limit)

    def maintain(
        self, queue: str, counts: Mapping[str, int], limit: float = 10, **server: Any
    ) -> None:
        """
        Run a server on the queue that takes no task (it is paused meanwhile) until the counts hold.

        This is how the forwarder (`delayed_check=0.05`), the janitor (`janitor_interval=0.05`), the
        recoverer (at start) and the aggregator (`aggregate=True, group_grace=1`) get their turn.
        """
        until = {"queue": queue, "counts": dict(counts)}
        self("maintain", queues={queue: 1}, until=until, limit=limit, **server)

    def inspect(self, verb: str, queue: str = "default", **arguments: Any) -> Any:
        """As `Asynq.inspect`."""
        return self("inspect", verb=verb, queue=queue, **arguments)

    def dump(self, queue: str = "") -> dict[str, Any]:
        """As `Asynq.dump`."""
        return self("dump", queue=queue)

    def kill(self) -> None:
        """SIGKILL the session with its servers: held tasks stay active, without a heartbeat."""
        self._program.kill()
