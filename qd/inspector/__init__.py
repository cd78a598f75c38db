"""
The operator's side: look at queues, tasks and worker processes, and intervene.

- `inspector`: `Inspector`, one front with eight parts
- `queues`, `removal`, `groups`: sizes, history, pause, purge, remove
- `tasks`, `actions`, `walk`: look at tasks, run, archive and delete them, one or many
- `servers`, `schedulers`, `stats`: who is there, and the totals of everything
- `limits`, `breakers`: what holds tasks up, and a hand on it
- `flows`: how flows stand, and where a task stands in its flow
- `periodic`: periodic tasks, run now, paused, made up for
- `timeline`: the way of each task, if a timeline is kept
- `doctor`: what is not stored as it should be, and its repair
- `views`, `values`: what all of them return, plain data with a documented JSON form

Everything here is synchronous, over a `Link`, and works on what Go servers wrote as well. What is
done to Redis is in `protocol/ops/inspect*.py`; tables and questions are the command line's business.
Queue names are the full ones, with the configured prefix.

Read `inspector.py`, then `tasks.py`.
"""
