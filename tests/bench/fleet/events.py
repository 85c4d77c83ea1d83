"""Simulated time: processes are generators that yield how long they wait, or processes that they wait for."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias

# A process returns whether it came to its end; False ends the wait of whoever waits for it together with others.
Process: TypeAlias = Generator["float | Sequence[Process]", None, bool]

_EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Loop:
    """Runs processes in the order of their times. It is a clock of the agent's kind, on which nobody may sleep."""

    def __init__(self) -> None:
        self._time = 0.0
        self._waiting: list[tuple[float, int, Process, Callable[[bool], None] | None]] = []
        self._number = itertools.count()

    def now(self) -> dt.datetime:
        """The simulated wall clock."""
        return _EPOCH + dt.timedelta(seconds=self._time)

    def monotonic(self) -> float:
        """The simulated seconds."""
        return self._time

    def sleep(self, seconds: float) -> None:
        """Refuse: a process waits by yielding."""
        raise AssertionError("a simulated process yields its pauses")

    def start(self, process: Process, at: float, then: Callable[[bool], None] | None = None) -> None:
        """Have `process` begin at `at`; `then` hears how it ended."""
        heapq.heappush(self._waiting, (at, next(self._number), process, then))

    def run(self, until: float) -> None:
        """Let time pass up to `until`, or until nobody waits any more."""
        while self._waiting and self._waiting[0][0] <= until:
            self._time, _, process, then = heapq.heappop(self._waiting)
            self._go_on(process, then)

    def _go_on(self, process: Process, then: Callable[[bool], None] | None) -> None:
        try:
            wanted = process.send(None)
        except StopIteration as end:
            if then is not None:
                then(end.value)
            return
        if isinstance(wanted, int | float):
            self.start(process, self._time + wanted, then)
        else:
            self._wait_for_all(wanted, process, then)

    def _wait_for_all(self, others: Sequence[Process], process: Process, then: Callable[[bool], None] | None) -> None:
        """Wake `process` when all others have ended, or one of them with False."""
        left = len(others)
        woken = False

        def ended(well: bool) -> None:  # noqa: FBT001 - what a process returned
            nonlocal left, woken
            left -= 1
            if not woken and (left == 0 or not well):
                woken = True
                self.start(process, self._time, then)

        for other in others:
            self.start(other, self._time, ended)
