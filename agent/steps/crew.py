"""How many downloads go on at once: as many as keep one core busy.

Of the threads of a Python program one runs at a time. Where the network is slow nearly all of them wait, and more are
what helps; where it is not, they wait for each other, and fewer are faster.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from agent.host.clock import Clock

FEWEST, FIRST, MOST = 3, 8, 32
EVERY_SECONDS = 0.05
# Of one core, by the whole process.
_IDLE, _BUSY = 0.5, 0.9


class Crew:
    """Keeps count of the threads of one sync; `cpu` gives the seconds of CPU that the process has used."""

    def __init__(self, work: int, clock: Clock, cpu: Callable[[], float] = time.process_time) -> None:
        self.size = min(FIRST, work)
        self._clock, self._cpu = clock, cpu
        self._lock = threading.Lock()
        self._since, self._used = clock.monotonic(), cpu()

    def change(self, left: int) -> int:
        """How many threads to add, while `left` objects are to be begun; -1 for a caller that is one too many.

        It answers with something other than 0 every 50 ms at most.
        """
        with self._lock:
            now, used = self._clock.monotonic(), self._cpu()
            wall = now - self._since
            if wall < EVERY_SECONDS:
                return 0
            busy = (used - self._used) / wall
            self._since, self._used = now, used
            change = 0
            if busy < _IDLE:
                change = max(0, min(self.size, MOST - self.size, left))
            elif busy > _BUSY and self.size > FEWEST:
                change = -1
            self.size += change
            return change
