"""Retrying: only what is named, with growing random waits, never after the deadline, and the last error as it is."""

from __future__ import annotations

import pytest

from agent.host import retry
from tests.unit.fakes import FakeClock


class FlakyError(Exception):
    """Worth another try."""


class OtherError(Exception):
    """Not worth one."""


class Work:
    """Fails `times` times, then returns."""

    def __init__(self, times: int, error: type[Exception] = FlakyError) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error(f"failure {self.calls}")
        return "done"


def test_what_works_at_once_waits_for_nothing() -> None:
    clock = FakeClock()

    assert retry.until(clock.deadline(10), Work(0), on=(FlakyError,)) == "done"
    assert clock.sleeps == []


def test_a_named_failure_is_tried_again_until_it_works() -> None:
    clock, work = FakeClock(), Work(4)

    assert retry.until(clock.deadline(60), work, on=(FlakyError,)) == "done"
    assert work.calls == 5
    assert len(clock.sleeps) == 4


def test_any_other_failure_is_raised_at_once() -> None:
    clock, work = FakeClock(), Work(1, OtherError)

    with pytest.raises(OtherError, match="failure 1"):
        retry.until(clock.deadline(60), work, on=(FlakyError,))
    assert clock.sleeps == []


def test_waits_are_random_grow_and_have_a_limit() -> None:
    clock = FakeClock()
    retry.until(clock.deadline(10_000), Work(200), on=(FlakyError,), first=0.2, most=3.0)

    assert all(wait <= min(3.0, 0.2 * 2**number) for number, wait in enumerate(clock.sleeps))
    assert max(clock.sleeps) > 1.5
    assert len(set(clock.sleeps)) > 150


def test_after_the_deadline_the_last_failure_is_raised_and_not_a_wrapper() -> None:
    clock, work = FakeClock(), Work(10**6)

    with pytest.raises(FlakyError) as caught:
        retry.until(clock.deadline(20), work, on=(FlakyError,))
    assert str(caught.value) == f"failure {work.calls}"
    assert sum(clock.sleeps) <= 20


def test_it_never_sleeps_past_the_deadline() -> None:
    clock = FakeClock()
    deadline = clock.deadline(7)

    with pytest.raises(FlakyError):
        retry.until(deadline, Work(10**6), on=(FlakyError,), first=50, most=50)
    assert clock.monotonic() <= deadline.at


def test_a_deadline_that_is_over_still_gives_one_try() -> None:
    work = Work(1)

    with pytest.raises(FlakyError):
        retry.until(FakeClock().deadline(0), work, on=(FlakyError,))
    assert work.calls == 1


def test_every_failure_that_is_tried_again_is_told_and_the_last_is_not() -> None:
    told: list[str] = []

    retry.until(FakeClock().deadline(60), Work(2), on=(FlakyError,), tell=lambda error: told.append(str(error)))

    assert told == ["failure 1", "failure 2"]
