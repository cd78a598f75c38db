"""The command line that was promised: every noun and verb, every flag, and the rules of the house."""

from __future__ import annotations

import click
import pytest

from qd.cli.frame import FORMATS, Group
from qd.errors import ExitCode
from tests.cli.test_help import PATHS, _find

PROMISED = """
worker     --app -c -q --processes --concurrency --strict --no-scheduler --burst --reload --check
scheduler  --app -c
enqueue    --queue --in --at --max-retry --timeout --deadline --unique --id --retention --group
           --header --wait --from-jsonl --dry-run
queue ls
queue show
queue pause
queue resume
queue purge    -y --state
queue rm       -y --force
queue history  --days
task ls        --queue --state --type --error --since --older --payload --limit --sort --cursor --count
task show      --queue --timeline
task why       --queue --stack
task cancel    --queue
task run       --all --queue --state --type --error --older --limit --rate --dry-run -y
task archive   --all --queue --state --type --error --older --limit --rate --dry-run -y
task rm        --all --queue --state --type --error --older --limit --rate --dry-run -y
task wait      --queue --timeout
task done      --queue
dlq ls         --queue --type --error --since --older --payload --limit
dlq groups     --queue --type --error --since --older --payload --limit
dlq show       --queue
dlq requeue    --all --queue --type --error --since --older --payload --limit --rate --dry-run -y
               --canary --canary-wait --abort-if-failed --to --edit --keep-retries
dlq rm         --all --queue --type --error --since --older --payload --limit --rate --dry-run -y
dlq purge      -y
dlq export     --queue --type --error --since --older --payload --limit
dlq import     --queue
cron ls
cron next      --count --days
cron run
cron pause
cron resume
cron history   --limit
cron add
cron rm
cron backfill  --from --to --dry-run -y
server ls
server show
server quiet   --all --timeout
server resume  --all --timeout
server stop    --all --timeout -y
group ls       --queue
group flush    --all --queue
flow ls        --limit
flow show      --from --limit
breaker ls
breaker reset  --key
limit ls
limit show
limit set      --rate --burst --concurrency
limit reset
stats
dash
events         --queue --type --state --task --trace --since --limit --follow
doctor         --queue --quick --fix -y
bench
config init
config check
config show
systemd
schema
completion
version
"""

EVERYWHERE = {
    "-c",
    "--config",
    "--set",
    "--redis",
    "-o",
    "--output",
    "--json",
    "--color",
    "--debug",
}


def _promised() -> dict[tuple[str, ...], set[str]]:
    found: dict[tuple[str, ...], set[str]] = {}
    path: tuple[str, ...] = ()
    for line in PROMISED.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            path = tuple(word for word in words if not word.startswith("-"))
            found[path] = set()
        found[path] |= {word for word in words if word.startswith("-")}
    return found


def _options(path: tuple[str, ...]) -> set[str]:
    command = _find(path)
    parameters = command.get_params(click.Context(command))
    return {word for one in parameters for word in one.opts}


def test_every_noun_and_verb_is_there_and_no_other() -> None:
    leaves = {path for path in PATHS if path and not isinstance(_find(path), Group)}
    assert leaves == set(_promised())


@pytest.mark.parametrize("path", _promised(), ids=" ".join)
def test_every_flag_is_there(path: tuple[str, ...]) -> None:
    assert _promised()[path] | EVERYWHERE <= _options(path)


def test_answers_have_four_forms_and_ends_these_codes() -> None:
    assert FORMATS == ("table", "plain", "json", "jsonl")
    assert {code.value for code in ExitCode} == {0, 1, 2, 3, 4, 5, 6, 69, 75, 78, 124}


def test_every_verb_that_destroys_can_be_told_not_to_ask() -> None:
    destroys = {
        ("queue", "purge"),
        ("queue", "rm"),
        ("task", "rm"),
        ("dlq", "rm"),
        ("dlq", "purge"),
    }
    assert all({"-y", "--yes"} <= _options(path) for path in destroys)
