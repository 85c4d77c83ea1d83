"""Shell completions from the agent's own command line: `python completions.py bash|zsh`, with agent/ importable."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from agent.cli.arguments import parser

BASH = """\
# bash completion of delphi-agent, made from its command line.

_delphi_agent_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}

_delphi_agent_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current")
}

_delphi_agent() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command='' word
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        case $word in
        COMMANDS)
            command=$word
            break
            ;;
        esac
    done
    case "$command $previous" in
VALUES    esac
    case $command in
OPTIONS    esac
}

complete -F _delphi_agent delphi-agent
"""

ZSH = """\
#compdef delphi-agent
# zsh completion of delphi-agent, made from its command line.

_delphi_agent() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C \\
GLOBAL        '1:command:->command' \\
        '*::argument:->argument'
    case $state in
    command)
        local -a commands=(
COMMANDS        )
        _describe command commands
        ;;
    argument)
        case $words[1] in
ARGUMENTS        esac
        ;;
    esac
}

_delphi_agent "$@"
"""


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command."""
    (found,) = [item.choices for item in parser()._actions if isinstance(item, argparse._SubParsersAction)]  # noqa: SLF001 - argparse has no other way to be asked
    return dict(found)


def actions(of: argparse.ArgumentParser) -> list[argparse.Action]:
    """Its options and arguments, without the commands."""
    return [item for item in of._actions if not isinstance(item, argparse._SubParsersAction)]  # noqa: SLF001 - argparse has no public way


def summaries() -> dict[str, str]:
    """What --help says of each command."""
    (found,) = [item for item in parser()._actions if isinstance(item, argparse._SubParsersAction)]  # noqa: SLF001 - argparse has no public way
    return {item.dest: item.help or "" for item in found._choices_actions}  # noqa: SLF001 - argparse has no public way


def bash() -> str:
    """For /usr/share/bash-completion/completions."""
    known = {"": parser(), **commands()}
    values = "".join(line for name, one in known.items() for line in _bash_values(name, one))
    options = "".join(line for name, one in known.items() for line in _bash_options(name, one))
    return BASH.replace("COMMANDS", " | ".join(commands())).replace("VALUES", values).replace("OPTIONS", options)


def _bash_values(name: str, of: argparse.ArgumentParser) -> Iterator[str]:
    for item in actions(of):
        if item.option_strings and item.nargs != 0:
            pattern = " | ".join(f"'{name} {option}'" for option in item.option_strings)
            yield f"    {pattern})\n        {_bash_value(item)}\n        return\n        ;;\n"


def _bash_value(item: argparse.Action) -> str:
    if item.choices:
        return f"_delphi_agent_words '{' '.join(map(str, item.choices))}'"
    return {"DIR": "_delphi_agent_files -d", "FILE": "_delphi_agent_files -f"}.get(str(item.metavar), ":")


def _bash_options(name: str, of: argparse.ArgumentParser) -> Iterator[str]:
    words = " ".join(option for item in actions(of) for option in item.option_strings)
    if not name:
        words += " " + " ".join(commands())
    what = f"_delphi_agent_words '{words}'"
    if name in {"exec", "compose"}:
        # What follows is another program's own.
        yield f"    {name})\n        case $current in\n        -*) {what} ;;\n        *) _delphi_agent_files -c ;;\n"
        yield "        esac\n        ;;\n"
    elif any(item.metavar == "DIR" and not item.option_strings for item in actions(of)):
        yield f"    {name})\n        case $current in\n        -*) {what} ;;\n        *) _delphi_agent_files -d ;;\n"
        yield "        esac\n        ;;\n"
    else:
        pattern = name or "''"
        yield f"    {pattern}) {what} ;;\n"


def zsh() -> str:
    """For /usr/share/zsh/vendor-completions and site-functions."""
    arguments = ""
    for name, one in commands().items():
        lines = " \\\n                ".join(_zsh(item) for item in actions(one))
        arguments += f"        {name})\n            _arguments \\\n                {lines}\n            ;;\n"
    told = "".join(f"            {_quoted(f'{name}:{text}')}\n" for name, text in summaries().items())
    first = "".join(f"        {_zsh(item)} \\\n" for item in actions(parser()))
    return ZSH.replace("GLOBAL", first).replace("COMMANDS", told).replace("ARGUMENTS", arguments)


def _zsh(item: argparse.Action) -> str:
    text = (item.help or "").replace("[", "(").replace("]", ")").replace(":", r"\:")
    value = _zsh_value(item)
    if not item.option_strings:
        many = item.nargs == argparse.REMAINDER
        return _quoted(f"*::{item.dest}:_normal" if many else f":{item.dest}:{value}")
    again = "*" if isinstance(item, argparse._AppendAction) else ""  # noqa: SLF001 - argparse has no other way to be asked
    tail = f":{str(item.metavar or item.dest).lower()}:{value}" if item.nargs != 0 else ""
    shown = [_quoted(f"{again}{option}[{text}]{tail}") for option in item.option_strings]
    return " ".join(shown)


def _zsh_value(item: argparse.Action) -> str:
    if item.choices:
        return f"({' '.join(map(str, item.choices))})"
    return {"DIR": "_files -/", "FILE": "_files"}.get(str(item.metavar), " ")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    sys.stdout.write({"bash": bash, "zsh": zsh}[sys.argv[1]]())
