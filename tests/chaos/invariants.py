"""
What must hold in Redis at any moment between two scripts, checked on a dump.

`check` returns a sentence for each breach, with the number of the rule:

    I1 an acknowledged task is somewhere, or was ended    I2 nothing is in two places
    I3 a hash for each id, and in the state it says       I4 a lease for each active task, and no other
    I5 leases end within bounds                           I6 later holders have later leases
    I7 counters never fall                                I8 0 <= retried <= retry, never falling
    I9 a lock belongs to a task that names it             I10 groups are listed, sets have deadlines
    I11 each queue is registered                          I12 presence records agree
    I13 the last tick of a periodic task never falls      I14 no key that nobody knows
    I15 nothing that holds tasks expires                  I16 flows count right, and end when over
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator

import redis

from tests.chaos import dump as dumps
from tests.chaos.dump import Dump, Queue, Task

_LONGEST_LEASE = 30 + 1
_OVERDUE = 10
"""Seconds after which a lease that has run out should have been noticed: some looks of 2 s."""

_LONGEST_AGGREGATION = 120 + 1
_TICK = "tick"
_LISTS = ("pending", "active")
_SETS = ("scheduled", "retry", "archived", "completed")
_KNOWN = re.compile(
    r"(paused|(processed|failed)(:\d{4}-\d\d-\d\d)?|unique:.*|g:.*|t:.*)", re.DOTALL
)
_GLOBAL = re.compile(
    r"asynq:(queues|servers|workers|schedulers)"
    r"|asynq:(servers|workers|schedulers):\{.*\}|asynq:scheduler_history:.*"
    r"|qd:(types|birthmarks):\{.*\}|qd:\{.*\}:((fetch|cron):.*|kills)|qd:(lock|once):\{.*\}"
    r"|qd:schedule(:.*)?|qd:schedulers:\{.*\}"
    r"|qd:limits|qd:\{limit:.*\}:.*"
    r"|qd:flows(:.*)?|qd:\{flow:.*\}(:ready|:open)?|qd:\{.*\}:ended_links",
    re.DOTALL,
)


def check(
    client: redis.Redis,
    *,
    acked: Collection[str] = (),
    ended: Collection[str] = (),
    serving: bool = False,
) -> list[str]:
    """
    The breaches in what *client* holds now.

    Args:
        acked, ended: Ids that producers had acknowledged, and those that a handler has ended.
        serving: Workers and a scheduler are at work, so that nothing may be overdue.
    """
    return list(_breaches(dumps.read(client), acked, ended, serving))


def _breaches(
    dump: Dump, acked: Collection[str], ended: Collection[str], serving: bool
) -> Iterator[str]:
    tasks = {(task.queue, task.id): task for task in dump.tasks}
    known = {task.id for task in dump.tasks} | set(ended)
    for task_id in acked:
        if task_id not in known:
            yield f"I1: acknowledged task {task_id} is nowhere, and no handler has ended it"
    for name, queue in dump.queues.items():
        yield from _places(name, queue, tasks)
        yield from _leases(name, queue, tasks, dump.now, serving)
        yield from _groups(name, queue, dump.now)
        if name not in dump.keys.get("asynq:queues", dumps.Key("set", None, [])).value:
            yield f"I11: queue {name} is not registered"
    for task in dump.tasks:
        yield from _numbers(task)
    yield from _locks(dump, tasks)
    yield from _presence(dump)
    yield from _flows(dump)
    yield from _strangers(dump)


def _containers(queue: Queue) -> dict[str, list[str]]:
    """All containers of tasks, by the state of those in them."""
    found = {name: list(getattr(queue, name)) for name in (*_LISTS, *_SETS)}
    grouped = [key for suffix, key in queue.others.items() if suffix.startswith("g:")]
    found["aggregating"] = [one for key in grouped for one in key.value]
    return found


def _places(name: str, queue: Queue, tasks: dict[tuple[str, str], Task]) -> Iterator[str]:
    containers = _containers(queue)
    for task_id, count in Counter(one for ids in containers.values() for one in ids).items():
        if count > 1:
            places = [state for state, ids in containers.items() if task_id in ids]
            yield f"I2: task {task_id} of {name} is {count} times in {', '.join(places)}"
    listed = {task_id: state for state, ids in containers.items() for task_id in ids}
    for task_id, state in listed.items():
        task = tasks.get((name, task_id))
        if task is None:
            yield f"I3: {state} task {task_id} of {name} has no hash"
        elif task.state != state:
            yield f"I3: task {task_id} of {name} is {state}, and its hash says {task.state!r}"
        elif task.message is None:
            yield f"I3: task {task_id} of {name} has no message that can be read"
    for queue_name, task_id in tasks:
        if queue_name == name and task_id not in listed:
            yield f"I3: task {task_id} of {name} is in no place"


def _leases(
    name: str, queue: Queue, tasks: dict[tuple[str, str], Task], now: int, serving: bool
) -> Iterator[str]:
    for task_id in set(queue.active) ^ set(queue.lease):
        what = "active without a lease" if task_id in queue.active else "leased and not active"
        yield f"I4: task {task_id} of {name} is {what}"
    for task_id, until in queue.lease.items():
        if until > now + _LONGEST_LEASE:
            yield f"I5: the lease of task {task_id} of {name} ends in {until - now:g} s"
        task = tasks.get((name, task_id))
        if serving and until < now - _OVERDUE and task is not None and task.owner:
            yield f"I5: the lease of task {task_id} of {name} ran out {now - until:g} s ago"


def _numbers(task: Task) -> Iterator[str]:
    if task.ttl is not None:
        yield f"I15: task {task.id} of {task.queue} expires"
    if task.message is not None and not 0 <= task.message.retried <= task.message.retry:
        counts = f"{task.message.retried} of {task.message.retry}"
        yield f"I8: task {task.id} of {task.queue} has used {counts} retries"


def _groups(name: str, queue: Queue, now: int) -> Iterator[str]:
    sets = {key.removeprefix(f"asynq:{{{name}}}:") for key in queue.aggregation_sets}
    grouped = {suffix for suffix in queue.others if suffix.startswith("g:")}
    for group in set(queue.groups) ^ {suffix[2:] for suffix in grouped - sets}:
        what = "listed and empty" if group in queue.groups else "not listed"
        yield f"I10: group {group} of {name} is {what}"
    for key, until in queue.aggregation_sets.items():
        if until > now + _LONGEST_AGGREGATION:
            yield f"I10: aggregation set {key} has until {until - now:g} s from now"


def _locks(dump: Dump, tasks: dict[tuple[str, str], Task]) -> Iterator[str]:
    for name, queue in dump.queues.items():
        for suffix, key in queue.others.items():
            if not suffix.startswith("unique:"):
                continue
            task = tasks.get((name, key.value.decode()))
            full = f"asynq:{{{name}}}:{suffix}"
            if task is None or task.message is None or task.message.unique_key != full:
                yield f"I9: lock {full} is held by {key.value!r}, which does not name it"
            if key.ttl is None:
                yield f"I9: lock {full} never ends"


def _presence(dump: Dump) -> Iterator[str]:
    for kind in ("servers", "workers"):
        listed = dump.keys.get(f"asynq:{kind}", dumps.Key("zset", None, {})).value
        present = {name for name in dump.keys if name.startswith(f"asynq:{kind}:")}
        for name in present - set(listed):
            yield f"I12: {name} is not listed in asynq:{kind}"
        for name in present:
            if dump.keys[name].ttl is None:
                yield f"I12: {name} never expires"
        if kind == "servers":
            for name, until in listed.items():
                if until > dump.now + 2 and name not in present:
                    yield f"I12: {name} is listed for {until - dump.now:g} s more, and not there"


def _flows(dump: Dump) -> Iterator[str]:
    for name, key in dump.keys.items():
        if not re.fullmatch(r"qd:\{flow:[^}]*\}", name) or key.value["state"] == b"storing":
            continue
        state, told = key.value["state"].decode(), int(key.value.get("ended", 0))
        ended = sum(bool(re.fullmatch(r"s\d+", at)) and of == b"d" for at, of in key.value.items())
        if ended != told:
            yield f"I16: {name} counts {told} ended links, and knows of {ended}"
        goes_on = f"{name}:ready" in dump.keys or f"{name}:open" in dump.keys
        if goes_on != (key.ttl is None):
            yield f"I16: {name} is {state}; goes on: {goes_on}, expires: {key.ttl}"


def _strangers(dump: Dump) -> Iterator[str]:
    for name, queue in dump.queues.items():
        for suffix in queue.others:
            if not _KNOWN.fullmatch(suffix):
                yield f"I14: nobody knows the key asynq:{{{name}}}:{suffix}"
        for suffix in (*_LISTS, *_SETS, "lease", "groups", "aggregation_sets"):
            key = dump.keys.get(f"asynq:{{{name}}}:{suffix}")
            if key is not None and key.ttl is not None:
                yield f"I15: {suffix} of {name} expires"
    for name in dump.keys:
        if not name.startswith("asynq:{") and not _GLOBAL.fullmatch(name):
            yield f"I14: nobody knows the key {name}"


def changes(before: Dump, now: Dump) -> Iterator[str]:
    """The breaches between two dumps: what never falls."""
    for name, queue in before.queues.items():
        later = now.queues.get(name, Queue())
        for suffix in queue.others:
            if re.fullmatch(r"processed.*|failed.*", suffix):
                was, new = before.counter(name, suffix), _counter(later, suffix)
                if new < was:
                    yield f"I7: {suffix} of {name} fell from {was} to {new}"
        for task_id, until in queue.lease.items():
            if later.lease.get(task_id, until) < until:
                yield f"I6: a later holder of task {task_id} of {name} has an earlier lease"
    was_retried = {(task.queue, task.id): task.retried for task in before.tasks}
    for task in now.tasks:
        if task.retried < was_retried.get((task.queue, task.id), 0):
            yield f"I8: the retries of task {task.id} of {task.queue} fell"
    ledgers = {name for name in before.keys.keys() & now.keys if re.match(r"qd:\{.*\}:cron:", name)}
    for name in ledgers:
        if int(now.keys[name].value[_TICK]) < int(before.keys[name].value[_TICK]):
            yield f"I13: the last tick in {name} fell"


def _counter(queue: Queue, suffix: str) -> int:
    key = queue.others.get(suffix)
    return int(key.value) if key is not None else 0
