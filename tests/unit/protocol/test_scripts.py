"""Every script says in its header what it uses, belongs to an operation, and keeps the rules."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path

import pytest

import qd.protocol.ops
from qd.protocol import keys
from qd.protocol.op import command, script, text
from qd.protocol.scripts import Script

LUA = Path(str(files("qd.protocol") / "lua"))
OPS = Path(qd.protocol.ops.__file__).parent
NAMES = sorted(path.stem for path in LUA.glob("*.lua"))

# A full server must be able to empty itself, and to show who is at it.
DRAINING = {
    "dequeue",
    "extend",
    "done",
    "complete",
    "retry",
    "archive",
    "requeue",
    "hand_back",
    "recover",
    "forward",
    "show",
    "write_server",
    "write_entries",
    "once_begin",
    "once_end",
    "once_drop",
    "end_links",
    "flow_move",
    "flow_look",
    "flows_due",
    "lock_acquire",
    "poll_done",
    "heed",
    "adopt",
    "aggregation_check",
    "aggregate",
    "reclaim",
    "expel",
    "breaker_ask",
    "breaker_renew",
    "breaker_tell",
    "limit_ask",
    "limit_renew",
}
ADDING = {"enqueue", "schedule", "add_to_group", "dead_letter", "cron_tick", "write_result"}
ADDING |= {"flow_store", "flow_start"}


def body(name: str) -> str:
    """The script as it is sent, without comments."""
    return Script(name).plain


def header(name: str) -> str:
    return Script(name).source


@pytest.mark.parametrize("name", NAMES)
def test_the_header_lists_exactly_the_keys_that_are_used(name: str) -> None:
    listed = {int(number) for number in re.findall(r"^-- KEYS\[(\d+)\]", header(name), re.M)}
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", body(name))}
    assert listed == set(range(1, len(listed) + 1))
    assert used <= listed
    # What only names the node of a cluster need not be read; some go over all of their keys.
    if not re.search(r"KEYS\[[a-z]|\(KEYS\)|#KEYS", body(name)):
        named = re.findall(r"^-- KEYS\[(\d+)\].*only names the node", header(name), re.M)
        assert used | {int(number) for number in named} == listed


@pytest.mark.parametrize("name", NAMES)
def test_the_header_lists_every_argument_that_is_used_by_number(name: str) -> None:
    listed: set[int] = set()
    rest = 10_000
    for first, last in re.findall(r"^-- ARGV\[(\d+)(\.\.\d*)?\]", header(name), re.M):
        end = int(last[2:]) if last[2:] else int(first)
        listed |= set(range(int(first), end + 1))
        if last == "..":
            rest = int(first)
    used = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", body(name))}
    assert {number for number in used if number < rest} <= listed


@pytest.mark.parametrize("name", NAMES)
def test_the_header_begins_with_what_the_script_does(name: str) -> None:
    assert header(name).startswith(f"-- {name}: ")


def test_every_script_belongs_to_an_operation_and_every_operation_has_its_script() -> None:
    used = {
        node.args[0].value
        for path in OPS.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Script"
        and isinstance(node.args[0], ast.Constant)
    }
    assert used == set(NAMES)


def test_every_part_of_the_library_is_included_somewhere() -> None:
    included = {
        one for name in NAMES for one in re.findall(r"^-- include: (\w+)$", header(name), re.M)
    }
    assert included | {"note", "clock"} == {path.stem for path in (LUA / "lib").glob("*.lua")}


def test_every_script_that_moves_tasks_can_note_it() -> None:
    """Those of the table of states; a queue that is removed goes with its timeline."""
    text = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text()
    table = text.split("## States, and who moves a task")[1].split("\n## ")[0]
    rows = [line.rsplit("|", 2)[1] for line in table.splitlines() if line.startswith("| ")]
    movers = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(movers) >= 18
    silent = {name for name in movers if Script(name).noting is None}
    assert silent == {"sweep_queue", "remove_queue"}


@pytest.mark.parametrize("name", NAMES)
def test_a_script_notes_nothing_unless_it_is_told_to(name: str) -> None:
    assert "note_move" not in body(name)
    noting = Script(name).noting
    if noting is not None:
        assert noting.plain.count("note_move(") >= 2 or name == "self_test"
        assert noting.text.startswith("#!") == Script(name).text.startswith("#!")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_asks_a_test_kit_for_the_time_only_if_it_asks_at_all(name: str) -> None:
    usual = Script(name)
    for_kit = usual.for_kit
    if "call('TIME'" in usual.plain:
        assert "call('TIME'" not in for_kit.plain
        assert for_kit.plain.count("kit_time()") == usual.plain.count("call('TIME'") + 1
        assert f"'{keys.CLOCK}'" in for_kit.plain
        assert for_kit.sha != usual.sha
    else:
        assert for_kit is usual


def test_a_script_that_notes_moves_does_so_under_a_test_kit() -> None:
    for_kit = Script("park").for_kit
    assert for_kit.noting is not None
    assert "note_move(" in for_kit.noting.plain


@pytest.mark.parametrize("name", sorted(DRAINING))
def test_what_empties_a_full_server_is_allowed_there(name: str) -> None:
    assert Script(name).text.startswith("#!lua flags=allow-oom\n")
    assert not Script(name).plain.startswith("#")


@pytest.mark.parametrize("name", sorted(ADDING))
def test_what_fills_a_server_is_refused_when_it_is_full(name: str) -> None:
    assert not Script(name).text.startswith("#!")


@pytest.mark.parametrize("name", NAMES)
def test_no_script_knows_the_names_of_keys_or_the_time(name: str) -> None:
    assert "asynq:" not in body(name)
    # The starts under a limit are counted by one clock, whatever those of the hosts say.
    assert name.startswith(("limit_", "breaker_")) or "call('TIME'" not in body(name)


def test_key_names_stand_in_one_file() -> None:
    package = Path(str(files("qd")))
    for path in package.rglob("*.py"):
        if path == package / "protocol" / "keys.py":
            continue
        found = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.match(r"(asynq|qd):[{a-z]", node.value)
        ]
        assert found == [], f"{path} spells a key"


@pytest.mark.parametrize("name", NAMES)
def test_no_call_gets_an_unbounded_number_of_arguments(name: str) -> None:
    """Lua passes 8,000 at most. Batches of ids (100 at most) may be passed whole."""
    bounded = {"ids", "leases", "ended", "tasks", "members", "KEYS", "ARGV"}
    for arguments in re.findall(r"unpack\(([^()]*(?:\([^()]*\)[^()]*)*)\)", body(name)):
        what = arguments.split(",")[0].strip()
        assert "," in arguments or what in bounded, f"unpack({arguments})"


def test_a_wrong_number_of_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="arm takes 2 keys, not 1"):
        script(Script("arm"), ["a"], [], int)


def test_a_command_is_a_step_like_a_script() -> None:
    step = command("SET", ["a"], ["b"], text, repeatable=False)
    assert (step.script, step.name, step.repeatable) == (None, "SET", False)


def test_replies_that_are_not_utf8_are_shown_escaped() -> None:
    assert text(b"a\xff") == "a\\xff"
    assert text("a") == "a"
