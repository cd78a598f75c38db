"""
The monitor: a child process of its own that answers for metrics and health, if an address is set.

The others send it a report each second (`qd/observability/tally.py`), as datagrams over a pair of
sockets that all of them inherit; nobody waits for anybody. What a dead process had counted stays.
It reads queues from Redis only when it is asked, and answers without Redis too.

Read first:
    process.py    the loop: reports in, requests answered
    totals.py     what the reports add up to
    families.py   names, labels and explanations of the metrics
    health.py     what /healthz and /readyz say, and why

Not here: what is counted where (`qd/runtime`, `qd/app/children.py`), and asynq's own exporter,
whose names are among those served here.
"""
