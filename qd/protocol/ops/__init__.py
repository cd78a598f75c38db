"""
Every operation on Redis, as pure functions that return an `Op`.

- `tasks`: enqueue, schedule, add to a group, dequeue, arm
- `endings`: done, complete, retry, archive, requeue, extend, results: what a lease allows
- `upkeep`: forward, expired leases, hand back, janitor
- `groups`: aggregation
- `presence`: servers, running tasks, scheduler entries
- `cron`: ticks and history
- `locks`: named locks
- `polls`: a poll is done, whoever is at it
- `flows`: tasks that follow each other
- `timeline`: what was noted of the tasks that were moved
- `inspect*`: the operator's side
"""
