"""Saying that a poll is done: from any program, in whatever queue it is, on a cluster as well."""

from __future__ import annotations

import pytest

from qd import App, NotYet
from qd.broker.endpoint import Endpoint
from qd.client.client import Client
from qd.client.waiting import wait_for_end
from qd.errors import TaskNotFound
from tests.client.conftest import make_client
from tests.support.server_groups import ClusterServers
from tests.support.wait import eventually

WITHIN = 30.0


async def test_it_is_found_in_whatever_queue_it_is(client: Client) -> None:
    info = client.enqueue("video", queue="polls", retention="1h", process_in="1h")
    client.enqueue("video", queue="other")
    assert await client.apoll_done(info.id, [1]) is True
    assert await client.apoll_done(info.id) is True, "to say it again is no mistake"
    with pytest.raises(TaskNotFound):
        client.poll_done(info.id, queue="other")


async def test_bytes_are_a_result_as_they_are(client: Client, endpoint: Endpoint) -> None:
    info = client.enqueue("video", queue="polls", retention="1h")
    assert client.poll_done(info.id, b"\xff", "polls") is True
    end = await wait_for_end(endpoint, "polls", info.id, timeout=WITHIN)
    assert (end.state, end.result) == ("completed", b"\xff")


async def test_queues_of_other_environments_are_not_searched(endpoint: Endpoint) -> None:
    prod, test = make_client(endpoint, queue_prefix="prod_"), make_client(endpoint)
    try:
        info = prod.enqueue("video", queue="polls", task_id="7")
        test.enqueue("video", queue="polls", task_id="7")
        assert prod.poll_done(info.id) is True
        with pytest.raises(TaskNotFound):
            prod.poll_done(info.id)
        assert test.poll_done("7", queue="polls") is True
    finally:
        prod.close()
        test.close()


def test_on_a_cluster_polls_look_and_are_told(cluster: ClusterServers) -> None:
    app = App("polls", config={"redis": {"addrs": list(cluster.addrs)}, "queues": {"default": 1}})
    looks: list[str] = []

    @app.poll("video", key="payload.video", retention="1h")
    async def look(video: str) -> str:
        looks.append(video)
        if video == "done":
            return "found"
        raise NotYet

    app.start()
    try:
        infos = [
            app.client.enqueue("video", {"video": one}, retention="1h")
            for one in ("done", "a", "b", "c")
        ]
        assert infos[0].result(WITHIN) == "found"
        eventually(lambda: len(looks) == 4, WITHIN)
        for info in infos[1:]:
            app.client.poll_done(info.id, "told")
            assert info.result(WITHIN) == "told"
    finally:
        app.stop()
        app.close()
