"""Numbers that asynq v0.26 fixes (internal/base/base.go, internal/rdb/rdb.go), and qd's own."""

from __future__ import annotations

DEFAULT_QUEUE = "default"
DEFAULT_MAX_RETRY = 25
DEFAULT_TIMEOUT = 30 * 60
"""Seconds a handler may run when neither timeout nor deadline is given."""

MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1

LEASE = 15
"""
Seconds a task is a worker's own without renewal. asynq takes 30; half of that lets another host
take over within 20 s, and Go servers only ever look at the moment the lease ends.
"""

FOREIGN_LEASE_GRACE = 30
"""Seconds beyond the end of a lease that a Go server wrote (recoverer.go)."""

HEARTBEAT = 5
"""Seconds between two renewals and two presence records (heartbeat.go)."""

PRESENCE_TTL = 10
"""Seconds a server is shown without a new heartbeat."""

SCHEDULER_HEARTBEAT = 10
"""Seconds between two records of the scheduler's entries; they live twice as long."""

STATS_TTL = 90 * 24 * 3600
"""Seconds that daily counters are kept."""

ARCHIVE_MAX = 10_000
ARCHIVE_MAX_AGE = 90 * 24 * 3600
"""asynq trims the archived set to these (size, seconds)."""

DEAD_LETTER_KEEP = 7 * 24 * 3600
"""Seconds that an explicit dead letter is kept."""

AGGREGATION_TIMEOUT = 120
"""Seconds an aggregator has for one set before it is put back into its group."""

HISTORY_MAX = 1000
"""Enqueue events kept per scheduler entry."""

BATCH_MAX = 100
"""Tasks per script call: larger batches gain little and hold the server longer."""

POISON_DEATHS = 2
"""Worker deaths after which a task that ran alone is archived instead of handed back."""

POISON_DEATHS_IN_COMPANY = 5
"""
The same for a task that ran beside others, whose host was lost, or whose worker somebody else killed:
it may be innocent. The first kill or loss is not even counted.
"""

ERROR_MAX = 8 * 1024
"""Bytes of an error text that are stored; the rest is cut."""

LEASE_EXPIRED = "asynq: task lease expired"
"""Error text that asynq's recoverer writes."""
