"""What `@app.poll` says about the tasks of a handler."""

from __future__ import annotations

from typing import Any

import pytest

from qd import App, NotYet, Snooze
from qd.errors import InvalidDuration, UsageError
from qd.handlers.poll import make_poll
from qd.policy.poll import PollRules
from qd.protocol.message import TaskMessage, Terms


def look() -> None: ...


def test_without_options_the_delays_are_3_to_10_seconds_for_a_day() -> None:
    app = App("polls")
    app.poll("video:status")(look)
    handler = app.router.find("video:status")
    assert handler is not None
    assert handler.poll is not None
    assert handler.poll.rules == PollRules(3.0, 10.0, 24 * 3600.0)
    assert handler.poll.key == ""


def test_the_options_of_tasks_are_those_of_any_other() -> None:
    app = App("polls")
    handle = app.poll("video:status", queue="polls", max_retry=0, retention="1h", limit="api")(look)
    handler = app.router.find(handle.type)
    assert handler is not None
    assert (handler.options.queue, handler.options.max_retry) == ("polls", 0)
    assert handler.limits == ("api",)


def test_none_is_for_ever() -> None:
    assert make_poll("3s", "10s", None, None).rules.give_up_after == 0.0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"initial_delay": "0s"}, "initial_delay='0s' is no time"),
        ({"initial_delay": "20s"}, "max_delay='10s' is less than initial_delay='20s'"),
        ({"give_up_after": 0}, "give_up_after=0 is no time"),
        ({"key": "video_id"}, "key='video_id' leads nowhere"),
        ({"key": "payload."}, "key='payload.' leads nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        App("polls").poll("video:status", **given)


def test_a_duration_without_a_unit_is_refused() -> None:
    with pytest.raises(InvalidDuration):
        App("polls").poll("video:status", initial_delay="3")


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown task option 'ttl'"):
        App("polls").poll("video:status", ttl=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, ""),
        ("payload.video.id", "7"),
        ("headers.tenant", "acme"),
        ("payload.nothing", ""),
    ],
)
def test_the_key_leads_to_the_id_of_what_is_looked_at(key: str | None, value: str) -> None:
    poll = make_poll("3s", "10s", None, key)
    terms = Terms(headers=(("tenant", "acme"),))
    message = TaskMessage("video:status", b'{"video": {"id": 7}}', "t1", terms)
    assert poll.lock_of(message) == value


def test_not_yet_is_a_snooze() -> None:
    error = NotYet("still encoding")
    assert isinstance(error, Snooze)
    assert (str(error), error.delay, error.has_delay) == ("still encoding", 3.0, False)
    own = NotYet(delay="1m")
    assert (str(own), own.delay, own.has_delay) == ("not yet", "1m", True)
