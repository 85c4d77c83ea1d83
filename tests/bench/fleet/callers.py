"""Who asks, and what it does when AWS throttles: the agent's own code, and botocore's for what it is compared with."""

from __future__ import annotations

import random
from typing import Any, Protocol

from botocore.exceptions import CapacityNotAvailableError
from botocore.retries import quota, standard
from botocore.retries.adaptive import ClientRateLimiter, RateClocker
from botocore.retries.bucket import TokenBucket
from botocore.retries.throttling import CubicCalculator

from agent.aws.retrying import Failure, Retrying
from agent.host.clock import Deadline


class Caller(Protocol):
    """How the calls of one run are made."""

    def hold(self, call: str) -> float:
        """Seconds to wait before asking to send again; 0 when the call is sent now."""

    def answered(self, call: str) -> None:
        """A call was answered."""

    def refused(self, call: str, attempt: int) -> float | None:
        """A call was throttled: seconds until the next attempt, None to give up."""


class Agent:
    """The agent's own code, on the simulated clock."""

    def __init__(self, deadline: Deadline, chance: random.Random, place: float | None = None) -> None:
        self._retrying = Retrying(deadline, place=place, chance=chance.random)

    def hold(self, call: str) -> float:
        return 0.0

    def answered(self, call: str) -> None:
        self._retrying.answered(call)

    def refused(self, call: str, attempt: int) -> float | None:
        return self._retrying.pause(call, Failure.THROTTLED, attempt)


class _Response:
    status_code = 400
    headers: dict[str, str] = {}  # noqa: RUF012 - as botocore's own, and nobody writes to it


class Botocore:
    """botocore's `standard` mode with so many attempts, by its own code: the AWS CLI has three."""

    def __init__(
        self, deadline: Deadline, chance: random.Random, place: float | None = None, *, attempts: int = 3
    ) -> None:
        adapter = standard.RetryEventAdapter()
        detector = standard.ThrottlingErrorDetector(adapter)
        # Its stubs say other types than its code takes.
        parts: Any = standard
        self._quota: Any = parts.RetryQuotaChecker(quota.RetryQuota(), detector)
        self._handler = parts.RetryHandler(
            standard.RetryPolicy(
                standard.StandardRetryConditions(max_attempts=attempts),
                standard.ExponentialBackoff(random=chance.random, throttling_detector=detector),
            ),
            adapter,
            self._quota,
        )
        self.deadline = deadline

    def hold(self, call: str) -> float:
        return 0.0

    def answered(self, call: str) -> None:
        response = _Response()
        response.status_code = 200
        self._quota.release_retry_quota({}, response)

    def refused(self, call: str, attempt: int) -> float | None:
        delay: float | None = self._handler.needs_retry(**_event(attempt))
        return delay


class Operator(Agent):
    """The agent as an operator starts it: no place in a fleet."""

    def __init__(self, deadline: Deadline, chance: random.Random, place: float | None = None) -> None:
        super().__init__(deadline, chance)


class Before(Botocore):
    """The agent as it was: `standard` mode, ten attempts, none whose pause may outlast the run."""

    ATTEMPTS = 10

    def __init__(self, deadline: Deadline, chance: random.Random, place: float | None = None) -> None:
        super().__init__(deadline, chance, attempts=self.ATTEMPTS)

    def refused(self, call: str, attempt: int) -> float | None:
        if self.deadline.left() < min(2.0 ** (attempt - 1), 20.0):
            return None
        return super().refused(call, attempt)


class Endless(Before):
    """The same without an end of the attempts: what `standard` mode's retry quota leaves of that."""

    ATTEMPTS = 1_000_000


class Adaptive(Agent):
    """The agent's pauses, and before each call the rate limit of botocore's `adaptive` mode, by its own code."""

    def __init__(self, deadline: Deadline, chance: random.Random, place: float | None = None) -> None:
        super().__init__(deadline, chance, place)
        self._clock: Any = _AdaptiveClock(deadline)
        self._limits: dict[str, tuple[TokenBucket, ClientRateLimiter]] = {}
        self._throttled: set[str] = set()

    def hold(self, call: str) -> float:
        service = call.partition(".")[0]
        if service not in self._throttled:
            return 0.0
        bucket, _ = self._limits[service]
        try:
            bucket.acquire(block=False)
        except CapacityNotAvailableError:
            return max(0.001, (1 - bucket.available_capacity) / bucket.max_rate)
        return 0.0

    def answered(self, call: str) -> None:
        super().answered(call)
        self._limit(call).on_receiving_response(**_event(1, refused=False))

    def refused(self, call: str, attempt: int) -> float | None:
        self._limit(call).on_receiving_response(**_event(attempt))
        self._throttled.add(call.partition(".")[0])
        return super().refused(call, attempt)

    def _limit(self, call: str) -> ClientRateLimiter:
        """A client has one limit for all its operations."""
        service = call.partition(".")[0]
        clock = self._clock
        if service not in self._limits:
            bucket = TokenBucket(max_rate=1, clock=clock)
            limiter = ClientRateLimiter(
                rate_adjustor=CubicCalculator(starting_max_rate=0, start_time=clock.current_time()),
                rate_clocker=RateClocker(clock),
                token_bucket=bucket,
                throttling_detector=standard.ThrottlingErrorDetector(standard.RetryEventAdapter()),
                clock=clock,
            )
            self._limits[service] = bucket, limiter
        return self._limits[service][1]


class _AdaptiveClock:
    """The simulated clock as botocore's rate limit reads one."""

    def __init__(self, deadline: Deadline) -> None:
        self._clock = deadline.clock

    def current_time(self) -> float:
        return self._clock.monotonic()


def _event(attempt: int, *, refused: bool = True) -> dict[str, Any]:
    """What botocore tells of an attempt in its event `needs-retry`."""
    response = _Response()
    response.status_code = 400 if refused else 200
    return {
        "response": (response, {"Error": {"Code": "ThrottlingException"}} if refused else {}),
        "operation": None,
        "attempts": attempt,
        "caught_exception": None,
        "request_dict": {"context": {}},
    }
