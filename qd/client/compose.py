"""
One task -> its message, and the operation that takes it in. Pure: `now` is an argument.

The rules are asynq's (client.go): a time in the future schedules, else a group collects, else the
task is pending at once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

from msgspec import Struct, structs

from qd import jsoncodec
from qd.client.ids import new_id
from qd.errors import PayloadError, PayloadTooLarge
from qd.handlers.options import NO_OPTIONS, TaskOptions
from qd.protocol import codec, constants, keys, names
from qd.protocol.message import Terms
from qd.protocol.ops.tasks import NewTask
from qd.protocol.state import TaskState

_REMEMBERED = 1024


class Composed(Struct, gc=False):
    """A task ready to be sent. `state` is where it will be; `own_id` tells that qd made its id."""

    type: str
    queue: str
    state: TaskState
    new: NewTask
    next_at: float | None
    own_id: bool


class _Kind(Struct):
    """
    What tasks of one type have in common that were *given* the same options.

    Nothing but id and payload is their own if they are `plain`.
    """

    given: TaskOptions
    options: TaskOptions
    queue: str
    terms: Terms
    plain: bool


class Composer:
    """Applies the defaults of the settings; remembers what the last tasks had in common."""

    def __init__(self, defaults: TaskOptions, *, queue_prefix: str, payload_limit: int) -> None:
        self._defaults = defaults
        self._no_timeout = structs.replace(defaults, timeout=None)
        self._queue_prefix = queue_prefix
        self._payload_limit = payload_limit
        self._kinds: dict[str, _Kind] = {}

    def compose(
        self, task_type: str, payload: Any, options: TaskOptions, *, now: float
    ) -> Composed:
        """
        Return the task as it will be stored. *now* is in Unix seconds.

        *payload*: None is no payload, bytes are taken as they are, anything else becomes JSON.

        Raises:
            InvalidName: Type, queue, id or group cannot be used.
            PayloadTooLarge: The payload exceeds the limit; both sizes are named.
            PayloadError: The payload has no JSON form.
        """
        kind = self._kinds.get(task_type)
        if kind is None or (kind.given is not options and kind.given != options):
            kind = self._kind(task_type, options)
        options, queue, terms = kind.options, kind.queue, kind.terms
        raw = self.encode_payload(task_type, payload)
        if kind.plain:
            made = new_id()
            new = NewTask(made, codec.encode_parts(task_type, raw or b"", made, terms))
            return Composed(task_type, queue, TaskState.PENDING, new, now, own_id=True)
        task_id = options.task_id
        own_id = task_id is None
        if task_id is None:
            task_id = new_id()
        else:
            names.check_id(task_id)
        process_at = _process_at(options, now)
        unique_key, unique_ttl = "", 0
        if options.unique is not None:
            unique_key = keys.unique(queue, task_type, raw)
            unique_ttl = int(options.unique + max(process_at - now, 0.0))
            terms = replace(terms, unique_key=unique_key)
        delayed = process_at > now
        if delayed:
            state, next_at = TaskState.SCHEDULED, process_at
        elif options.group:
            state, next_at = TaskState.AGGREGATING, None
        else:
            state, next_at = TaskState.PENDING, now
        new = NewTask(
            task_id,
            codec.encode_parts(task_type, raw or b"", task_id, terms),
            unique_key,
            unique_ttl,
            int(process_at) if delayed else 0,
            terms.group,
        )
        return Composed(task_type, queue, state, new, next_at, own_id)

    def _kind(self, task_type: str, given: TaskOptions) -> _Kind:
        names.check_type(task_type)
        options = self._with_defaults(given)
        queue = self.stored(options.queue or constants.DEFAULT_QUEUE)
        plain = not options.group and all(
            one is None
            for one in (options.task_id, options.unique, options.process_at, options.process_in)
        )
        kind = _Kind(given, options, queue, _make_terms(queue, options), plain)
        # Headers are the caller's, who may change them afterwards.
        if given.headers is None and options.headers is None:
            if len(self._kinds) >= _REMEMBERED:
                self._kinds.clear()
            self._kinds[task_type] = kind
        return kind

    @cached_property
    def bare(self) -> Composer:
        """The same without defaults and prefix, for options that are complete."""
        return Composer(NO_OPTIONS, queue_prefix="", payload_limit=self._payload_limit)

    def complete(self, options: TaskOptions) -> TaskOptions:
        """Return options with all defaults, and with the queue's name as it stands in Redis."""
        options = self._with_defaults(options)
        return structs.replace(options, queue=self.stored(options.queue or constants.DEFAULT_QUEUE))

    def _with_defaults(self, options: TaskOptions) -> TaskOptions:
        # A deadline alone means no timeout, as in asynq; the default is for tasks with neither.
        own_deadline = options.deadline is not None and options.timeout is None
        return options.over(self._no_timeout if own_deadline else self._defaults)

    def stored(self, queue: str) -> str:
        """Return a queue's name as it stands in Redis: with the prefix."""
        return self._queue_prefix + queue

    def encode_payload(self, task_type: str, payload: Any) -> bytes | None:
        """Return a payload as it is stored; raises PayloadError and PayloadTooLarge."""
        if payload is None or isinstance(payload, bytes):
            raw = payload
        else:
            try:
                raw = jsoncodec.dumps(payload)
            except (TypeError, ValueError) as error:
                raise PayloadError(f"payload of {task_type}: {error}") from error
        if raw is not None and len(raw) > self._payload_limit:
            raise PayloadTooLarge(
                f"payload of {task_type} has {len(raw):,} bytes, the limit is "
                f"{self._payload_limit:,}",
                hint="Store the data elsewhere and pass a reference, or raise payload_limit.",
            )
        return raw


def _make_terms(queue: str, options: TaskOptions) -> Terms:
    if options.queue is not None:
        # By itself as well: behind a prefix, a blank one would not be noticed.
        names.check_queue(options.queue)
    names.check_queue(queue)
    if options.group is not None:
        names.check_group(options.group)
    deadline = 0 if options.deadline is None else int(options.deadline.timestamp())
    timeout = options.timeout or 0
    if not timeout and not deadline:
        timeout = constants.DEFAULT_TIMEOUT
    return Terms(
        queue=queue,
        max_retry=constants.DEFAULT_MAX_RETRY if options.max_retry is None else options.max_retry,
        # Whole seconds on the wire; less than one would read as "none".
        timeout=max(int(timeout), 1) if timeout else 0,
        deadline=deadline,
        retention=int(options.retention or 0),
        group=options.group or "",
        headers=tuple((options.headers or {}).items()),
    )


def _process_at(options: TaskOptions, now: float) -> float:
    if options.process_at is not None:
        return options.process_at.timestamp()
    if options.process_in is not None:
        return now + options.process_in
    return now
