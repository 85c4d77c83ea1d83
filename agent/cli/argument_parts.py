"""Parts of the command line that several commands have."""

from __future__ import annotations

import argparse
import os
import sys

from agent.cli.streams import put

TYPE_CHECKING = False  # as that of `typing`, which takes 2 ms to load
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from _typeshed import SupportsWrite

_NARROW = 80


class Parser(argparse.ArgumentParser):
    """argparse's own; that one does not tell when its help could not be written."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        is_data = file is sys.stdout
        if not is_data:
            super()._print_message(message, file)
        elif code := put(sys.stdout, message):
            sys.exit(code)


class Help(argparse.HelpFormatter):
    """argparse's own; that one asks `shutil` for the terminal's width, which loads three compressors to tell it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_columns() - 2)


def _terminal_columns() -> int:
    """As `shutil.get_terminal_size` finds them: COLUMNS, the terminal's own, 80."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdecimal() and int(said[:9]) > 0:
        return int(said[:9])
    output = sys.__stdout__
    if output is None:
        return _NARROW
    try:
        return os.get_terminal_size(output.fileno()).columns or _NARROW
    except (ValueError, OSError):
        return _NARROW  # it is closed, or no terminal


# The agent's own for `compose`, each with a value; what else begins with a dash is Compose's.
_OF_COMPOSE = ("--manifest", "--bootstrap", "--deadline", "--root", "--log-format", "--log-level")


def separated(words: Sequence[str]) -> list[str]:
    """The words with `--` before Compose's own when they begin with an option, which argparse takes for the agent's."""
    command = _behind_own(words, 0)
    at = _behind_own(words, command + 1)
    foreign = list(words[at:])
    if words[command:at][:1] != ["compose"] or not foreign[0:1] or foreign[0] in ("--", "-h", "--help"):
        return list(words)
    return [*words[:at], *(["--"] if foreign[0].startswith("-") else []), *foreign]


def _behind_own(words: Sequence[str], at: int) -> int:
    """Where the agent's own options end that begin there."""
    while at < len(words) and words[at].partition("=")[0] in _OF_COMPOSE:
        at += 1 if "=" in words[at] else 2
    return at


def path(text: str) -> Path:
    """A command line's path."""
    from pathlib import Path  # noqa: PLC0415 - 3 ms that `--help` need not pay

    return Path(text)


def global_options(parser: argparse.ArgumentParser, *, first: bool) -> None:
    """Accepted before and after the command; what comes after wins."""

    def default(value: object) -> object:
        return value if first else argparse.SUPPRESS

    group = parser.add_argument_group("global options")
    group.add_argument("--root", default=default("/"), metavar="DIR", help="prefix of every path of the host (/)")
    group.add_argument(
        "--log-format",
        choices=("auto", "console", "json"),
        default=default("auto"),
        help="auto: drawn on a terminal, JSON lines elsewhere",
    )
    group.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=default(None),
        help="info; warning for commands that print data",
    )


def seconds(text: str) -> float:
    """A command line's number of seconds, from 0 to a day."""
    try:
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 <= number <= 86400:  # noqa: PLR2004 - a day; also refuses nan and inf
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 86400 seconds")
    return number


def columns(text: str) -> int:
    """A command line's width of a page."""
    if not text.isascii() or not text.isdecimal() or not 60 <= int(text[:9]) <= 1000:  # noqa: PLR2004 - what can be read
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of columns from 60 to 1000")
    return int(text)


def deadline(parser: argparse.ArgumentParser) -> None:
    """`--deadline`, for every command that waits for something."""
    parser.add_argument("--deadline", type=seconds, default=300.0, metavar="SECONDS", help="for the whole run (300)")
