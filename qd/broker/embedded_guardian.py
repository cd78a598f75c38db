"""
Runs the embedded server, and stops it when no process claims it any more.

A script, not a module to import: `embedded.py` starts it with `python -I -S`, and it uses nothing
but the standard library, so that it costs little while it waits.

    guardian ---- server      holds server.lock, as long as either of the two lives
        `-------- watcher     waits for an exclusive lock on users.lock, then exits

Every user holds a shared lock on users.lock, which the kernel drops however the user ends. The
watcher gets the exclusive lock when the last one is gone. It shares its lock with the guardian, so
that newcomers wait until the server has stopped, and then start another one.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time

STOP_SECONDS = 3.0
"""Time the server gets to stop; what it has written to its log file survives a kill as well."""

SHORT_LIFE_SECONDS = 1.0
SHORT_LIVES = 5
"""So many short lives in a row, and starting it again is of no use."""

_PR_SET_PDEATHSIG = 1
_DETACHED_FROM = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(folder: str, binary: str, socket_path: str, server_lock: int) -> int:
    """Guard a server that keeps its data in `folder`; `server_lock` is a locked file, taken over."""
    # The starter collects the first process at once, so that no zombie stays with it.
    if os.fork():
        return 0
    os.setsid()
    os.chdir(folder)
    os.umask(0o077)
    # Ctrl-C, a closed terminal or a service manager may hit the whole group. The users still need
    # the server to put their tasks back: only their locks decide.
    for number in _DETACHED_FROM:
        signal.signal(number, signal.SIG_IGN)

    users = os.open("users.lock", os.O_RDWR)
    watcher = _fork_watcher(users, server_lock)
    server, started_at, short_lives = _fork_server(binary, socket_path), time.monotonic(), 0
    while True:
        pid, status = os.wait()
        if pid == watcher:
            if status == 0:
                _stop(server)
                return 0
            watcher = _fork_watcher(users, server_lock)
            continue
        lived = time.monotonic() - started_at
        short_lives = short_lives + 1 if lived < SHORT_LIFE_SECONDS else 0
        # A status above zero is the server's own verdict, of its arguments or its files.
        if os.waitstatus_to_exitcode(status) > 0 or short_lives == SHORT_LIVES:
            os.kill(watcher, signal.SIGKILL)
            return 1
        server, started_at = _fork_server(binary, socket_path), time.monotonic()


def _fork_watcher(users: int, server_lock: int) -> int:
    guardian = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(server_lock)
        _die_with(guardian, signal.SIGKILL)
        fcntl.flock(users, fcntl.LOCK_EX)
        os._exit(0)
    finally:
        os._exit(1)


def _fork_server(binary: str, socket_path: str) -> int:
    guardian = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in _DETACHED_FROM:
            signal.signal(number, signal.SIG_DFL)
        _die_with(guardian, signal.SIGTERM)
        os.execv(binary, _command(binary, socket_path))  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(2, f"cannot run {binary}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _command(binary: str, socket_path: str) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": socket_path,
        "unixsocketperm": "700",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        # Messages up to 1024 bytes stay in the compact form: less memory, less server time. This
        # is the older of the option's two names, and the one that every version knows.
        "hash-max-ziplist-value": "1024",
        "daemonize": "no",
    }
    return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _die_with(guardian: int, number: signal.Signals) -> None:
    """Have the kernel signal this process when the guardian dies, were it by kill -9."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != guardian:
        os._exit(1)


def _stop(server: int) -> None:
    os.kill(server, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while os.waitpid(server, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
            return
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
