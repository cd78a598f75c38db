"""
What every command has in common: global options, examples in the help, "did you mean".

Global options may stand before or after any subcommand. Each command therefore accepts them and
writes them into one `Flags` value that belongs to the whole invocation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from qd.suggest import did_you_mean

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

FORMATS = ("table", "plain", "json", "jsonl")
_WIDTH = 100
"""Columns that a help page takes at the most."""

COLORS = ("auto", "always", "never")


class Flags:
    """The global options of one invocation; a later one wins, `--set` adds up."""

    def __init__(self) -> None:
        self.config: str | None = None
        self.sets: list[str] = []
        """`key=value`, as typed."""
        self.overrides: dict[str, object] = {}
        """Values of flags that stand for a setting, by dotted key."""
        self.output = "table"
        self.color = "auto"
        self.debug = False


def flags_of(ctx: click.Context) -> Flags:
    """Return the flags of the invocation `ctx` belongs to."""
    return ctx.find_root().ensure_object(Flags)


def _store(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(flags_of(ctx), name, value)

    return callback


def _store_sets(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    flags_of(ctx).sets.extend(value)


def _store_redis(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        flags_of(ctx).overrides["redis.addrs"] = value


def _store_json(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        flags_of(ctx).output = "json"


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from qd import __version__

        click.echo(f"qd {__version__}")
        ctx.exit()


def files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a file: the shell itself knows how."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _global_options() -> list[click.Option]:
    """Make the options anew: click notes in an option which command it belongs to."""
    return [
        click.Option(
            ["-c", "--config"],
            metavar="FILE",
            shell_complete=files,
            expose_value=False,
            callback=_store("config"),
            help="Configuration file; else QD_CONFIG, ./qd.yaml, /etc/qd/qd.yaml.",
        ),
        click.Option(
            ["--set"],
            metavar="KEY=VALUE",
            multiple=True,
            expose_value=False,
            callback=_store_sets,
            help="Set any configuration key; may be repeated.",
        ),
        click.Option(
            ["--redis"],
            metavar="URL",
            expose_value=False,
            callback=_store_redis,
            help="Redis address or URL; the same as --set redis.addrs=URL.",
        ),
        click.Option(
            ["-o", "--output"],
            type=click.Choice(FORMATS),
            expose_value=False,
            callback=_store("output"),
            help="Form of the answer; plain is tab-separated, without headings.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_store_json,
            help="Short for --output json.",
        ),
        click.Option(
            ["--color"],
            type=click.Choice(COLORS),
            expose_value=False,
            callback=_store("color"),
            help="Colour; auto means on a terminal, unless NO_COLOR is set.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_store("debug"),
            help="Show the traceback of an error.",
        ),
    ]


def version_option() -> click.Option:
    """Return the option `--version` of the root command."""
    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version and exit.",
    )


class _Shared(click.Command):
    """Global options, examples and the order of the parts of a help page."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self._global_options = _global_options()
        self.context_settings = {
            "help_option_names": ["-h", "--help"],
            "max_content_width": _WIDTH,
        }

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        return [*own, *self._global_options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        parameters = self.get_params(ctx)
        everywhere = set(map(id, self._global_options))
        # Arguments stand in the usage line and are explained in the text.
        options = [p for p in parameters if isinstance(p, click.Option)]
        own = [p.get_help_record(ctx) for p in options if id(p) not in everywhere]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record is not None])
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        shared = [p.get_help_record(ctx) for p in self._global_options]
        with formatter.section("Options of every command"):
            formatter.write_dl([record for record in shared if record is not None])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not self.examples:
            return
        formatter.write_paragraph()
        formatter.write("Examples:\n")
        for example in self.examples:
            formatter.write(f"  {example}\n")


class Command(_Shared):
    """A command that does something."""


class Group(_Shared, click.Group):
    """A noun with its verbs."""

    command_class = Command
    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            suggestion = did_you_mean(name, self.list_commands(ctx))
            raise click.UsageError(f'No command "{name}".{suggestion}', ctx)
        return super().resolve_command(ctx, args)
