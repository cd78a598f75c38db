"""
Every setting of qd: its name, default, range and explanation, here and nowhere else.

The commented file, `qd config show`, the checks and the environment's names all follow from these
classes. Durations are seconds, sizes are bytes. The sections about Redis and about tasks stand in
`redis.py` and `tasks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from qd.config.breakers import BreakerSettings
from qd.config.kinds import (
    DURATION,
    LISTEN_ADDRESS,
    NAME,
    NUMBER,
    QUEUE,
    QUEUE_PREFIX,
    SIZE,
    SWITCH,
    TEXT,
    TIME_ZONE,
    WHOLE,
    MapOf,
    choice,
)
from qd.config.limits import LimitSettings
from qd.config.pressure import BackpressureSettings
from qd.config.redis import RedisSettings
from qd.config.setting import entries, section, setting
from qd.config.tasks import RetrySettings, ScheduleEntry, TaskDefaults, TaskOverrides

DEFAULT_QUEUES: Mapping[str, int] = {
    "critical": 10,
    "high": 6,
    "default": 4,
    "scheduled": 3,
    "low": 1,
    "dead_letter": 1,
}


class RecycleSettings(Struct, frozen=True):
    """When a worker process is replaced before it grows old."""

    max_tasks: int = setting(0, "after this many tasks; 0 = never", WHOLE, minimum=0)
    max_tasks_jitter: float = setting(
        0.1,
        "random share of max_tasks, so that not all are replaced at once",
        NUMBER,
        minimum=0,
        maximum=1,
    )
    max_memory: int = setting(0, "above this size, as in 300MiB; 0 = never", SIZE, minimum=0)
    max_age: float = setting(0.0, "after this time; 0s = never", DURATION, minimum=0)


class WorkerSettings(Struct, frozen=True):
    """The processes that run tasks."""

    processes: int = setting(
        0, "worker processes; 0 = the CPUs that can be used", WHOLE, minimum=0, maximum=1024
    )
    concurrency: int = setting(
        10,
        "tasks at a time in each process; with 1, plain functions run in its main thread",
        WHOLE,
        minimum=1,
        maximum=100_000,
        also=("threads", "slots"),
    )
    strict_priority: bool = setting(
        False,
        "true: a queue is served only while all with more weight are empty",
        SWITCH,
        also=("strict",),
        flag="--strict",
    )
    polling: bool = setting(
        True, "false: start, but take no tasks", SWITCH, also=("polling_enabled",)
    )
    preload: bool = setting(
        False, "true: import the app before forking; saves memory", SWITCH, also=("preload_app",)
    )
    shutdown_timeout: float = setting(
        8.0,
        "TERM: wait this long for running tasks, put the rest back; the unit and the container "
        "must allow more",
        DURATION,
        minimum=0.1,
        also=("grace", "grace_period"),
    )
    hard_grace: float = setting(
        5.0,
        "a handler that ignores its timeout this long has its process replaced",
        DURATION,
        minimum=0.1,
    )
    watchdog: float = setting(
        15.0, "a process without a sign of life for this long is replaced", DURATION, minimum=1
    )
    stall: float = setting(
        60.0,
        "a process that has work waiting and takes none for this long is replaced",
        DURATION,
        minimum=1,
    )
    once_keep: float = setting(
        7 * 24 * 3600.0,
        "how long ctx.once() remembers that something was done",
        DURATION,
        minimum=1,
    )
    poll_lock: float = setting(
        480.0,
        "how long a poll keeps others with its key from looking when nobody knows what became of it",
        DURATION,
        minimum=15,
    )
    recycle: RecycleSettings = section(
        RecycleSettings, "Replace a worker process by a fresh one, without a gap."
    )


class GroupSettings(Struct, frozen=True):
    """When the tasks of a group become one task."""

    grace_period: float = setting(
        60.0, "merge when no task has come for this long", DURATION, minimum=1
    )
    max_delay: float = setting(
        0.0,
        "merge at the latest this long after the first task; 0s = no limit",
        DURATION,
        minimum=0,
    )
    max_size: int = setting(0, "merge at this many tasks; 0 = no limit", WHOLE, minimum=0)


class SchedulerSettings(Struct, frozen=True):
    """The scheduler process."""

    enabled: bool = setting(
        True, "false: `qd worker` starts no scheduler process", SWITCH, flag="--no-scheduler"
    )
    timezone: str = setting(
        "UTC", "for entries without a zone of their own", TIME_ZONE, also=("tz",)
    )
    heartbeat: float = setting(
        10.0, "how often the periodic tasks are published for operators", DURATION, minimum=1
    )
    recover_interval: float = setting(
        2.0, "how often tasks of dead workers are looked for", DURATION, minimum=0.1
    )
    janitor_interval: float = setting(
        8.0, "how often completed tasks are removed when retention ends", DURATION, minimum=0.1
    )
    janitor_batch: int = setting(
        100, "how many of them in one step", WHOLE, minimum=1, maximum=10_000
    )
    group: GroupSettings = section(GroupSettings, "When the tasks of a group become one task.")


class MonitorSettings(Struct, frozen=True):
    """The process that answers for metrics and health."""

    address: str = setting(
        "",
        "serve /metrics, /healthz and /readyz here, as in 127.0.0.1:9180 or "
        "unix:///run/qd/monitor.sock; empty = nowhere",
        LISTEN_ADDRESS,
    )
    remote: bool = setting(
        False,
        "true: the address may be one that other hosts reach; nobody is asked for a password, and "
        "who asks reads queue names, task types and counts",
        SWITCH,
    )
    high_backlog: int = setting(
        10_000, "a queue with this many waiting tasks is shown as high", WHOLE, minimum=1
    )


class TimelineSettings(Struct, frozen=True):
    """What is remembered of the way of each task."""

    keep: float = setting(
        0.0,
        "remember every transition of every task this long, as in 1h; 0s = none. To be set for all "
        "that enqueue, run or move tasks",
        DURATION,
        minimum=0,
    )
    most: int = setting(
        100_000,
        "about so many in each queue, some 300 bytes each; the oldest are forgotten first",
        WHOLE,
        minimum=100,
    )
    header: str = setting(
        "traceparent", "the header of a task that holds the id of its trace", NAME
    )


class LogSettings(Struct, frozen=True):
    """What is logged, how and where."""

    level: str = setting(
        "info", "least important lines shown", choice("debug", "info", "warning", "error")
    )
    format: str = setting(
        "auto", "auto = text on a terminal, else json", choice("auto", "text", "json")
    )
    file: str = setting("", "path; empty = standard error", TEXT, also=("path",))


class Settings(Struct, frozen=True):
    """The whole configuration; `Settings()` holds the defaults."""

    app: str = setting("", "your module, as in myapp.tasks or myapp.tasks:app", TEXT)
    environment: str = setting(
        "development", "production refuses the private Redis server", NAME, also=("env",)
    )
    queue_prefix: str = setting(
        "", "put before every queue name, as in prod_", QUEUE_PREFIX, also=("prefix",)
    )
    payload_limit: int = setting(1 << 20, "largest payload of a task", SIZE, minimum=1)
    redis: RedisSettings = section(RedisSettings, "The Redis server.")
    worker: WorkerSettings = section(WorkerSettings, "The processes that run tasks.")
    queues: Mapping[str, int] = setting(
        DEFAULT_QUEUES,
        "The queues that workers serve, with their weights. A list here replaces all of these.",
        MapOf(QUEUE, WHOLE, bare=1),
        minimum=1,
    )
    defaults: TaskDefaults = section(TaskDefaults, "Options of tasks that set none themselves.")
    retry: RetrySettings = section(RetrySettings, "When a failed task is tried again.")
    tasks: Mapping[str, TaskOverrides] = entries(
        TaskOverrides, "What differs by task type; it wins over the options in the code.", name=NAME
    )
    limits: Mapping[str, LimitSettings] = entries(
        LimitSettings,
        "How often tasks start and how many run at a time, over all hosts, by name.",
        name=QUEUE,
    )
    breakers: Mapping[str, BreakerSettings] = entries(
        BreakerSettings, "When tasks wait because what they need has failed, by name.", name=QUEUE
    )
    backpressure: BackpressureSettings = section(
        BackpressureSettings, "What becomes of new tasks when a queue has too many."
    )
    scheduler: SchedulerSettings = section(
        SchedulerSettings,
        "The process that promotes delayed tasks, tidies up and enqueues by clock.",
    )
    schedule: Mapping[str, ScheduleEntry] = entries(
        ScheduleEntry, "Periodic tasks by name.", name=NAME
    )
    monitor: MonitorSettings = section(MonitorSettings, "Metrics and health over HTTP.")
    timeline: TimelineSettings = section(
        TimelineSettings, "Transitions of tasks, for `qd task show --timeline` and `qd events`."
    )
    log: LogSettings = section(LogSettings, "Log lines.")
