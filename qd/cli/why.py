"""`qd task why`: why a task does not run, or what it is doing, on one screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from qd.cli.render import Cell, plural, printable, relative, rough
from qd.cli.session import Session
from qd.cli.tasktext import content, first_line, is_poison, state_of
from qd.policy.poll import GAVE_UP

if TYPE_CHECKING:
    from qd.inspector.diagnosis import Diagnosis
    from qd.inspector.views import TaskView
    from qd.policy.poll import Polling


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: a `code` for programs, a sentence, and what can be done about it (may be "")."""

    code: str
    text: str
    try_: str = ""


def show_why(session: Session, view: TaskView, *, stack: bool) -> None:
    """Show the reasons, the one that counts first; `stack` asks the worker that runs the task."""
    from qd.inspector.diagnosis import diagnose

    facts = diagnose(session.inspector, view)
    found = list(reasons(facts, session.out.now))
    shown = _stack(session, facts) if stack else None
    if session.out.machine:
        session.out.one("qd.task.why/1", "why", _document(facts, found, shown), {})
        return
    head: dict[str, Cell] = {
        "task": view.id,
        "type": view.type,
        "queue": view.queue,
        "state": state_of(view),
        "retries": f"{view.retried} of {view.max_retry} used",
        "payload": first_line(content(view.payload)),
    }
    session.out.one("", "", {}, {**head, **_numbered(found)})
    if shown:
        click.echo()
        click.echo("\n".join(map(printable, shown.splitlines())))


def reasons(facts: Diagnosis, now: datetime) -> Iterator[Reason]:
    """Yield why a task is where it is, the reason that counts first."""
    known = {
        "scheduled": _delayed,
        "retry": _delayed,
        "pending": _waiting,
        "active": _running,
        "archived": _dead,
        "completed": _ended,
        "aggregating": _grouped,
    }
    explain = known.get(facts.task.state)
    if explain is None:
        yield Reason(
            "debris", f"Its state is {facts.task.state!r}, which does not exist.", "qd doctor --fix"
        )
    else:
        yield from explain(facts, now)
    yield from _lock(facts)
    yield from _flow(facts)


def _delayed(facts: Diagnosis, now: datetime) -> Iterator[Reason]:
    task = facts.task
    due = task.next_at
    when = "at a time that is not known" if due is None else f"{relative(due, now)} ({due:%F %T}Z)"
    late = due is not None and (now - due).total_seconds() > 1
    if task.state == "retry" and task.polling is not None:
        yield _polling(task, task.polling, now)
    elif task.state == "retry":
        failed = "" if task.last_failed_at is None else f" {relative(task.last_failed_at, now)}"
        yield Reason(
            "retry",
            f"Attempt {task.retried} failed{failed}: {first_line(task.error)}. The next "
            f"{'was' if late else 'is'} due {when}.",
            f"qd task run {task.id}",
        )
    elif task.waits:
        known = {"breaker": _breaker, "poll": _other_look}
        yield known.get(task.waits[0], _gate)(facts, now)
        if task.polling is not None:
            yield _polling(task, task.polling, now)
        verb = "was" if late else "is"
        yield Reason("safety", f"Should nobody call it, it {verb} looked at again {when}.")
    else:
        verb = "was" if late else "is"
        yield Reason("scheduled", f"It {verb} scheduled for {when}.", f"qd task run {task.id}")
    if late:
        yield Reason(
            "not_forwarded",
            "Its time is over, and no scheduler process has moved it to the line.",
            "qd scheduler --app MODULE",
        )
    yield from _obstacles(facts, now)


def _polling(task: TaskView, polling: Polling, now: datetime) -> Reason:
    """How far a poll is."""
    text = f"polling: look {polling.looks + 1}, since {_moment(polling.since, now)}"
    if task.next_at is not None:
        text += f", next at {_moment(task.next_at.timestamp(), now)}"
    if polling.until:
        text += f", gives up at {_moment(polling.until, now)}"
    if task.error:
        text += f"; the last said: {first_line(task.error)}"
    return Reason("polling", f"{text}.", f"qd task run {task.id}")


def _moment(at: float, now: datetime) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%F %T}Z ({relative(moment, now)})"


def _other_look(facts: Diagnosis, _now: datetime) -> Reason:
    """A poll waits while another one with the same id looks."""
    _, name, key, holder = (*facts.task.waits, "", "", "")[:4]
    who = f"Task {holder}" if holder else "Somebody"
    return Reason(
        "poll",
        f"{who} had the lock poll:{name}:{key} when it came to look: one looks at a time.",
        f"qd task show {holder}" if holder else "",
    )


def _breaker(facts: Diagnosis, now: datetime) -> Reason:
    """What is known of the breaker that holds a task back."""
    _, name, key = (*facts.task.waits, "", "")[:3]
    text = f"It is held back by the breaker {name}{f' for {key}' if key else ''}"
    view = facts.breaker
    try_ = f"qd breaker reset {name}{f' --key {key}' if key else ''}"
    if view is None:
        return Reason("breaker", f"{text}.", try_)
    text += f", which is {view.state}"
    if view.since is not None:
        text += f" since {view.since:%F %T}Z ({relative(view.since, now)})"
    if view.until is not None:
        text += f", until {view.until:%F %T}Z, after {plural(view.failures, 'failure')}"
    if view.waiting:
        text += f"; {plural(view.waiting, 'task')} {_wait(view.waiting)}"
    return Reason("breaker", f"{text}.", try_)


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"


def _gate(facts: Diagnosis, _now: datetime) -> Reason:
    """What a parked task waits for."""
    kind, name, *rest = (*facts.task.waits, "", "")
    key = f" for {rest[0]}" if rest[0] else ""
    text = f"It waits at the {kind} {name}{key}"
    line = facts.line
    if line is None:
        return Reason(kind, f"{text}.", f"qd {kind} show {name}")
    if line.holders:
        text += f": {line.running} of {line.slots} slots are taken, by {', '.join(line.holders)}"
    if line.ahead is not None:
        text += f"; {plural(line.ahead, 'task')} {_are(line.ahead)} ahead of it"
    if line.seconds:
        text += f", about {rough(line.seconds)} at its rate"
    return Reason(kind, f"{text}.", f"qd {kind} show {name}")


def _waiting(facts: Diagnosis, now: datetime) -> Iterator[Reason]:
    found = list(_obstacles(facts, now))
    yield from found
    if facts.ahead is None:
        yield Reason("ahead", "More than 500,000 tasks are ahead of it, or it was just taken.")
    elif facts.ahead:
        text = f"{plural(facts.ahead, 'task')} of this queue {_are(facts.ahead)} ahead of it"
        if facts.eta is not None and facts.rate is not None:
            rate = "on average today" if facts.rate_of_today else "at the present rate"
            text += f"; {rate} of {facts.rate:.3g}/s about {rough(facts.eta)}"
        yield Reason("ahead", f"{text}.")
    elif not found:
        yield Reason("next", "Nothing stands in its way: the next free worker takes it.")


def _obstacles(facts: Diagnosis, now: datetime) -> Iterator[Reason]:
    """What keeps any task of this type and queue from being taken."""
    task, queue = facts.task, facts.queue
    if queue.paused:
        since = "" if queue.paused_at is None else f" {relative(queue.paused_at, now)}"
        by = f" by {queue.paused_by}" if queue.paused_by else ""
        yield Reason(
            "paused", f"Queue {queue.name} was paused{since}{by}.", f"qd queue resume {queue.name}"
        )
    if not facts.servers:
        yield Reason(
            "no_server",
            f"No live worker process takes queue {queue.name}.",
            f"qd worker --app MODULE -q {queue.name}=1",
        )
        return
    if all(one.status != "active" for one in facts.servers):
        yield Reason(
            "quiet",
            f"{_servers(facts)} of queue {queue.name} take no new tasks now.",
            "qd server resume --all",
        )
    if not any(one.knows(task.type) for one in facts.servers):
        yield Reason(
            "no_handler",
            f"No live worker process of queue {queue.name} has a handler for type {task.type}.",
            "qd server ls --json",
        )
    busy = sum(one.active_workers for one in facts.servers)
    slots = sum(one.concurrency for one in facts.servers)
    if busy >= slots:
        yield Reason("busy", f"All {slots} slots of {_servers(facts)} are busy.", "qd server ls")
    if facts.more_important:
        names = ", ".join(facts.more_important)
        yield Reason("priority", f"Tasks of {names} go first: the priority is strict.")


def _running(facts: Diagnosis, now: datetime) -> Iterator[Reason]:
    task, run = facts.task, facts.running
    if run is not None:
        since = "" if run.started is None else f", for {_elapsed(run.started, now)}"
        until = "" if run.deadline is None else f"; its deadline is {relative(run.deadline, now)}"
        yield Reason(
            "running",
            f"It runs on {run.host}, pid {run.pid}{since}{until}.",
            f"qd task why {task.id} --stack",
        )
    elif not task.orphaned:
        owner = f" {task.owner}" if task.owner else ""
        yield Reason("taken", f"Worker process{owner} holds it, and has not shown it as running.")
    if task.orphaned:
        yield Reason(
            "orphaned",
            "Nobody renews its lease: its worker is gone. A scheduler process puts it back; where "
            "a Go server had it, 30 s after the end of the lease.",
            "qd doctor",
        )


def _elapsed(since: datetime, now: datetime) -> str:
    return rough(max((now - since).total_seconds(), 0.0))


def _dead(facts: Diagnosis, now: datetime) -> Iterator[Reason]:
    task = facts.task
    since = "" if task.archived_at is None else f" {relative(task.archived_at, now)}"
    again = f"qd dlq requeue {task.id}"
    if is_poison(task):
        yield Reason(
            "poison",
            f"Archived{since}: {plural(task.deaths, 'worker process', 'worker processes')} died "
            f"running it, the last one thus: {task.cause}.",
            again,
        )
    elif task.polling is not None and task.error.startswith(GAVE_UP):
        yield Reason("poll_gave_up", f"Archived{since}: it {task.error}.", again)
    elif task.retried >= task.max_retry and task.error:
        yield Reason(
            "exhausted",
            f"Archived{since} after {plural(task.retried + 1, 'attempt')}: "
            f"{first_line(task.error)}.",
            again,
        )
    elif task.error:
        yield Reason("gave_up", f"Archived{since} with retries left: {task.error}.", again)
    else:
        yield Reason("archived", f"Archived{since} by an operator; it never failed.", again)


def _ended(facts: Diagnosis, now: datetime) -> Iterator[Reason]:
    task = facts.task
    done = "" if task.completed_at is None else f" {relative(task.completed_at, now)}"
    kept = "" if task.expires_at is None else f"; it is kept, {relative(task.expires_at, now)} gone"
    yield Reason("completed", f"It succeeded{done}{kept}.", f"qd task show {task.id}")


def _grouped(facts: Diagnosis, now: datetime) -> Iterator[Reason]:
    task = facts.task
    yield Reason(
        "grouped",
        f"It waits in group {task.group} until a scheduler process merges the group.",
        f"qd group flush {task.group} --queue {task.queue}",
    )


def _lock(facts: Diagnosis) -> Iterator[Reason]:
    task = facts.task
    if facts.lock_holder == task.id:
        yield Reason(
            "holds_lock",
            "It holds its uniqueness lock: an equal task is refused for another "
            f"{rough(facts.lock_left)}.",
        )
    elif facts.lock_holder:
        yield Reason(
            "lock_held",
            f"Its uniqueness lock is held by task {facts.lock_holder} for another "
            f"{rough(facts.lock_left)}.",
            f"qd task show {facts.lock_holder}",
        )


def _flow(facts: Diagnosis) -> Iterator[Reason]:
    """What waits for a link of a flow."""
    place = facts.place
    if place is None:
        return
    flow = place.flow
    text = f"It is link {place.number} of {flow.links} of flow {flow.id}, which is {flow.state}"
    if place.behind_count:
        text += f"; {plural(place.behind_count, 'link')} {_wait(place.behind_count)} for it"
    if facts.task.state == "archived" and place.behind_count:
        text += ". They are enqueued when it was brought back and has succeeded"
    yield Reason("flow", f"{text}.", f"qd flow show {flow.id}")


def _servers(facts: Diagnosis) -> str:
    return plural(len(facts.servers), "worker process", "worker processes")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _numbered(found: list[Reason]) -> dict[str, Cell]:
    lines: dict[str, Cell] = {}
    for number, reason in enumerate(found):
        lines["why" if not number else f"why ({number + 1})"] = reason.text
        if reason.try_:
            lines["try" if not number else f"try ({number + 1})"] = reason.try_
    return lines


def _stack(session: Session, facts: Diagnosis) -> str | None:
    if facts.running is None:
        session.out.say("No worker process says that it runs this task; there is no stack.")
        return None
    stack = session.inspector.servers.stack_of(facts.running)
    if stack is None:
        session.out.say(
            "The worker did not answer: its event loop is blocked, or it is a Go server."
        )
    elif not stack:
        session.out.say("The handler has ended meanwhile.")
    return stack


def _document(facts: Diagnosis, found: list[Reason], stack: str | None) -> dict[str, Any]:
    return {
        "task": facts.task.as_dict(),
        "reasons": [
            {name.rstrip("_"): value for name, value in asdict(one).items()} for one in found
        ],
        "ahead": facts.ahead,
        "rate": facts.rate,
        "eta": facts.eta,
        "running": None if facts.running is None else facts.running.as_dict(),
        "lock_holder": facts.lock_holder,
        "lock_left": facts.lock_left,
        "flow": None if facts.place is None else facts.place.as_dict(),
        "stack": stack,
    }
