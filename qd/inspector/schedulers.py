"""Schedulers: their periodic tasks, and when those were enqueued."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

from qd.broker.link import Link
from qd.errors import DecodeError, UsageError
from qd.inspector.values import moment_ns
from qd.inspector.views import EntryView, EventView
from qd.protocol import codec, keys
from qd.protocol.ops import inspect_presence


class Schedulers:
    """The schedulers of all hosts, Go ones included. `clock` gives Unix seconds."""

    def __init__(self, link: Link, clock: Callable[[], float]) -> None:
        self._link = link
        self._clock = clock

    def entries(self) -> list[EntryView]:
        """
        Return the periodic tasks of all live schedulers, by spec and type.

        What has just expired or cannot be decoded is left out; nothing is removed.
        """
        found = self._link.execute(inspect_presence.scheduler_keys(now=int(self._clock())))
        steps = [
            read(key)
            for key in found
            for read in (inspect_presence.read_entries, inspect_presence.read_documents)
        ]
        replies = self._link.execute_many(steps) if steps else []
        entries = [
            entry
            for key, blobs, documents in zip(found, replies[::2], replies[1::2], strict=True)
            for blob, document in zip_longest(blobs, documents[: len(blobs)])
            if (entry := _entry(key, blob, document)) is not None
        ]
        return sorted(entries, key=lambda one: (one.spec, one.type, one.id))

    def events(self, entry_id: str, limit: int = 30, offset: int = 0) -> list[EventView]:
        """
        Return when a periodic task was enqueued, the latest first; at most 1,000 are kept.

        An entry that has never fired, or does not exist, has none.

        Raises:
            UsageError: A negative offset or limit.
        """
        if offset < 0 or limit < 0:
            raise UsageError(f"offset {offset} and limit {limit} must not be negative")
        if not limit:
            return []
        blobs = self._link.execute(
            inspect_presence.read_events(entry_id, offset=offset, limit=limit)
        )
        return [event for event in map(_event, blobs) if event is not None]


def _entry(key: str, data: bytes, document: bytes | None) -> EntryView | None:
    # Not at the top: all that composes tasks comes with it, and most commands need none of it.
    from qd.client.declared import from_json

    try:
        entry = codec.decode_entry(data)
        declared = None if document is None else from_json(document)
    except DecodeError:
        return None
    # asynq:schedulers:{host:pid:uuid}
    scheduler = key[len(keys.SCHEDULERS) + 1 :].strip("{}")
    return EntryView(
        id=entry.id,
        spec=entry.spec,
        type=entry.task_type,
        payload=entry.task_payload,
        options=entry.options,
        next=moment_ns(entry.next_ns),
        prev=moment_ns(entry.prev_ns),
        scheduler_id=scheduler,
        host=scheduler.rsplit(":", 2)[0],
        declared=declared,
    )


def _event(data: bytes) -> EventView | None:
    try:
        event = codec.decode_event(data)
    except DecodeError:
        return None
    return EventView(event.task_id, moment_ns(event.enqueued_ns))
