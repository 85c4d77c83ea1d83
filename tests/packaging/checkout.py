"""The project's files as the tests of this folder read them."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text()


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of the README: ```KIND WHERE."""

    kind: str
    where: str
    text: str


def blocks() -> list[Block]:
    """Every fenced block, in order."""
    found = re.findall(r"^```(\w*) ?(.*)\n((?:.*\n)*?)```$", README, re.MULTILINE)
    return [Block(*groups) for groups in found]


def commands(where: str) -> list[str]:
    """The shell commands that the README gives for one place, a line each."""
    return [
        line for block in blocks() if (block.kind, block.where) == ("sh", where) for line in block.text.splitlines()
    ]


def table(*columns: str) -> list[list[str]]:
    """The rows of the README's table whose first columns have these titles."""
    head = "| " + " | ".join(columns)
    lines = README.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(head))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
    return rows


def names(cell: str) -> list[str]:
    """What stands between backquotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def pyproject() -> dict[str, Any]:
    """The project's own description."""
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
