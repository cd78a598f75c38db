"""
Show qd at work: `python -m qd.examples.demo`, or `make demo`.

Runs a worker on the shop of `qd.examples.shop`, in the folder `demo-out` and on a Redis server of
its own, imports some five hundred orders, looks at the six that fail, mends what is wrong with four
of them and brings those back. Everything is done with the command `qd`, as you would type it.

Exit code 0 if all came out as expected, else 1, with the reason and the end of the worker's log.
"""

from __future__ import annotations

import json
import mailbox
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from qd.supervisor.linux import terminate_with_parent

FOLDER = Path("demo-out")
SHOP = FOLDER / "shop-out"
LOG = FOLDER / "worker.log"
QD = Path(sys.executable).with_name("qd")

PROCESSES = 2
REFUSED = 6
MENDED = 4
PATIENCE = 40.0
"""Seconds after which something has gone wrong."""


class UnexpectedError(Exception):
    """Something is not as it should be."""


def main() -> int:
    began = time.monotonic()
    try:
        _clear()
        with worker():
            tour()
        check("the worker's log ends with its exit code", "exit code 0" in LOG.read_text("utf-8"))
    except UnexpectedError as error:
        click.echo(f"\nThe demo failed: {error}", err=True)
        if LOG.exists():
            lines = LOG.read_text("utf-8").splitlines()[-15:]
            click.echo(f"The end of {LOG}:\n" + "\n".join(lines), err=True)
        return 1
    say(f"All as expected, in {time.monotonic() - began:.1f} s. See {SHOP} and {LOG}.")
    return 0


def tour() -> None:
    orders = len((files("qd.examples") / "orders.jsonl").read_text("utf-8").splitlines())

    say(f"A worker runs. Import {orders} orders: each becomes a task, and that one two more.")
    run("enqueue", "order:import", "--id", "import", "--retention", "1h", "--wait")
    say("A report comes when nothing is left to do.")
    report("report-1")
    run("queue", "ls")
    run("cron", "ls")

    say("The warehouse did not answer for each twentieth order; a second later it did.")
    run("task", "show", "reserve-2026-00020")

    say(f"{REFUSED} orders could not be invoiced. Of what did they die?")
    run("dlq", "groups")
    dead = run_json("dlq", "ls", "--type", "order:invoice")["tasks"]
    check(f"{REFUSED} dead tasks", len(dead) == REFUSED)
    run("dlq", "ls", "--limit", "1")
    run("dlq", "show", dead[0]["id"])
    check("an invoice for every other order", count_invoices() == orders - REFUSED)

    say(f"{MENDED} only need a currency that the shop does not know yet. Add it, bring them back.")
    (SHOP / "currencies.json").write_text('{"PLN": "zł", "CZK": "Kč"}', "utf-8")
    run("dlq", "requeue", "--all", "--type", "order:invoice", "--error", "currency", "-y")
    report("report-2")
    run("task", "wait", "mail-report-2")
    run("dlq", "groups")
    run("stats")

    invoices, mails = count_invoices(), count_mails()
    left = REFUSED - MENDED
    say(f"{invoices} invoices and {mails} mails; {left} orders still wait for a person.")
    check("invoices", invoices == orders - left)
    check("one mail for each invoice and report", mails == invoices + 2)
    check("dead tasks", len(run_json("dlq", "ls")["tasks"]) == left)


def report(task_id: str) -> None:
    options = ["--id", task_id, "--queue", "low", "--retention", "1h"]
    run("enqueue", "report:summary", *options, "--wait", "--wait-timeout", f"{PATIENCE:g}s")


@contextmanager
def worker() -> Iterator[None]:
    """A worker, ready for tasks; stopped with TERM at the end of the block, or of this program."""
    words = ["worker", "--app", "qd.examples.shop", "--processes", str(PROCESSES)]
    click.secho("$ " + " ".join(["qd", *words]) + " &", bold=True)
    with LOG.open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [str(QD), *words],
            cwd=FOLDER,
            env=_environment(),
            stderr=log,
            preexec_fn=terminate_with_parent,
        )
    try:
        wait_until(
            "the worker processes are ready",
            lambda: process.poll() is not None or _servers() == PROCESSES,
        )
        check("the worker runs", process.poll() is None)
        yield
        say("Stop the worker with TERM.")
        process.send_signal(signal.SIGTERM)
        check("exit code 0", process.wait(PATIENCE) == 0)
    except subprocess.TimeoutExpired as error:
        raise UnexpectedError(f"not done within {PATIENCE:g} s: {error}") from error
    finally:
        # After a failure; one that has ended does not mind.
        process.kill()
        process.wait()


def run(*words: str) -> None:
    """Run a command of qd, with what it says for everybody to see."""
    click.secho("\n$ " + " ".join(["qd", *map(_quoted, words)]), bold=True)
    sys.stdout.flush()
    check(f"exit code 0 of qd {words[0]}", _run(words, None).returncode == 0)


def run_json(*words: str) -> Any:
    """Run a command of qd and return its answer."""
    done = _run([*words, "--json"], subprocess.PIPE)
    check(f"exit code 0 of qd {words[0]}", done.returncode == 0)
    return json.loads(done.stdout)


def _run(words: Sequence[str], stdout: int | None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - our own words
        [str(QD), *words],
        cwd=FOLDER,
        env=_environment(),
        stdout=stdout,
        stderr=None if stdout is None else subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )


def say(text: str) -> None:
    click.secho(f"\n== {text}", fg="green")


def check(what: str, true: bool) -> None:
    if not true:
        raise UnexpectedError(f"not so: {what}")


def wait_until(what: str, predicate: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not predicate():
        check(f"{what} within {PATIENCE:g} s", time.monotonic() < until)


def count_invoices() -> int:
    return len(list((SHOP / "invoices").glob("*.html")))


def count_mails() -> int:
    with closing(mailbox.mbox(SHOP / "mailbox.mbox")) as box:
        return len(box)


def _servers() -> int:
    return len(run_json("server", "ls")["servers"])


def _environment() -> dict[str, str]:
    """Without what could lead the demo to somebody's real configuration or Redis."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("QD_")}
    return own | {"SHOP_OUT": SHOP.name}


def _quoted(word: str) -> str:
    return f"'{word}'" if " " in word else word


def _clear() -> None:
    """Remove what an earlier demo has left, and nothing else."""
    FOLDER.mkdir(exist_ok=True)
    for left in (FOLDER / ".qd", SHOP):
        shutil.rmtree(left, ignore_errors=True)
    LOG.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
