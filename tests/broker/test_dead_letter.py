"""dead_letter: something that goes straight to the archived set."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerRefused
from qd.protocol import keys
from qd.protocol.ops import tasks
from tests.support.builders import NOW, message
from tests.support.snapshot import snapshot


def test_it_is_stored_as_archived_and_nothing_is_counted(link: Link, raw: redis.Redis) -> None:
    assert link.execute(tasks.dead_letter("mail", "t1", message("t1"), now=NOW)) is True
    assert snapshot(raw) == {
        "asynq:{mail}:archived": {"t1": NOW},
        "asynq:{mail}:t:t1": {"msg": message("t1"), "state": b"archived"},
    }


def test_an_id_that_is_in_use_is_refused(link: Link, raw: redis.Redis) -> None:
    link.execute(tasks.dead_letter("mail", "t1", message("t1"), now=NOW))
    before = snapshot(raw)
    assert link.execute(tasks.dead_letter("mail", "t1", b"other", now=NOW + 1)) is False
    assert snapshot(raw) == before


def test_a_key_of_another_type_leaves_everything_untouched(link: Link, raw: redis.Redis) -> None:
    raw.set(keys.archived("mail"), "not a zset")
    before = snapshot(raw)
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        link.execute(tasks.dead_letter("mail", "t1", message("t1"), now=NOW))
    assert snapshot(raw) == before
