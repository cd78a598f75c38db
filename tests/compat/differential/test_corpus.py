"""What asynq did is recorded, so that qd is compared with it where there is no Go as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from tests.compat.differential import pair, recording
from tests.compat.differential.pair import Unexplained


@pytest.fixture
def link(redis_url: str) -> Iterator[Link]:
    with closing(open_link(parse_addresses([redis_url]))) as link:
        yield link


@pytest.mark.parametrize("name", recording.names())
def test_qd_does_what_asynq_did(name: str, link: Link, raw: redis.Redis) -> None:
    assert recording.replay(name, link, raw) > 0


def test_the_corpus_is_complete() -> None:
    assert len(recording.names()) >= 20


def test_a_replay_notices_what_the_table_does_not_explain(
    link: Link, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair, "WANTED", [])
    with pytest.raises(Unexplained, match="lease t1: asynq 30, qd 15"):
        recording.replay("success", link, raw)
