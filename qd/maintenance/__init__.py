"""
Everything that runs in the scheduler process: it keeps queues tidy and enqueues by the clock.

One loop per file. Each is a small class around `qd.service.Service`; its `step(now)` does one round
and returns the seconds until the next. All of them may run on any number of hosts at once: what
they change in Redis, they change in one script that looks again first.

- `process`: the loops of one process, started and stopped together. Read this first
- `forwarder`: scheduled and retry tasks that are due -> pending
- `recoverer`: tasks whose lease ran out -> back in line, retried or archived
- `orphans`: hands back at once what a worker process held that died here
- `janitor`: deletes what was kept long enough
- `aggregator`: the tasks of a ripe group -> one task
- `flows`: links of flows that have ended -> what follows them
- `levels`: how full bounded queues are, while nobody enqueues
- `cron`, with `entries`, `stored` and `publisher`: periodic tasks
- `tracking`: a connection on which Redis tells of changes
- `each_queue`: the same work for every queue, so that one in trouble holds up nobody
- `counters`: what has been done so far

What happens to a failed task is decided in `qd.policy.outcome`, how Redis changes stands in
`qd/protocol/lua/`. Nothing here forks, handles signals or runs handlers.
"""
