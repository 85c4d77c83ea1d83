"""Runs checks side by side, each with its own time; one that depends on a failed one is skipped and says on which."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from agent.dataclass import dataclass
from agent.doctor.line import Line, fail, skip
from agent.errors import AgentError, DeadlineExceeded, HostError
from agent.host.clock import Deadline
from agent.host.side_by_side import SideBySide, within

_DENIED = "Permission denied"
_SLOW = "see what does not answer: routes, security groups, DNS, the proxy; for the host itself: its disks and load"
_FILES = "see `dmesg` and `mount`, and who may read the path"

Work = Callable[[Deadline], Iterable[Line]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One precondition. `work` gets its deadline, and may raise an `AgentError` for a fault.

    It runs when all of `needs` are well and all of `after` have ended, and has `seconds` for itself; `slow` is what to
    do when they are not enough.
    """

    name: str
    work: Work
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    seconds: float = 3.0
    slow: str = _SLOW


class Board:
    """The checks of one examination with what has come of them; for one call of `examine`."""

    def __init__(self, checks: Sequence[Check], deadline: Deadline, *, root: bool) -> None:
        self._checks = checks
        self._deadline = deadline
        self._root = root
        self._group = SideBySide(deadline)
        self._lines: dict[str, tuple[Line, ...]] = {}
        self._begun: set[str] = set()
        # Which check is at the bottom of it that a check is not well: itself, or one that it needs.
        self._roots: dict[str, str] = {}

    def examine(self) -> list[Line]:
        """The lines of all checks, in the checks' order; at the deadline at the latest."""
        jobs = [
            self._group.start(f"checking {check.name}", functools.partial(self._settle, check))
            for check in self._checks
        ]
        with self._group.changed:
            self._group.changed.wait_for(
                lambda: all(job.done for job in jobs) or any(job.error for job in jobs),
                self._deadline.left(),
            )
            ended, begun = dict(self._lines), set(self._begun)
        for job in jobs:
            if job.error is not None:
                raise job.error
        for check in self._checks:
            if check.name not in ended:
                ended[check.name] = (_late(check, begun=check.name in begun),)
        lines = ((check, line) for check in self._checks for line in ended[check.name])
        return [replace(line, check=check.name) for check, line in lines]

    def _settle(self, check: Check) -> None:
        """Wait for what the check builds on, run it, and put down what came of it."""
        awaited = {*check.needs, *check.after}
        with self._group.changed:
            ready = self._group.changed.wait_for(lambda: awaited <= self._lines.keys(), self._deadline.left())
            ready = ready and self._deadline.left() > 0
            root = next((self._roots[name] for name in check.needs if name in self._roots), None)
            if ready and root is None:
                self._begun.add(check.name)
        if not ready:
            return  # what it builds on is not there; that it was not looked at is told by `examine`
        lines = self._run(check) if root is None else (skip(f"needs {root}"),)
        with self._group.changed:
            self._lines[check.name] = lines
            if any(line.state in {"fail", "skip"} for line in lines):
                self._roots[check.name] = root or check.name
            self._group.changed.notify_all()

    def _run(self, check: Check) -> tuple[Line, ...]:
        deadline = self._deadline.share(check.seconds)
        try:
            return within(deadline, f"looking at {check.name}", lambda: tuple(check.work(deadline)))
        except DeadlineExceeded as error:
            return (fail(DeadlineExceeded(error.doing, error.cause, check.slow)),)
        except OSError as error:
            # Of a check that reads the host's files itself.
            return self._failed(HostError(f"looking at {check.name}", error.strerror or str(error), _FILES))
        except AgentError as error:
            return self._failed(error)

    def _failed(self, error: AgentError) -> tuple[Line, ...]:
        """A fault; where only root could look there is none that anybody has seen."""
        if not self._root and _refused(error):
            return (skip("needs root", "sudo delphi-agent doctor"),)
        return tuple(fail(part) for part in error.parts())


def _late(check: Check, *, begun: bool) -> Line:
    """At the end of all time: what hangs is a fault, what never began is not."""
    if begun:
        return fail(DeadlineExceeded(f"looking at {check.name}", "not done in time", check.slow))
    return skip("not looked at in time: what it waits for has taken too long")


def _refused(error: AgentError) -> bool:
    """Whether the host said that only root may do this."""
    return any(_DENIED in part.cause or isinstance(part.__cause__, PermissionError) for part in error.parts())
