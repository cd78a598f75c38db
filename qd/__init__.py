"""
qd: a worker daemon and command line for task queues on Redis, wire-compatible with Go's asynq.

    import qd

    app = qd.App("shop")

    @app.task("email:send", queue="high", max_retry=3, timeout="5m")
    async def send_email(to: str, subject: str, ctx: qd.Context) -> None: ...

Names are resolved on first use, so that importing `qd` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from qd.app.app import App as App
    from qd.app.lock import Lock as Lock
    from qd.app.lock import lock as lock
    from qd.client.builder import TaskBuilder as TaskBuilder
    from qd.client.client import Client as Client
    from qd.client.flow import Flow as Flow
    from qd.client.flow import chain as chain
    from qd.client.flow import gather as gather
    from qd.client.flow_info import FlowInfo as FlowInfo
    from qd.client.info import TaskInfo as TaskInfo
    from qd.errors import DuplicateTask as DuplicateTask
    from qd.errors import EffectInDoubt as EffectInDoubt
    from qd.errors import FlowIdConflict as FlowIdConflict
    from qd.errors import NotYet as NotYet
    from qd.errors import QdError as QdError
    from qd.errors import RetryAfter as RetryAfter
    from qd.errors import RevokeTask as RevokeTask
    from qd.errors import SkipRetry as SkipRetry
    from qd.errors import Snooze as Snooze
    from qd.errors import TaskIdConflict as TaskIdConflict
    from qd.handlers.context import Context as Context
    from qd.handlers.moved import TaskMoved as TaskMoved
    from qd.handlers.task import Task as Task
    from qd.policy.retry import RetryKind as RetryKind
    from qd.policy.retry import RetryPolicy as RetryPolicy

_HOMES = {
    "App": "qd.app.app",
    "Client": "qd.client.client",
    "TaskBuilder": "qd.client.builder",
    "TaskInfo": "qd.client.info",
    "Flow": "qd.client.flow",
    "FlowInfo": "qd.client.flow_info",
    "chain": "qd.client.flow",
    "gather": "qd.client.flow",
    "Context": "qd.handlers.context",
    "Task": "qd.handlers.task",
    "TaskMoved": "qd.handlers.moved",
    "RetryKind": "qd.policy.retry",
    "RetryPolicy": "qd.policy.retry",
    "Lock": "qd.app.lock",
    "lock": "qd.app.lock",
    "QdError": "qd.errors",
    "DuplicateTask": "qd.errors",
    "EffectInDoubt": "qd.errors",
    "FlowIdConflict": "qd.errors",
    "TaskIdConflict": "qd.errors",
    "SkipRetry": "qd.errors",
    "RevokeTask": "qd.errors",
    "RetryAfter": "qd.errors",
    "Snooze": "qd.errors",
    "NotYet": "qd.errors",
}

# The queues of the default configuration, most urgent first.
QUEUE_CRITICAL = "critical"
QUEUE_HIGH = "high"
QUEUE_DEFAULT = "default"
QUEUE_SCHEDULED = "scheduled"
QUEUE_LOW = "low"
QUEUE_DEAD_LETTER = "dead_letter"

__all__ = [
    *_HOMES,
    "QUEUE_CRITICAL",
    "QUEUE_HIGH",
    "QUEUE_DEFAULT",
    "QUEUE_SCHEDULED",
    "QUEUE_LOW",
    "QUEUE_DEAD_LETTER",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'qd' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
