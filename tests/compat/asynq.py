"""
The real asynq (Go, v0.26.0) for tests: enqueue, work, schedule, inspect, and look at every key.

    asynq = Asynq("unix:///path/of/socket")       # or "127.0.0.1:6379", or "cluster:h:p,h:p"
    asynq.enqueue("email:send", payload=b"{}", queue="low", unique="1h")["id"]
    asynq.inspect("list-pending", queue="low")
    with asynq.work(queues={"low": 1}, log=path) as worker: ...
    with asynq.steps() as steps:
        steps.start_server(queues={"low": 1}); task = steps.wait_active(); steps.end(task["id"], "ok")
    asynq.dump()["asynq:{low}:t:ID"]["value"]["msg"]

Values. Everything comes back as plain JSON values. Times are Unix seconds (null when unset),
durations seconds, bytes base64 under a name that ends in `_b64` (null when nil; `from_b64` reads
both). What goes in: `str` and `bytes` payloads are both fine, and no payload at all is Go's nil;
durations are seconds or Go's "1m30s", times aware datetimes, Unix seconds or RFC 3339. An option
that is not given is not passed to asynq. A name asynqctl does not know is an error.

Task options (enqueue, enqueue_many, schedule): type, payload, headers, queue, max_retry, timeout,
deadline, unique, process_at, process_in, id, retention, group.

TaskInfo: {id, queue, type, payload_b64, headers, state, max_retry, retried, last_err,
last_failed_at, timeout, deadline, group, next_process_at, is_orphaned, retention, completed_at,
result_b64}; state is active, pending, scheduled, retry, archived, completed or aggregating.

Errors of asynq raise `AsynqError` with `kind`: duplicate, conflict, queue-not-found,
queue-not-empty, task-not-found, timeout (a wait of ours), usage (a mistake in the call), other. Not
every method of asynq returns its public errors: an unknown queue is "other" from queue-info.

Server options (work, Steps.start_server, Steps.maintain): queues {name: weight}, strict,
concurrency, task_check, delayed_check, janitor_interval, retry_delay (a fixed one), aggregate
(True joins payloads by newlines into one task), aggregate_type ("aggregated"), group_grace (at
least 1 s, which is asynq's own limit), group_max_delay, group_max_size, shutdown_timeout. Intervals
without an option: heartbeat 5 s, recoverer at start and every 60 s.

work(): the first segment of the task's type says what its handler does, `default=` what it does
with other types: ok, fail, nofail (an error that IsFailure does not count), skip (SkipRetry),
revoke, panic (the payload is the error's text), sleep:200ms (or the payload in ms), result (the
payload is the result), echo (the result is JSON of all the handler saw). Options: count and
seconds end it; `semaphore="scope:3"` lets handlers run only with a token of asynq/x/rate; `log=` appends a line per event: {event: start | end, time, id, queue, type,
payload_b64, headers, retried, max_retry, deadline, pid} and, at the end, {error, panicked}.
Prints {"ready", "pid", "server_id"} (in `ready`, after its first heartbeat) and {"handled": n} last;
SIGTSTP makes it stop fetching ({"stopped": true}).

schedule(entries), periodic(file): entries are {"spec": cron text, ...task options}; in the file a
payload of bytes is `payload_b64`. Options: heartbeat, zone, seconds and, for periodic, sync. Both
print {"ready", "pid"} (schedule with "entry_ids"), then {"event": "enqueued", "task": TaskInfo} or
{"event": "error", "error"}. Entries are in Redis after the first heartbeat (whole seconds, default
10 s).

inspect(verb): queues, queue-info, history (days), groups, task-info (id), list-STATE (page,
page_size; group for aggregating), run, archive, delete, update-payload (payload), cancel (id),
run-all-{scheduled,retry,archived,aggregating}, archive-all-{pending,scheduled,retry,aggregating},
delete-all-{pending,scheduled,retry,archived,completed,aggregating}, pause, unpause, delete-queue
(force), servers, scheduler-entries, enqueue-events (id is the entry's), cluster-key-slot. Returns
the Inspector's struct(s) with names in snake_case, a number for counts, None for nothing. `queue` is
"default" unless given.

dump(): {key: {type, ttl_ms, value}}: lists in order, sets sorted, sorted sets as [member, score]
pairs, hashes as objects, all other values text or {"b64"} if they are not UTF-8. Task messages,
servers, workers, scheduler entries and events are decoded under their protobuf field names, absent
fields as zero; bytes as `..._b64`, Timestamps as {seconds, nanos}.

Golden files (golden/*.json), for where there is no Go: lists of {name, spec (the task options it was
made from), key, hex (the bytes asynq wrote), message (decoded)}; unique_keys.json has {spec, key}.
`python -m tests.compat.asynq ADDRESS` on an empty database writes them anew. Several headers, or
several queues of a server, have no fixed order in the bytes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.compat.asynq_build import build, program
from tests.compat.asynq_program import LIMIT_SECONDS, Program, Steps, run_program
from tests.compat.asynq_words import AsynqError, flags, from_b64, json_values, parsed

__all__ = ["GOLDEN", "Asynq", "AsynqError", "Program", "Steps", "cron_next", "from_b64", "golden"]

GOLDEN = Path(__file__).parent / "golden"


class Asynq:
    """
    Real asynq on one Redis. Every call but the context managers is a program run to its end.

    Args:
        redis: Address for asynqctl.
        tcp: host:port of the same Redis, for `cli`, which knows no unix sockets.
        db: Database number.
    """

    def __init__(self, redis: str, *, tcp: str | None = None, db: int = 0) -> None:
        self._connection = ["--redis", redis, "--db", str(db)]
        self._cli = ["--uri", tcp or redis, "--db", str(db)]

    def enqueue(self, type: str, **options: Any) -> dict[str, Any]:
        """The TaskInfo."""
        return self._ask("enqueue", type=type, **options)

    def enqueue_many(self, count: int, type: str, **options: Any) -> dict[str, Any]:
        """{ids, errors, seconds}; `id="x"` names them x-0, x-1 ...; `goroutines=` at once."""
        return self._ask("enqueue-many", count=count, type=type, **options)

    def inspect(self, verb: str, **arguments: Any) -> Any:
        """What the Inspector's method returns."""
        return self._ask("inspect", verb, **arguments)

    def dump(self, queue: str | None = None) -> dict[str, Any]:
        """All keys of asynq, or those of one queue and the global ones."""
        return self._ask("dump", queue=queue)

    def metrics(self) -> str:
        """One scrape of asynq's queue metrics as Prometheus text."""
        return run_program(["metrics", *self._connection])

    def cli(self, *words: str) -> str:
        """Output of asynq's own command line, such as `cli("task", "ls", "--queue=default", ...)`."""
        done = subprocess.run(
            [program("asynq"), *words, *self._cli],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=True,
        )
        return done.stdout

    @contextlib.contextmanager
    def work(self, **options: Any) -> Iterator[Program]:
        """A server in a process of its own, ready; SIGTERM and a wait at the end."""
        with self._start("work", **options) as running:
            yield running

    @contextlib.contextmanager
    def schedule(self, entries: Iterable[Mapping[str, Any]], **options: Any) -> Iterator[Program]:
        """asynq's Scheduler, ready. Options: heartbeat, zone, seconds."""
        texts = [json.dumps(json_values(entry)) for entry in entries]
        with self._start("schedule", entry=texts, **options) as running:
            yield running

    @contextlib.contextmanager
    def periodic(self, config: Path, **options: Any) -> Iterator[Program]:
        """asynq's PeriodicTaskManager on a JSON file of entries. Options as `schedule`; sync."""
        with self._start("periodic", config=config, **options) as running:
            yield running

    @contextlib.contextmanager
    def steps(self) -> Iterator[Steps]:
        """A session that carries out one operation at a time; see `Steps`."""
        with Program(["steps", *self._connection]) as running:
            yield Steps(running)

    def golden(self, directory: Path) -> None:
        """Write the golden files. The database must be empty; its content is left behind."""
        run_program(["golden", "--out", str(directory), *self._connection])

    def _ask(self, *words: str, **options: Any) -> Any:
        return parsed(run_program([*words, *self._connection, *flags(options)]))

    @contextlib.contextmanager
    def _start(self, *words: str, **options: Any) -> Iterator[Program]:
        with Program([*words, *self._connection, *flags(options)]) as running:
            running.ready = running.next()
            yield running


def cron_next(questions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    For {"spec", "zone" (UTC), "start", "count" (1)} the next times as robfig/cron computes them.

    Each answer is {"next": [RFC 3339 text, null last if there is none]} or {"error", "kind"}.
    """
    lines = "".join(json.dumps(json_values(question)) + "\n" for question in questions)
    return [json.loads(line) for line in run_program(["cron-next"], stdin=lines).splitlines()]


def golden(name: str) -> list[dict[str, Any]]:
    """Content of a golden file: task_messages, unique_keys, server_and_workers, scheduler."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def _record_golden(address: str) -> None:
    """In a namespace with a host name of its own: asynq writes the name into its messages."""
    command = [str(build("asynqctl")), "golden", "--redis", address, "--out", str(GOLDEN)]
    renamed = 'hostname worker-1 && exec "$@"'
    subprocess.run(["unshare", "--uts", "sh", "-c", renamed, "sh", *command], check=True)


if __name__ == "__main__":
    _record_golden(sys.argv[1])
