"""The pytest plugin in projects of users: real runs of pytest in folders of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wait import eventually

pytest_plugins = ["pytester"]

# Each of them starts a pytest, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(180)

TASKS = """
import qd

app = qd.App("shop")


@app.task("email:send")
def send_email(to: str) -> str:
    return f"sent to {to}"
"""

TESTS = """
import pytest
from tasks import send_email


@pytest.mark.parametrize("number", range(6))
def test_mail(qd_kit, qd_server, number, record_property):
    assert qd_kit.tasks() == []
    send_email.enqueue(to=f"{number}@example.com")
    qd_kit.assert_enqueued(send_email, payload={"to": f"{number}@example.com"}, times=1)
    print("SERVER", qd_server.socket_path)
    if number % 2:
        qd_kit.drain()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of a user, with nothing of this one's settings."""
    pytester.makepyfile(tasks=TASKS, test_mail=TESTS)
    # The pytest of a project is that of its own process.
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def run(
    project: pytest.Pytester, *arguments: str, plugins: tuple[str, ...] = (), **env: str
) -> pytest.RunResult:
    """Run pytest with qd's plugin and *plugins*: to import those of this project takes seconds."""
    for name, value in (env | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}).items():
        project._monkeypatch.setenv(name, value)
    named = [word for one in ("qd.testing.plugin", *plugins) for word in ("-p", one)]
    return project.runpytest_subprocess("-p", "no:cacheprovider", *named, *arguments)


def sockets_of(result: pytest.RunResult) -> set[Path]:
    return {Path(one) for one in re.findall(r"SERVER (\S+)", result.stdout.str())}


def assert_hint(result: pytest.RunResult, text: str) -> None:
    """Seen as such, and not in the source of the line that raises."""
    lines = result.outlines
    shown = [lines[i + 1] for i, line in enumerate(lines) if "what qd suggests" in line]
    assert any(line.startswith(text) for line in shown), shown


def is_gone(socket_path: Path) -> bool:
    return not any(str(socket_path) in line for line in command_lines())


def command_lines() -> list[str]:
    lines = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                lines.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return lines


def test_a_project_needs_no_more_than_the_fixture(project: pytest.Pytester) -> None:
    # Found by its entry point, as are those of others.
    result = project.runpytest_subprocess("-s", "-p", "no:valkey", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=6)
    (socket_path,) = sockets_of(result)
    eventually(lambda: is_gone(socket_path), within=20)


def test_each_process_of_xdist_has_a_server_of_its_own(project: pytest.Pytester) -> None:
    result = run(project, "-n", "2", "-rP", plugins=("xdist.plugin",))
    result.assert_outcomes(passed=6)
    sockets = sockets_of(result)
    assert len(sockets) == 2
    for one in sockets:
        eventually(lambda one=one: is_gone(one), within=20)  # type: ignore[misc]


def test_a_server_dies_with_a_pytest_that_is_killed(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_hang="""
        import pathlib, time, tasks
        def test_hang(qd_kit, qd_server):
            draft = pathlib.Path("draft")
            draft.write_text(str(qd_server.socket_path))
            draft.rename("running")
            time.sleep(3600)
        """
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:valkey",
        "test_hang.py",
    ]
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL)
    try:
        running = project.path / "running"
        eventually(running.exists, within=40)
        socket_path = Path(running.read_text())
        assert not is_gone(socket_path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    eventually(lambda: is_gone(socket_path), within=20)


def test_collecting_imports_next_to_nothing_of_qd(project: pytest.Pytester) -> None:
    project.makepyfile(test_plain="def test_plain(): pass")
    project.makeconftest(
        """
        import sys
        def pytest_sessionfinish():
            print("HAS", sorted(name for name in sys.modules if name.split(".")[0] in (
                "qd", "redis", "asyncio", "uvloop", "msgspec", "hiredis", "yaml")))
        """
    )
    result = run(project, "-s", "--collect-only", "-q", "test_plain.py")
    (found,) = re.findall(r"HAS (.*)", result.stdout.str())
    assert found == "['qd', 'qd.testing', 'qd.testing.plugin']"


@pytest.fixture
def two_apps(project: pytest.Pytester) -> pytest.Pytester:
    project.makepyfile(
        other="import qd\napp = qd.App('other', config={'queues': {'default': 1}})\n",
        test_which="""
        import tasks, other, qd
        def test_which(qd_kit):
            assert qd_kit.app is other.app
        """,
    )
    return project


def test_which_of_several_apps_has_to_be_said(two_apps: pytest.Pytester) -> None:
    result = run(two_apps, "test_which.py")
    result.assert_outcomes(errors=1)
    assert "Which app is to be tested? there are 2 apps in this process" in result.stdout.str()
    assert_hint(result, 'Name it in the settings of pytest, qd_app = "shop.tasks:app"')


def test_the_app_is_named_in_the_settings(two_apps: pytest.Pytester) -> None:
    run(two_apps, "-o", "qd_app=other:app", "test_which.py").assert_outcomes(passed=1)


def test_the_app_is_given_by_a_fixture(two_apps: pytest.Pytester) -> None:
    two_apps.makeconftest(
        """
        import pytest
        @pytest.fixture
        def qd_app():
            import other
            return other.app
        """
    )
    run(two_apps, "test_which.py").assert_outcomes(passed=1)


def test_a_name_that_leads_nowhere_is_told(project: pytest.Pytester) -> None:
    result = run(project, "-o", "qd_app=taskz:app", "test_mail.py")
    result.assert_outcomes(errors=6)
    assert "there is no module 'taskz'" in result.stdout.str()


def test_without_a_server_program_the_hint_says_how_to_get_one(project: pytest.Pytester) -> None:
    result = run(project, QD_REDIS_SERVER="/nowhere/valkey-server")
    result.assert_outcomes(errors=6)
    text = result.stdout.str()
    assert "The tests have no server to run on." in text
    assert "/nowhere/valkey-server" in text
    assert_hint(result, "Run `pip install 'qd[server]'`, or set QD_REDIS_SERVER")


def test_a_marker_says_time_and_settings(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_marked="""
        from datetime import UTC, datetime
        import pytest, tasks
        START = datetime(2030, 1, 31, 8, tzinfo=UTC)

        @pytest.mark.qd(now=START, config={"queues": {"only": 1}})
        def test_marked(qd_kit):
            assert qd_kit.now == START
            assert list(qd_kit.app.settings.queues) == ["only"]

        def test_not_marked(qd_kit):
            assert qd_kit.now != START
            assert "default" in qd_kit.app.settings.queues
        """
    )
    run(project, "--strict-markers", "test_marked.py").assert_outcomes(passed=2)


def test_warnings_may_be_errors(project: pytest.Pytester) -> None:
    """Nothing is left open that Python would complain of; coroutines included."""
    project.makepyfile(
        test_strict="""
        from tasks import send_email
        def test_plain(qd_kit):
            send_email.enqueue(to="ann")
            qd_kit.drain()
            qd_kit.crash(send_email, to="bob", after="handler.before")

        async def test_async(qd_kit):
            await send_email.aenqueue(to="ann")
            await qd_kit.adrain()
            await qd_kit.acrash(send_email, to="bob", after="handler.before")
        """
    )
    result = run(
        project,
        "-W",
        "error",
        "-o",
        "asyncio_mode=auto",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        "test_strict.py",
        plugins=("pytest_asyncio.plugin",),
    )
    result.assert_outcomes(passed=2)


def test_the_settings_of_the_user_are_kept_but_for_redis(project: pytest.Pytester) -> None:
    """A test must never reach the Redis of the configuration."""
    (project.path / "qd.yaml").write_text(
        "redis: {addrs: ['redis://production.example.com:6379'], db: 3}\n"
        "environment: production\nqueues: {mails: 2}\n"
    )
    project.makepyfile(
        test_it="""
        from tasks import app, send_email
        def test_it(qd_kit, qd_server):
            assert list(app.settings.queues) == ["mails"]
            assert app.settings.redis.addrs == (str(qd_server.socket_path),)
            assert qd_kit.run(send_email.options(queue="mails"), to="ann").ok
        def test_after():
            assert app.settings.redis.addrs == ("redis://production.example.com:6379",)
        """
    )
    run(project, "test_it.py").assert_outcomes(passed=2)


def test_what_a_test_leaves_is_gone_in_the_next(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_left="""
        import qd, pytest
        from tasks import app, send_email

        @pytest.mark.parametrize("again", range(2))
        def test_left(qd_kit, again):
            assert qd_kit.ran == []
            assert qd_kit.tasks() == []
            assert app.schedules is not None
            assert qd.lock("a", "1h", app=app).acquire()
            send_email.options(unique="1h").enqueue(to="ann")
            app.schedules.add("x", "@every 1h", "email:send", {"to": "x"})
            app.inspector().queues.pause("default")
            qd_kit.advance("1m")
        """
    )
    run(project, "test_left.py").assert_outcomes(passed=2)


def test_this_process_has_not_been_changed() -> None:
    assert os.environ.get("QD_REDIS_SERVER") != "/nowhere/valkey-server"
