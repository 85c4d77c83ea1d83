"""What a check comes to: lines for people and programs, made by `ok`, `warn`, `fail` and `skip`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from agent.dataclass import dataclass
from agent.errors import AgentError

State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One finding of one check. `exit_code` is 0 unless it is a fault; nothing in it is the value of a variable."""

    check: str = ""
    state: State
    why: str
    fix: str = ""
    exit_code: int = 0
    details: tuple[str, ...] = ()


def ok(why: str) -> Line:
    """All is as it must be; `why` says what was seen."""
    return Line(state="ok", why=why)


def warn(why: str, fix: str, details: Iterable[str] = ()) -> Line:
    """A run would go on, but somebody should know."""
    return Line(state="warn", why=why, fix=fix, details=tuple(details))


def fail(error: AgentError) -> Line:
    """A run would fail, with this error's exit code."""
    return Line(
        state="fail",
        why=f"{error.doing}: {error.cause}",
        fix=error.next_step,
        exit_code=error.exit_code,
        details=error.details,
    )


def skip(why: str, fix: str = "") -> Line:
    """It was not looked at, and why."""
    return Line(state="skip", why=why, fix=fix)
