"""Every script compiles on every server that it may meet, with and without its flags."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from qd.broker.server_binary import find_server
from qd.protocol.scripts import Script
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
