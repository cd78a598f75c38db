"""
The private server qd starts when no Redis is configured.

All qd processes that name the same folder share one server. It lives as long as any of them holds
a claim, however they end, and what was enqueued is found again by the next one.

What lies in the folder:

    server.sock         where it listens; in a short folder elsewhere if this path is too long
    socket              that other path, if there is one
    appendonlydir/      the data (appendonly.aof before version 7)
    server.log          what the server and its guardian have to say
    users.lock          locked, shared, by every process that uses the server
    server.lock         locked by the guardian and the server: one server for one folder

Starting, watching and stopping is the work of a process apart, see `embedded_guardian.py`.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from qd.broker.server_binary import find_server
from qd.errors import BrokerUnavailable

_GUARDIAN = Path(__file__).with_name("embedded_guardian.py")
_LONGEST_SOCKET_PATH = 107
_LARGEST_LOG = 1 << 20
_POLL_SECONDS = 0.01
_PING_SECONDS = 1.0
_GLANCE_SECONDS = 0.1


class EmbeddedServer:
    """
    A claim on the running server of a folder; as long as it is held, the server stays.

    The claim is one open file. Forked children share it: it ends when the process that acquired it
    and all of its children have closed it or have died. Programs started with exec do not have it.
    """

    def __init__(self, socket_path: Path, *, started: bool, claim: int) -> None:
        self.socket_path = socket_path
        self.started = started
        """True if this call started the server, False if it was running."""
        self._claim: int | None = claim

    @property
    def url(self) -> str:
        """`unix:///...`, percent-encoded, as Redis clients take it."""
        return f"unix://{quote(str(self.socket_path))}"

    def close(self) -> None:
        """
        Drop the claim; safe to repeat. Does not wait.

        If it was the last one, the server writes everything down and stops within moments.
        """
        if self._claim is not None:
            # Closing, not unlocking: unlocking would end the claim of forked children as well.
            os.close(self._claim)
            self._claim = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def acquire(directory: Path, *, start_timeout: float = 5.0) -> EmbeddedServer:
    """
    Claim the server of `directory`; start one if none is running.

    Safe to call from any number of processes at once: one of them starts the server, all get the
    same. Blocks, so call it before an event loop runs. Uses no threads and leaves no child behind.

    Args:
        directory: Created, for this user only, if it is missing.
        start_timeout: Seconds without a sign of life after which to give up. A server that is busy
            reading its data gives such signs, so a large file has all the time it needs.

    Raises:
        BrokerUnavailable: The folder cannot be used, no server program was found, or the server
            does not start; then the message ends with the last lines of its log.
    """
    try:
        folder = _prepare(directory)
        claim = _claim(folder, start_timeout)
        try:
            socket_path, started = _reach_or_start(folder, start_timeout)
        except BaseException:
            os.close(claim)
            raise
    except OSError as error:
        raise BrokerUnavailable(
            f"The embedded server cannot be kept in {directory}: {error.strerror}.",
            hint="Run qd where you may write, or set `redis.addrs` to a server that is running.",
        ) from error
    return EmbeddedServer(socket_path, started=started, claim=claim)


def running_socket(directory: Path) -> Path:
    """
    Return where the server of `directory` listens; starts none, and holds none up.

    Raises:
        BrokerUnavailable: None is running there.
    """
    path = _socket_path(directory.resolve())
    if _ping(path, _GLANCE_SECONDS) is _Answer.READY:
        return path
    raise BrokerUnavailable(f"No embedded server is running in {directory}.")


def _prepare(directory: Path) -> Path:
    folder = directory.resolve()
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
    owner = folder.stat().st_uid
    # Files that root would leave here could no longer be opened by their owner.
    if owner != os.geteuid():
        raise BrokerUnavailable(
            f"The folder of the embedded server, {folder}, belongs to user {owner}, "
            f"and this is user {os.geteuid()}.",
            hint="Run qd as that user, or choose another folder.",
        )
    return folder


def _claim(folder: Path, timeout: float) -> int:
    """Hold users.lock; waits only while a server without users is stopping."""
    claim = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(claim, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return claim
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(claim)
                raise BrokerUnavailable(
                    f"The embedded server in {folder} has been stopping for {timeout:g} s.",
                    hint="Try again in a moment.",
                ) from None
            time.sleep(_POLL_SECONDS)


def _reach_or_start(folder: Path, timeout: float) -> tuple[Path, bool]:
    """
    The path of a socket on which the server has answered, and whether it was started here.

    With the claim held no server stops in between. server.lock being free means that there is
    neither a server nor anybody starting one.
    """
    log_start = 0
    started = False
    deadline = time.monotonic() + timeout
    while True:
        path = _socket_path(folder)
        answer = _ping(path, min(timeout, _PING_SECONDS))
        if answer is _Answer.READY:
            return path, started
        if answer is _Answer.LOADING:
            deadline = time.monotonic() + timeout
        elif (lock := _try_lock(folder)) is not None:
            try:
                if started:
                    raise _failed(folder, "did not start", log_start)
                log_start = _start_guardian(folder, lock)
                started = True
            finally:
                # The guardian has it now, if it was started.
                os.close(lock)
        if time.monotonic() > deadline:
            raise _failed(folder, f"did not answer within {timeout:g} s", log_start)
        time.sleep(_POLL_SECONDS)


def _try_lock(folder: Path) -> int | None:
    lock = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _start_guardian(folder: Path, lock: int) -> int:
    """Hand `lock` to a new guardian; returns the size of the log before it has written to it."""
    binary = find_server()
    socket_path = _choose_socket_path(folder)
    log = folder / "server.log"
    log_start = log.stat().st_size if log.exists() else 0
    if log_start > _LARGEST_LOG:
        log.unlink()
        log_start = 0
    os.set_inheritable(lock, True)
    guardian = [sys.executable, "-I", "-S", str(_GUARDIAN)]
    pid = os.posix_spawn(
        sys.executable,
        [*guardian, str(folder), str(binary.path), str(socket_path), str(lock)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsigmask=[],
    )
    # A program that ignores SIGCHLD has had its child collected by the kernel.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    return log_start


def _socket_path(folder: Path) -> Path:
    path = folder / "server.sock"
    if _fits(path):
        return path
    try:
        return Path((folder / "socket").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return path


def _choose_socket_path(folder: Path) -> Path:
    """Like `_socket_path`, and makes the folder elsewhere if it takes one; needs server.lock."""
    path = _socket_path(folder)
    if _fits(path) and _is_private(path.parent):
        return path
    elsewhere = Path(tempfile.mkdtemp(prefix="qd-")) / "server.sock"
    if not _fits(elsewhere):
        elsewhere.parent.rmdir()
        raise BrokerUnavailable(
            f"The paths of {folder} and of {elsewhere.parent} are too long for a socket; "
            f"{_LONGEST_SOCKET_PATH} bytes are the limit.",
            hint="Set TMPDIR to a folder with a shorter path.",
        )
    (folder / "socket").write_text(str(elsewhere), encoding="utf-8")
    return elsewhere


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH


def _is_private(folder: Path) -> bool:
    """Whether it exists and is ours; temporary folders may be swept, and made anew by others."""
    try:
        return folder.lstat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


class _Answer(enum.Enum):
    READY = enum.auto()
    LOADING = enum.auto()
    NONE = enum.auto()


def _ping(path: Path, timeout: float) -> _Answer:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        except OSError:
            return _Answer.NONE
    if reply.startswith(b"+PONG"):
        return _Answer.READY
    return _Answer.LOADING if reply.startswith(b"-LOADING") else _Answer.NONE


def _failed(folder: Path, what: str, log_start: int) -> BrokerUnavailable:
    log = folder / "server.log"
    written = log.read_bytes()[log_start:] if log.exists() else b""
    lines = written.decode(errors="replace").splitlines()[-8:]
    message = f"The embedded server in {folder} {what}."
    if lines:
        message += " Its log ends with:\n" + "\n".join(f"  {line}" for line in lines)
    return BrokerUnavailable(message, hint=f"See {log}, or set `redis.addrs` to another server.")
