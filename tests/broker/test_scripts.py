"""Every script compiles on every server that it may meet, with and without its flags."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest
from msgspec.structs import replace

from qd.broker.connect import open_link
from qd.broker.endpoint import Endpoint, Topology
from qd.broker.server_binary import find_server
from qd.protocol import keys
from qd.protocol.ops.doctor import self_test
from qd.protocol.scripts import Script
from qd.protocol.timeline import Timeline
from tests.support.servers import RedisServer

NAMES = sorted(path.stem for path in Path(str(files("qd.protocol") / "lua")).glob("*.lua"))
BINARIES = sorted({find_server().path, Path(shutil.which("redis-server") or find_server().path)})


@pytest.fixture(scope="module", params=BINARIES, ids=lambda path: path.name)
def any_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(binary=request.param) as server:
        yield server


def test_every_script_compiles_and_has_the_digest_it_is_called_by(any_server: RedisServer) -> None:
    around = [Script("bounded", around=name) for name in ("enqueue", "schedule", "add_to_group")]
    for script in [*map(Script, NAMES), *around]:
        for one in filter(None, (script, script.noting)):
            for text, sha in ((one.text, one.sha), (one.plain, one.plain_sha)):
                assert any_server.command("SCRIPT", "LOAD", text) == sha.encode(), script


def test_a_command_that_is_not_allowed_is_found_out(any_server: RedisServer) -> None:
    """Each server words the refusal in its own way."""
    any_server.add_user("weak", "secret", "~*", "&*", "+@all", "-zadd", "-xadd")
    endpoint = Endpoint(
        Topology.SINGLE, path=str(any_server.socket_path), username="weak", password="secret"
    )
    kept = Timeline(keep=1, most=100, header="")
    for timeline, denied in ((None, ["ZADD"]), (kept, ["ZADD", "XADD"])):
        with closing(open_link(replace(endpoint, timeline=timeline))) as link:
            assert link.execute(self_test(keys.own_prefix("q"))) == denied
