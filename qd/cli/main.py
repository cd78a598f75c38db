"""
The root command: the table of subcommands, and the way from an error to an exit code.

A subcommand's module is imported when it is called or asked for help; for the list of all of
them the table below is enough.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from qd.cli import failures
from qd.cli.frame import Flags, Group, version_option
from qd.errors import ExitCode

_ALLOCATIONS = 50_000
"""After so many, garbage is looked for; Python's own number is 700."""

# Section, then name -> module and first line of the help. A command of the name `config` is the
# variable `config` of its module.
_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Run": {
        "worker": ("worker", "Run tasks: supervised worker processes and the scheduler process."),
        "scheduler": ("worker", "Run the scheduler process alone, without workers."),
    },
    "Tasks": {
        "enqueue": ("enqueue", "Enqueue one task, or many from a file."),
        "task": ("task", "List, explain, cancel, end, run, archive or delete tasks."),
        "dlq": ("dlq", "Look at dead-letter tasks, and bring them back."),
    },
    "Look and intervene": {
        "stats": ("stats", "Show how much is waiting, running and failing."),
        "dash": ("dash.command", "Watch queues, workers and failures on a full screen, and act."),
        "events": ("events", "Show how tasks were moved, or follow it, if a timeline is kept."),
        "queue": ("queue", "List, pause, resume, purge or remove queues."),
        "cron": ("cron", "List, run, pause, add and make up for periodic tasks."),
        "flow": ("flow", "List flows of tasks that follow each other, show one."),
        "group": ("group", "List groups of tasks that wait to be aggregated, or flush them."),
        "breaker": ("breaker", "List circuit breakers, close one by hand."),
        "limit": ("limit", "List limits, show who waits at them, set them for now."),
        "server": ("server", "List, quiet, resume or stop worker processes."),
        "doctor": (
            "doctor",
            "Say which point fails; repair what is stored wrongly.",
        ),
        "bench": ("bench", "Measure throughput and latency, and say what the limit is."),
    },
    "Set up": {
        "config": ("config", "Write, check or show the configuration."),
        "systemd": ("systemd", "Print a systemd unit for a worker."),
        "schema": ("schema", "Show what the JSON of a command looks like."),
        "completion": ("completion", "Print the completion script of a shell."),
        "version": ("version", "Show the versions of qd, Python and the libraries."),
    },
}
_COMMANDS = {name: entry for section in _SECTIONS.values() for name, entry in section.items()}


class Root(Group):
    """The group `qd`, with subcommands that are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"qd.cli.{entry[0]}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, _COMMANDS))
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(widest), line) for name, (_, line) in commands.items()]
                )

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Return commands, from the table, and options."""
        from click.shell_completion import CompletionItem

        options = click.Command.shell_complete(self, ctx, incomplete)
        commands = (
            CompletionItem(name, help=line)
            for name, (_, line) in _COMMANDS.items()
            if name.startswith(incomplete)
        )
        return [*commands, *options]

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run one command line and exit with its code; nothing is ever raised to the caller."""
        flags = Flags()
        try:
            arguments = sys.argv[1:] if args is None else list(args)
            if shell := os.environ.get("_QD_COMPLETE"):
                from qd.cli.completion import answer

                answer(self, shell, arguments)
                sys.exit(ExitCode.OK)
            with self.make_context("qd", arguments, obj=flags, **extra) as ctx:
                self.invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read us has read enough. Python would complain when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(failures.BROKEN_PIPE)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place for it
            sys.exit(failures.report(error, debug=flags.debug))
        sys.exit(ExitCode.OK)


qd = Root(
    name="qd",
    help="""
    A worker daemon and operator's tool for task queues on Redis.

    Write handlers in Python, run them with `qd worker`, and look after them with the other
    commands. Queues are shared with Go services that use asynq.
    """,
    params=[version_option()],
    examples=(
        "qd worker --app shop.tasks",
        "qd enqueue email:send to=a@example.com --in 5m",
        "qd dlq requeue --all --type email:send --dry-run",
    ),
)


def main() -> NoReturn:
    """The entry point of the program `qd`."""
    # What is imported is no garbage: looking for some again and again is a part of each start.
    gc.set_threshold(_ALLOCATIONS, *gc.get_threshold()[1:])
    qd.main()
