"""Lines of the form `FILE:LINE:COLUMN: text`, as the agent's readers report faults, taken apart again."""

from __future__ import annotations

import re

from agent.compose_file import Place

_AFTER_NAME = re.compile(r"(?::(\d+))?(?::(\d+))?: (.*)", re.DOTALL)


def split(line: str, name: str) -> tuple[Place, str]:
    """The place and the text of a line about the file `name`; line and column are 1 where it does not say them."""
    match = _AFTER_NAME.fullmatch(line.removeprefix(name)) if line.startswith(name) else None
    if not match:
        return Place(name), line
    row, column, text = match.groups()
    return Place(name, int(row or 1), int(column or 1)), text
