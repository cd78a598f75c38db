"""
Decisions, and nothing else: pure, no I/O, no clock. `now` and randomness are arguments.

- `outcome`: how a run ended -> what happens to the task (the answer for failures and crashes alike)
- `retry`: how long to wait before the next attempt
- `poll`: when a poll looks again, when it gives up
- `deadline`: timeout and deadline -> one moment
- `breaker`: what the end of a run says of the service behind it
- `queue_order`: which queues the next tasks are taken from
- `cron`: when a periodic task is due

Read `outcome` first. What changes in Redis is written in `qd/protocol/lua/`.
"""
