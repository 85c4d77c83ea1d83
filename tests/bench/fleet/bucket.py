"""A token bucket, as AWS throttles: so many calls a second, and as many at once as were saved up."""

from __future__ import annotations


class Bucket:
    """Holds at most `capacity` tokens, gets `rate` more every second, and begins full."""

    def __init__(self, rate: float, capacity: float) -> None:
        self._rate, self._capacity = rate, capacity
        self._tokens, self._time = capacity, 0.0

    def take(self, now: float) -> bool:
        """Whether a call at this time is let through; times only grow."""
        self._tokens = min(self._capacity, self._tokens + (now - self._time) * self._rate)
        self._time = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
