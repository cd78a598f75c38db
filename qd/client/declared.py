"""
One periodic task as it was declared: by decorator, in the configuration or at run time.

As JSON it is kept in Redis (what was added at run time) and published (what schedulers know, with
all options filled in). So whoever reads it can compose the very tasks that a scheduler would.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from qd import jsoncodec
from qd.client.compose import Composed, Composer
from qd.config.missed import most_missed
from qd.errors import CronError, DecodeError, QdError, UsageError
from qd.handlers.options import NAMES, NO_OPTIONS, TaskOptions
from qd.policy.cron import Schedule, parse

OVERLAP = ("allow", "skip")
DST = ("debian", "asynq")

_MOMENTS = ("deadline", "process_at")


class Declared(Struct, frozen=True):
    """
    One periodic task. `timezone` None is the scheduler's; `source` is code, config or runtime.

    `jitter` is in seconds. `since` (Unix seconds) is when an entry was added at run time: ticks up
    to then are none of its own.

    Raises:
        UsageError: A policy that does not exist, a moment without a zone, an end before the start.
    """

    name: str
    spec: str
    task_type: str
    payload: Any = None
    options: TaskOptions = NO_OPTIONS
    timezone: str | None = None
    missed: str = "skip"
    overlap: str = "allow"
    jitter: float = 0.0
    dst: str = "debian"
    start: datetime | None = None
    end: datetime | None = None
    enabled: bool = True
    source: str = "code"
    since: int | None = None

    def __post_init__(self) -> None:
        for what, value, known in (
            ("overlap", self.overlap, OVERLAP),
            ("dst", self.dst, DST),
        ):
            if value not in known:
                raise UsageError(
                    f"schedule {self.name}: {what}={value!r} is not known",
                    hint=f"Write {' or '.join(known)}.",
                )
        try:
            most_missed(self.missed)
        except ValueError as error:
            raise UsageError(f"schedule {self.name}: missed: {error}") from error
        if self.jitter < 0:
            raise UsageError(f"schedule {self.name}: jitter={self.jitter:g} is negative")
        for what, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and moment.tzinfo is None:
                raise UsageError(
                    f"schedule {self.name}: {what}={moment.isoformat()} has no time zone",
                    hint="Write it with its offset, or Z for UTC.",
                )
        if self.start is not None and self.end is not None and self.end < self.start:
            raise UsageError(f"schedule {self.name}: it ends before it starts")

    def schedule(self, timezone: str) -> Schedule:
        """
        Return when it is due; *timezone* is for an entry without one of its own.

        Raises:
            CronError: The spec or the time zone cannot be read; the message names the entry.
        """
        try:
            # Anchored, or each scheduler would have ticks of its own.
            return parse(
                self.spec,
                timezone=self.timezone or timezone,
                dst=self.dst,
                anchored=True,
                start=self.start,
                end=self.end,
            )
        except CronError as error:
            raise CronError(f"schedule {self.name}: {error}", hint=error.hint) from error

    def to_json(self) -> bytes:
        """Return its JSON form; the payload must be bytes or None by now."""
        options = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name in NAMES
            if (value := getattr(self.options, name)) is not None
        }
        document = {
            "name": self.name,
            "spec": self.spec,
            "type": self.task_type,
            "payload": None if self.payload is None else base64.b64encode(self.payload).decode(),
            "options": options,
            "timezone": self.timezone,
            "missed": self.missed,
            "overlap": self.overlap,
            "jitter": self.jitter,
            "dst": self.dst,
            "start": self.start,
            "end": self.end,
            "source": self.source,
            "since": self.since,
        }
        return jsoncodec.dumps(document)


def from_json(data: bytes) -> Declared:
    """
    Return what `to_json` wrote; its payload is bytes.

    Raises:
        DecodeError: It was written by something else, or by a newer version.
    """
    try:
        found = dict(jsoncodec.loads(data))
        payload, options = found.pop("payload"), found.pop("options")
        for name in _MOMENTS:
            if name in options:
                options[name] = datetime.fromisoformat(options[name])
        for name in ("start", "end"):
            if found[name] is not None:
                found[name] = datetime.fromisoformat(found[name])
        return Declared(
            task_type=found.pop("type"),
            payload=None if payload is None else base64.b64decode(payload, validate=True),
            options=TaskOptions.of(**options),
            **found,
        )
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error, QdError) as error:
        raise DecodeError(f"a periodic task in Redis cannot be read: {error}") from error


def complete(declared: Declared, base: TaskOptions, composer: Composer) -> Declared:
    """
    Return it with nothing left to fill in: payload, queue and options as tasks will have them.

    *base* are the options of the task type; the others come from *composer*.
    """
    return replace(
        declared,
        payload=composer.encode_payload(declared.task_type, declared.payload),
        options=composer.complete(declared.options.over(base)),
    )


def compose_tick(declared: Declared, composer: Composer, tick: int, now: float) -> Composed:
    """
    Return the task of one tick (Unix seconds) of a *declared* that is complete.

    Without an id of its own its id names entry and tick. With jitter it is delayed by a random
    time that all who ask agree about.
    """
    options = declared.options.over(TaskOptions(task_id=tick_id(declared.name, tick)))
    delay = _delay(declared, tick)
    if delay and options.process_at is None:
        begin = tick + delay + (options.process_in or 0.0)
        at = datetime.fromtimestamp(begin, UTC)
        options = replace(options, process_in=None, process_at=at)
    return composer.bare.compose(declared.task_type, declared.payload, options, now=now)


def tick_id(name: str, tick: int) -> str:
    """Return the id of the task of one tick (Unix seconds): the same wherever it is asked."""
    return f"cron:{name}:{datetime.fromtimestamp(tick, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _delay(declared: Declared, tick: int) -> int:
    """Return between 0 and `jitter` whole seconds: delayed tasks are due at whole seconds."""
    longest = int(declared.jitter)
    if not longest:
        return 0
    chance = hashlib.blake2b(f"{declared.name}\0{tick}".encode(), digest_size=8).digest()
    return int.from_bytes(chance) % (longest + 1)
