"""
A program for the supervisor's tests: a real supervisor with small children that say what they do.

Its one argument is JSON: keywords for the supervisor, and `worker` and `scheduler`, each the name
of a behaviour below. The file named by `reload` is read on HUP in the same format. Children write
one line per event to stdout, the supervisor logs to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from qd.supervisor.child import DONE_EXIT, RECYCLE_EXIT, ChildMain, Link
from qd.supervisor.notify import Notifier
from qd.supervisor.supervisor import Limits, Reloaded, Supervisor

TICK_SECONDS = 0.05

BROKEN = "broken"  # raises before it is ready
REFUSING = "refusing"  # says that it can never start
SLOW = "slow"  # is never ready
OBEDIENT = "obedient"
STUBBORN = "stubborn"  # ignores TERM and QUIT
SILENT = "silent"  # is ready, and never ticks
DEAF = "deaf"  # the same, and ignores ABRT
CLOSING = "closing"  # closes all its descriptors once it is ready
STALLED = "stalled"  # ticks, and says that tasks are waiting
STRANGE = "strange"  # leaves an orphaned process to PID 1


def say(event: str, version: str, detail: str = "") -> None:
    line = f"{event} {version} {os.getpid()} {detail}"
    os.write(1, line.rstrip().encode() + b"\n")


def child(behaviour: str, version: str, link: Link) -> int:
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_fd)
    numbers = ["TERM", "QUIT", "USR1", "ALRM", "VTALRM", "PROF", "XCPU", "WINCH", "IO"]
    for number in [signal.Signals[f"SIG{name}"] for name in numbers]:
        signal.signal(number, lambda *_: None)
    say("booting", version, link.role)
    if behaviour == BROKEN:
        raise RuntimeError("broken on purpose")
    if behaviour == REFUSING:
        return refuse(link)
    if behaviour == DEAF:
        signal.signal(signal.SIGABRT, signal.SIG_IGN)
    if behaviour == STRANGE:
        leave_stranger(version)
    if behaviour != SLOW:
        # Said first, so that it comes before all that the parent does about it.
        say("ready", version, link.role)
        link.report_ready(f"id-{os.getpid()}")
    if behaviour == CLOSING:
        os.closerange(3, 100)
        while True:
            time.sleep(60)
    return live(behaviour, version, link, read_fd)


def live(behaviour: str, version: str, link: Link, signals_fd: int) -> int:
    poll = select.poll()
    for fd in (signals_fd, link.lifeline_fd, link.inbox_fd):
        poll.register(fd, select.POLLIN)
    while True:
        events = dict(poll.poll(TICK_SECONDS * 1000))
        if link.inbox_fd in events:
            for line in os.read(link.inbox_fd, 65536).decode().splitlines():
                say("inbox", version, line)
        if link.lifeline_fd in events:
            say("parent-gone", version)
            return 0
        if signals_fd in events:
            for number in os.read(signals_fd, 100):
                code = obey(signal.Signals(number), behaviour, version, link)
                if code is not None:
                    return code
        if behaviour not in (SLOW, SILENT, DEAF):
            link.tick(busy=0, done=0, waiting=behaviour == STALLED)


def obey(number: signal.Signals, behaviour: str, version: str, link: Link) -> int | None:
    say("got", version, number.name)
    match number:
        case signal.SIGTERM | signal.SIGQUIT if behaviour != STUBBORN:
            link.stopping()
            return 0
        case signal.SIGALRM:
            link.recycle()
        case signal.SIGVTALRM:
            os._exit(0)
        case signal.SIGPROF:
            return RECYCLE_EXIT
        case signal.SIGXCPU:
            return DONE_EXIT
        case signal.SIGWINCH:
            start_helper(version)
        case signal.SIGIO:
            return refuse(link)
    return None


def refuse(link: Link) -> int:
    link.boot_failed("there is no module\nof that name", 2)
    return 2


def leave_stranger(version: str) -> None:
    middle = os.fork()
    if middle == 0:
        stranger = os.fork()
        if stranger == 0:
            os._exit(3)
        say("stranger", version, str(stranger))
        os._exit(0)
    os.waitpid(middle, 0)


def start_helper(version: str) -> None:
    helper = os.fork()
    if helper == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    say("helper", version, str(helper))


def mains(options: dict[str, Any]) -> tuple[ChildMain, ChildMain | None]:
    version = options.get("version", "v1")
    scheduler = options.get("scheduler")
    return (
        partial(child, options.get("worker", OBEDIENT), version),
        partial(child, scheduler, version) if scheduler else None,
    )


def reload(path: str) -> Reloaded | None:
    text = Path(path).read_text()
    if not text:
        return None
    options = json.loads(text)
    return Reloaded(*mains(options), workers=options.get("workers", 1))


def main() -> int:
    options = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    worker_main, scheduler_main = mains(options)
    supervisor = Supervisor(
        worker_main=worker_main,
        scheduler_main=scheduler_main,
        workers=options.get("workers", 1),
        shutdown_timeout=options.get("shutdown_timeout", 5.0),
        watchdog=options.get("watchdog", 0.0),
        reload=partial(reload, options["reload"]) if "reload" in options else None,
        reopen_logs=partial(say, "reopened", "supervisor"),
        notifier=Notifier.from_environment(os.environ),
        limits=Limits(**{"first_delay": 0.01, **options.get("limits", {})}),
    )
    if "open_files" in options:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (options["open_files"], most))
    if "pending" in options:
        number = signal.Signals[options["pending"]]
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        os.kill(os.getpid(), number)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
