"""How many downloads go on at once: as many as keep one core busy.

Of the threads of a Python program one runs at a time. Where the network is slow nearly all of them wait, and more are
what helps; where it is not, they wait for each other, and fewer are faster.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from agent.host.clock import Clock

FEWEST, FIRST, MOST = 2, 8, 32
# Python's hashes and TLS let another thread run while they work on some KB: of large objects two threads use two cores,
# of small ones one is the fastest, and takes a third less CPU than three that take turns.
FEWEST_OF_SMALL, SMALL = 1, 64 << 10
# Too many are found out sooner than too few: those may only wait for their first answers.
FEWER_SECONDS, MORE_SECONDS = 0.02, 0.05
# Of one core, by the whole process.
_IDLE, _BUSY = 0.5, 0.9


class Crew:
    """Keeps count of the threads of one sync of so many objects, which have `size` bytes each on average.

    `cpu` gives the seconds of CPU that the process has used.
    """

    def __init__(self, work: int, size: float, clock: Clock, cpu: Callable[[], float] = time.process_time) -> None:
        self.size = min(FIRST, work)
        self._fewest = FEWEST_OF_SMALL if size < SMALL else FEWEST
        self._clock, self._cpu = clock, cpu
        self._lock = threading.Lock()
        self._since, self._used = clock.monotonic(), cpu()

    def rejoin(self) -> bool:
        """Whether one that was too many may go on after all."""
        with self._lock:
            if self.size == MOST:
                return False
            self.size += 1
            return True

    def change(self, left: int) -> int:
        """How many threads to add, while `left` objects are to be begun; -1 for a caller that is one too many.

        At most every 20 ms it is -1, and every 50 ms more than 0.
        """
        with self._lock:
            now, used = self._clock.monotonic(), self._cpu()
            wall = now - self._since
            if wall < FEWER_SECONDS:
                return 0
            busy = (used - self._used) / wall
            change = 0
            if busy > _BUSY:
                change = -1 if self.size > self._fewest else 0
            elif wall < MORE_SECONDS:
                return 0
            elif busy < _IDLE:
                change = max(0, min(self.size, MOST - self.size, left))
            self._since, self._used = now, used
            self.size += change
            return change
