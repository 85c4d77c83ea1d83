"""Whether a call of AWS is made again, and after which pause: the run's own rules, in place of the SDK's.

The SDK's `standard` mode gives up after a number of attempts, or when its retry quota is used up; a fleet whose
instances give up and start over melts. What is throttled is asked again here until the run's time is over, in a way
that a fleet of any size is served at the rate of the quota. The figures come from `python -m tests.bench.fleet`, which
drives this very code: time comes from the deadline's clock, and chance is an argument.
"""

from __future__ import annotations

import enum
import hashlib
import math
import random
from collections.abc import Callable

from agent.host.clock import Deadline

# So many attempts every call has. What is throttled has more while there is time; where there is no deadline, or it is
# over (a restore has a time of its own), that is all.
ATTEMPTS = 10
HASTY_ATTEMPTS = 2
# The first pause is at most so long, then twice that, and so on. Nobody waits for a boot: its pauses are longer, which
# saves calls that are throttled again.
THROTTLED_SECONDS, BOOT_SECONDS, BROKEN_SECONDS = 1.0, 5.0, 0.05
# The longest pause of what is broken; and of all, where there is no deadline or it is over.
LONGEST_SECONDS = 20.0
# The longest of what is throttled: who has waited for long will wait for long, so that it grows with the time that a
# run has taken. A small fleet is served soon, and a long pause would outlast that; a large one asks less in vain.
THROTTLED_LONGEST_SECONDS, THROTTLED_LONGEST_SHARE = 5.0, 0.25
# The same for an operation that was answered before in this run, such as the next page: who has begun to be served goes
# first. Else, at the deadline of a large fleet, everybody has some pages and nobody all.
BEGUN_SECONDS = 1.0
# More than those are not made in this last part of a run, of at most so many seconds: what comes after AWS's answers
# needs time, and a run that has none for it shall end where a restart helps (69), not in a start that is not seen
# healthy (76).
RESERVE_SHARE, RESERVE_SECONDS = 0.2, 60.0
# And none at all in this one: what AWS said last is to be told, and not that time was over.
ANSWER_SHARE, ANSWER_SECONDS = 0.1, 1.0
# An `x-amz-retry-after` adds at most so much to a pause, as in the SDKs.
ASKED_SECONDS = 5.0

_DOUBLINGS = 16


class Failure(enum.Enum):
    """Why a call was not answered, as far as asking again may help."""

    THROTTLED = "throttled"
    """AWS has too many calls of this account just now."""
    BROKEN = "broken"
    """No answer came, or AWS itself failed."""


class Retrying:
    """Decides for the calls of one run.

    `place` is that of an instance that boots (`place_of`), None where somebody waits. `hasty` ones have two attempts.
    """

    def __init__(
        self,
        deadline: Deadline | None,
        *,
        place: float | None = None,
        hasty: bool = False,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._deadline, self._place, self._hasty, self._chance = deadline, place, hasty, chance
        self._begun: set[str] = set()

    def answered(self, operation: str) -> None:
        """Hear that a call of this operation was answered."""
        self._begun.add(operation)

    def pause(self, operation: str, failure: Failure, attempt: int, asked: float = 0.0) -> float | None:
        """Seconds to wait after the attempt of this number (from 1), None when there shall be no other.

        `asked` is how long AWS asks to wait.
        """
        left = self._deadline.left() if self._deadline is not None else 0.0
        room = self._room(failure, attempt, left)
        seconds = self._jitter(operation, failure, attempt, left)
        seconds = max(seconds, min(asked, seconds + ASKED_SECONDS))
        return seconds if seconds <= room else None

    def _room(self, failure: Failure, attempt: int, left: float) -> float:
        """How long the pause may be; less than nothing when there may be none."""
        more = attempt >= (HASTY_ATTEMPTS if self._hasty else ATTEMPTS)
        if self._deadline is None or left <= 0:
            return -math.inf if more else math.inf
        whole = self._deadline.seconds
        if not more:
            return left - min(ANSWER_SHARE * whole, ANSWER_SECONDS)
        if failure is Failure.BROKEN or self._hasty:
            return -math.inf
        return left - min(RESERVE_SHARE * whole, RESERVE_SECONDS)

    def _jitter(self, operation: str, failure: Failure, attempt: int, left: float) -> float:
        """Full jitter: anything from 0 up to a limit that doubles."""
        chance = self._chance()
        if failure is Failure.BROKEN:
            return chance * _limit(BROKEN_SECONDS, attempt, LONGEST_SECONDS)
        if operation in self._begun:
            return chance * _limit(THROTTLED_SECONDS, attempt, BEGUN_SECONDS)
        if self._deadline is None or left <= 0:
            return chance * _limit(THROTTLED_SECONDS, attempt, LONGEST_SECONDS)
        longest = max(THROTTLED_LONGEST_SECONDS, THROTTLED_LONGEST_SHARE * (self._deadline.seconds - left))
        if self._place is None:
            return chance * _limit(THROTTLED_SECONDS, attempt, longest)
        return (self._place if attempt == 1 else chance) * _limit(BOOT_SECONDS, attempt, longest)


def _limit(first: float, attempt: int, longest: float) -> float:
    # No float holds what a long run's attempts would double to.
    return min(first * 2.0 ** min(attempt - 1, _DOUBLINGS), longest)


def place_of(instance_id: str) -> float:
    """Where from 0 to 1 an instance stands in its fleet: by its id, so that the fleet is spread evenly."""
    return int.from_bytes(hashlib.sha256(instance_id.encode()).digest()[:4]) / 2**32
