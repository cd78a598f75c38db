"""
`qd completion`: the script by which a shell completes, and the answers to what it asks.

The script calls `qd` with `_QD_COMPLETE` set to the name of the shell, and the words up to the
cursor; bash, which would take words apart at colons, gives the whole line. The answer is one
candidate a line, for zsh and fish with a tab and an explanation; a lone tab says that a file is
meant. There is always an answer, in a moment, if need be an empty one.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence

import click
from click.shell_completion import CompletionItem, ShellComplete

from qd.cli.frame import Command

_BASH = """\
_qd() {
    mapfile -t COMPREPLY < <(
        _QD_COMPLETE=bash _QD_BREAKS=$COMP_WORDBREAKS "$1" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null
    )
    if [[ ${COMPREPLY-} == $'\\t' ]]; then
        COMPREPLY=()
        compopt -o default
    fi
}
complete -o nosort -F _qd qd
"""

_ZSH = """\
#compdef qd
_qd() {
    local line
    local -a values shown
    for line in "${(@f)$(_QD_COMPLETE=zsh "${words[1]}" "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == $'\\t' ]]; then
            _files
            return
        fi
        [[ -n $line ]] || continue
        values+=("${line%%$'\\t'*}")
        shown+=("${line/$'\\t'/  -- }")
    done
    compadd -V qd -l -d shown -a values
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _qd "$@"
else
    compdef _qd qd
fi
"""

_FISH = """\
function __qd_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (_QD_COMPLETE=fish $words[1] $words[2..-1] 2>/dev/null)
    if test "$found" = \\t
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $found
    end
end
complete -c qd -f -k -a '(__qd_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


@click.command(
    "completion",
    cls=Command,
    short_help="Print the completion script of a shell.",
    examples=(
        "qd completion bash > ~/.local/share/bash-completion/completions/qd",
        "qd completion zsh > ~/.zfunc/_qd",
        "qd completion fish > ~/.config/fish/completions/qd.fish",
    ),
)
@click.argument("shell", type=click.Choice(tuple(_SCRIPTS)))
def completion(shell: str) -> None:
    """
    Print the completion script of a shell.

    Put it where the shell looks for completions, as below, and start a new shell; or, in bash
    without the package bash-completion, write `eval "$(qd completion bash)"` into ~/.bashrc.

    Commands and options are completed, and from Redis, if it answers at once: queues, ids of tasks
    and worker processes, periodic tasks, groups.
    """
    click.echo(_SCRIPTS[shell], nl=False)


def answer(root: click.Command, shell: str, arguments: Sequence[str]) -> None:
    """Print what the last of the words may become, in the form of the shell that asks."""
    words = _words(arguments[0] if arguments else "") if shell == "bash" else list(arguments)
    before, word = words[:-1], (words or [""])[-1]
    try:
        found = ShellComplete(root, {}, "qd", "").get_completions(before, word)
    except Exception:  # noqa: BLE001 - a shell has no place for an error
        return
    if any(one.type == "file" for one in found):
        lines = ["\t"]
    elif shell == "bash":
        lines = _for_bash(found, word, os.environ.get("_QD_BREAKS", ""))
    else:
        lines = _explained(found, word)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _words(line: str) -> list[str]:
    """Take a command line apart as bash does; the last word is "" behind a blank."""
    from click.shell_completion import split_arg_string

    words = split_arg_string(line)[1:]
    # A blank that is escaped or quoted belongs to the word.
    if not words or split_arg_string(line + "x")[1:-1] == words:
        words.append("")
    return words


def _whole(found: Iterable[CompletionItem], word: str) -> Iterable[tuple[str, str]]:
    """Yield candidates as whole words, as in `--queue=low`. What cannot be shown is left out."""
    option = re.match(r"--[\w-]+=", word)
    for one in found:
        text = str(one.value)
        if text.isprintable():
            yield (option[0] if option else "") + text, one.help or ""


def _explained(found: Iterable[CompletionItem], word: str) -> list[str]:
    return [f"{value}\t{text}".rstrip("\t") for value, text in _whole(found, word)]


def _for_bash(found: Iterable[CompletionItem], word: str, breaks: str) -> list[str]:
    """
    Write candidates as bash puts them in: behind its last word break, and quoted.

    What stands in Redis was written by anybody; nothing of it may be carried out by the shell.
    """
    at = max((word.rfind(one) for one in breaks if not one.isspace()), default=-1) + 1
    lines = []
    for value, _ in _whole(found, word):
        if value.startswith(word[:at]):
            lines.append(re.sub(r"([^\w@%+=:,./-])", r"\\\1", value[at:]))
    return lines
