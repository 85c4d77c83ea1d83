"""`Finding`: one thing that is wrong, or doubtful, at one place of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from agent.errors import BundleError


class Place(NamedTuple):
    """A file as messages call it, with a line and a column, both counted from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong (`text`) at `place`, and what to do about it (`next_step`).

    `code` is stable: scripts may look for it. `exit_code` is that of the error class which a run on the host would end
    with. Neither text ever holds the value of a variable.
    """

    place: Place
    severity: Literal["error", "warning"]
    code: str
    text: str
    next_step: str
    exit_code: int = BundleError.exit_code


def error(place: Place, code: str, text: str, next_step: str, *, exit_code: int = BundleError.exit_code) -> Finding:
    """A finding that a run would fail on."""
    return Finding(place, "error", code, text, next_step, exit_code)


def warning(place: Place, code: str, text: str, next_step: str, *, exit_code: int = BundleError.exit_code) -> Finding:
    """A finding that a run would not fail on, or not always."""
    return Finding(place, "warning", code, text, next_step, exit_code)
