"""`kit.assert_enqueued`: what it takes for the same, and what it says if there is no such task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import ANY

import pytest

from qd import App, QdError
from qd.app.handle import TaskHandle
from qd.testing import Kit

Mail = TaskHandle[..., None]


@pytest.fixture
def mail(app: App) -> Mail:
    @app.task("email:send", max_retry=0)
    def send(to: str, subject: str, tags: dict[str, str] | None = None) -> None: ...

    return send


def complaint(kit: Kit, *args: object, **kwargs: object) -> str:
    with pytest.raises(AssertionError) as failed:
        kit.assert_enqueued(*args, **kwargs)  # type: ignore[arg-type]
    return str(failed.value)


def test_a_task_is_found_by_what_is_said_of_it(kit: Kit, mail: Mail) -> None:
    mail.options(process_in="5m", queue="high").enqueue("ann", "Hi", {"lang": "pt", "kind": "x"})
    kit.assert_enqueued("email:send")
    kit.assert_enqueued(mail, payload={"to": "ann"})
    kit.assert_enqueued(mail, payload={"tags": {"lang": "pt"}, "subject": ANY})
    kit.assert_enqueued(mail, queue="high", process_in="5m", state="scheduled", times=1)
    (found,) = kit.assert_enqueued(mail, process_at=kit.now + timedelta(minutes=5))
    assert found.payload["subject"] == "Hi"
    kit.assert_not_enqueued(mail, payload={"to": "bob"})
    kit.assert_not_enqueued("sms:send")
    kit.assert_enqueued(mail, payload={"to": "bob"}, times=0)


def test_a_dataclass_is_compared_as_it_is_stored(kit: Kit, mail: Mail) -> None:
    @dataclass
    class Sent:
        to: str
        subject: str

    mail.enqueue("ann", "Hi")
    kit.assert_enqueued(mail, payload=Sent("ann", "Hi"))
    assert "payload.subject: expected 'Ho', is 'Hi'" in complaint(
        kit, mail, payload=Sent("ann", "Ho")
    )


def test_the_nearest_miss_is_shown_with_its_differences(kit: Kit, mail: Mail) -> None:
    mail.options(queue="low").enqueue("bob", "Other")
    mail.enqueue("bob", "Hi")
    text = complaint(kit, mail, payload={"to": "ann", "subject": "Hi", "cc": "eve"})
    assert text.splitlines() == [
        "Expected a task 'email:send' with {'to': 'ann', 'subject': 'Hi', 'cc': 'eve'} in its payload; "
        "there are none.",
        "",
        'The nearest: email:send  default  pending  {"to":"bob","subject":"Hi"}',
        "    payload.to: expected 'ann', is 'bob'",
        "    payload.cc: expected 'eve', is missing",
        "",
        "Enqueued:",
        '    email:send  default  pending  {"to":"bob","subject":"Hi"}',
        '    email:send  low  pending  {"to":"bob","subject":"Other"}',
    ]


def test_queue_state_and_time_are_compared(kit: Kit, mail: Mail) -> None:
    mail.enqueue("ann", "Hi")
    text = complaint(kit, mail, queue="high", process_in="5m")
    assert "queue: expected 'high', is 'default'" in text
    assert "due: expected " in text
    assert ", is now" in text
    assert "state: expected 'retry'" not in complaint(kit, mail, state="retry")


def test_a_wrong_number_is_told(kit: Kit, mail: Mail) -> None:
    mail.enqueue("ann", "Hi")
    mail.enqueue("bob", "Hi")
    assert complaint(kit, mail, times=3).startswith(
        "Expected 3 x task 'email:send'; there are 2.\n"
    )
    with pytest.raises(AssertionError, match="Expected no task 'email:send'; there are 2"):
        kit.assert_not_enqueued(mail)


def test_a_name_that_nobody_handles_is_told_with_the_nearest(kit: Kit, mail: Mail) -> None:
    text = complaint(kit, "email:sned")
    assert 'No handler takes this type, either. Did you mean "email:send"?' in text
    assert text.endswith("Nothing is enqueued.")


def test_one_that_has_run_already_is_told(kit: Kit, mail: Mail) -> None:
    kit.run(mail, "ann", "Hi")
    assert "A task of this type has run already, once" in complaint(kit, mail)


def test_a_long_list_is_cut(kit: Kit, mail: Mail) -> None:
    for number in range(25):
        mail.enqueue(str(number), "Hi")
    assert complaint(kit, mail, queue="low").endswith("    ... and 5 more")


def test_dead_tasks_and_retries_wait_for_nobody_unless_named(app: App, kit: Kit) -> None:
    @app.task("fail", max_retry=1)
    def fail() -> None:
        raise ValueError

    kit.attempt(fail)
    kit.assert_not_enqueued(fail)
    kit.assert_enqueued(fail, state="retry", process_in="1s")
    kit.advance("1s")
    kit.assert_enqueued(fail, state="archived")


def test_tasks_are_listed_by_type_state_and_queue(kit: Kit, mail: Mail) -> None:
    mail.enqueue("ann", "1")
    mail.options(process_in="1m").enqueue("ann", "2")
    mail.options(queue="high", headers={"trace": "7"}).enqueue("ann", "3")
    assert [one.payload["subject"] for one in kit.tasks(mail)] == ["1", "2", "3"]
    assert [one.payload["subject"] for one in kit.tasks(state="pending")] == ["1", "3"]
    (high,) = kit.tasks(queue="high")
    assert high.headers == {"trace": "7"}
    assert repr(high).startswith('<email:send  high  pending  {"to":"ann"')
    for wrong in (lambda: kit.tasks(state="pendig"), lambda: kit.tasks(42)):
        with pytest.raises(QdError):
            wrong()
