"""The kit itself: opened and closed, with pytest and without, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from qd import App, clock
from qd.errors import ConfigError
from qd.testing import Kit, KitError
from tests.kit.conftest import SETTINGS
from tests.support.wait import eventually


def test_without_pytest_it_is_a_context_manager(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, tempfile
            import qd
            from qd.testing import Kit, server

            app = qd.App("script", config={"queues": {"default": 1}})

            @app.task("add")
            def add(a: int, b: int) -> int:
                return a + b

            for _ in range(2):
                with Kit(app) as kit:
                    assert kit.tasks() == []
                    add.enqueue(1, 2)
                    assert kit.drain()[0].result == 3
                    add.enqueue(1, 2)
            print(server.shared().socket_path)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    folder = Path(done.stdout.strip()).parent
    # Server and guardian end when their last user has, and their folder is gone.
    eventually(lambda: not folder.exists(), within=20)


def test_settings_and_clock_are_as_before_when_it_is_closed(app: App) -> None:
    before = app.settings
    with Kit(app, config={"queues": {"other": 1}}):
        assert list(app.settings.queues) == ["other"]
    assert app.settings is before
    assert not clock.stands_still()


def test_there_is_one_kit_at_a_time(kit: Kit) -> None:
    other = App("other", config=SETTINGS)
    with pytest.raises(KitError, match="another kit is open"), Kit(other):
        pass
    assert kit.drain() == []


def test_a_kit_that_cannot_be_opened_changes_nothing(app: App) -> None:
    with pytest.raises(ConfigError), Kit(app, config={"quues": {"default": 1}}):
        pass
    assert not clock.stands_still()
    with Kit(app):
        pass


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_it_may_be_used_in_many_tests_of_one_process(app: App) -> None:
    @app.task("a")
    async def handler() -> None: ...

    open_before = descriptors()
    for _ in range(5):
        with Kit(app) as kit:
            kit.run(handler)
            kit.crash(handler, after="handler.before")
            kit.advance("1m")
    # The server's claim, at the first time.
    assert descriptors() <= open_before + 3


def test_a_worker_of_the_application_may_run_beside_it(app: App, kit: Kit) -> None:
    """In a thread of this process: it takes what is pending, whenever it likes."""

    @app.task("a", retention="1h")
    def handler() -> int:
        return 7

    app.start()
    try:
        assert handler.enqueue().result(timeout=20) == 7
    finally:
        app.stop()
