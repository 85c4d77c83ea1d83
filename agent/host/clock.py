"""Time as an argument: the clock, and the one deadline that a run divides among its steps."""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol

from agent.dataclass import dataclass
from agent.errors import DeadlineExceeded


class Clock(Protocol):
    """Where the agent gets time from. Tests pass one that moves by itself."""

    def now(self) -> dt.datetime:
        """The wall clock, in UTC."""

    def monotonic(self) -> float:
        """Seconds that only grow; the zero is arbitrary."""

    def sleep(self, seconds: float) -> None:
        """Let this many seconds pass."""


class SystemClock:
    """The real time of this host."""

    def now(self) -> dt.datetime:
        """The wall clock, in UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Seconds since some point in the past (CLOCK_MONOTONIC)."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread; a negative figure counts as zero."""
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True)
class Deadline:
    """A point in time after which nothing may be waited for any more."""

    clock: Clock
    at: float
    seconds: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """The deadline that lies `seconds` ahead of now."""
        return cls(clock, clock.monotonic() + seconds, seconds)

    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.at - self.clock.monotonic())

    def share(self, seconds: float) -> Deadline:
        """A deadline of its own for one wait: `seconds` ahead, but never later than this one."""
        seconds = min(seconds, self.left())
        return Deadline(self.clock, self.clock.monotonic() + seconds, seconds)

    def check(self, doing: str) -> None:
        """Raise `DeadlineExceeded` when no time is left for `doing`."""
        if self.left() <= 0:
            raise self.exceeded(doing)

    def exceeded(self, doing: str, last: str = "") -> DeadlineExceeded:
        """The error to raise when `doing` was not done in time; `last` is what was seen last."""
        cause = f"not done within {self.seconds:.0f} s"
        return DeadlineExceeded(
            doing,
            f"{cause}; last seen: {last}" if last else cause,
            "find out what is slow (`delphi-agent status`), then run it again; `--deadline SECONDS` allows more time",
        )
