"""
One worker process: takes tasks, runs them, writes how they ended. No fork, no process management.

- `worker`: builds the parts below; in which order they start and stop, and why
- `fetcher`: while a slot is free: which queues, how many, take them
- `watcher`: hears of new tasks and of cancellations, so that nothing has to be polled
- `executor`: runs tasks in slots; `threads` runs the synchronous ones, `suspects` says who runs alone
- `admission`: what may hold up a fetched task; `limit_gate`, `breaker_gate`, `poll_gate`
- `judge`: what becomes of a task whose run has ended; `looks` for polls
- `finisher`: writes outcomes to Redis, as long as it takes
- `flow_mover`: moves flows on whose links have ended
- `transitions`: tells hooks what this process has moved
- `heartbeater`: renews leases and shows the process to tools; a thread of its own
- `run`, `held`: one task in flight, and all of them; `run_log` tells how they end

Read `worker`, then `executor`.
"""
