"""The one door to retrying: named exceptions, full jitter, a deadline; the last error is raised as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agent.host.clock import Deadline

T = TypeVar("T")


def until(
    deadline: Deadline,
    work: Callable[[], T],
    *,
    on: tuple[type[BaseException], ...],
    first: float = 0.2,
    most: float = 5.0,
    tell: Callable[[BaseException], None] | None = None,
) -> T:
    """Call `work` until it returns, raises something that is not in `on`, or the deadline is over.

    Between two calls it waits a random time up to `first` seconds, doubled each time up to `most`. `tell` hears of
    every failure that is going to be tried again. After the deadline the last failure is raised, not a wrapper.
    """
    try:
        return work()
    except on as error:
        failed = error
    import tenacity

    def told(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if tell is not None and error is not None:
            tell(error)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(on),
        wait=tenacity.wait_random_exponential(multiplier=first, max=most),
        stop=lambda state: deadline.left() <= (state.upcoming_sleep or 0.0),
        sleep=deadline.clock.sleep,
        before_sleep=told,
        reraise=True,
    )
    # Its first attempt is the one that was just made.
    made = iter([failed])

    def again() -> T:
        for error in made:
            raise error
        return work()

    return retrying(again)
