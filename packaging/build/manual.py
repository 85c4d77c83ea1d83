"""The manual page: `python manual.py VERSION`, with agent/ importable."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import sys
from pathlib import Path

from completions import actions, commands
from readme import table

from agent.cli.arguments import parser

TEMPLATE = Path(__file__).with_name("delphi-agent.8.in")
GLOBAL = frozenset({"--root", "--log-format", "--log-level"})


def page(version: str) -> str:
    """The page in the language of man(7)."""
    date = dt.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), dt.UTC).date()
    head = [item for item in actions(parser()) if item.dest != "help"]
    parts = {
        "DATE": date.isoformat(),
        "VERSION": plain(version),
        "COMMANDS": "\n".join(_command(name, one) for name, one in commands().items()),
        "GLOBAL": "\n".join(_option(item) for item in head),
        "EXIT": "\n".join(f".TP\n.B {row[0]}\n{_sentence(row[1])}" for row in table("Code", "Meaning")),
        "FILES": "\n".join(f".TP\n.I {rich(row[0])}\n{_sentence(row[2])}" for row in table("Path", "Mode")),
        "BOOTSTRAP": "\n".join(
            f".TP\n.B {plain(row[0].strip('`'))}\n{_sentence(f'{row[1]}; {row[2]}')}" for row in table("Variable", "")
        ),
    }
    text = TEMPLATE.read_text()
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text


def _command(name: str, of: argparse.ArgumentParser) -> str:
    words = [item for item in actions(of) if not item.option_strings]
    usage = " ".join([f"\\fB{plain(name)}\\fP", *(f"\\fI{plain(str(item.metavar))}\\fP" for item in words)])
    own = [item for item in actions(of) if item.option_strings and not GLOBAL & {*item.option_strings, *_help(item)}]
    return "\n".join([f".SS {usage}", _sentence(of.description or ""), *(_option(item) for item in own)])


def _help(item: argparse.Action) -> set[str]:
    """-h is said of none: every command has it."""
    return set(GLOBAL) if item.dest == "help" else set()


def _option(item: argparse.Action) -> str:
    shown = ", ".join(f"\\fB{plain(option)}\\fP" for option in reversed(item.option_strings))
    if item.choices:
        shown += f" \\fI{plain('|'.join(map(str, item.choices)))}\\fP"
    elif item.nargs != 0:
        shown += f" \\fI{plain(str(item.metavar))}\\fP"
    return f".TP\n{shown}\n{_sentence(item.help or '')}"


def _sentence(text: str) -> str:
    text = rich(text.strip())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!")) else ".")


def rich(text: str) -> str:
    """Markdown's code becomes bold."""
    return re.sub(r"`([^`]*)`", r"\\fB\1\\fP", plain(text))


def plain(text: str) -> str:
    """Text of which troff reads nothing as a command; hyphens that can be pasted into a shell."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in {".", "'"} else text


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1]))
