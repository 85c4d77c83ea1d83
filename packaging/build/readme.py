"""The tables of README.md, for what is generated from them."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def table(*head: str) -> list[list[str]]:
    """The cells of the one table whose header begins with these words."""
    lines = iter((CHECKOUT / "README.md").read_text().splitlines())
    start = "| " + " | ".join(head)
    for line in lines:
        if line.startswith(start):
            next(lines)
            break
    else:
        raise SystemExit(f"README.md has no table {start}")
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        # A bar inside a cell is written \|.
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows
