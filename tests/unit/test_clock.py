"""Deadlines: one for a run, shares of it for its waits, and nothing waits after it."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DeadlineExceeded
from agent.host.clock import Deadline, SystemClock
from tests.unit.fakes import FakeClock

SECONDS = st.floats(min_value=0, max_value=1e6)


def test_time_runs_out_and_never_goes_below_zero() -> None:
    clock = FakeClock()
    deadline = clock.deadline(10)

    clock.advance(4)
    assert deadline.left() == 6
    clock.advance(60)
    assert deadline.left() == 0


@given(whole=SECONDS, passed=SECONDS, wanted=SECONDS)
def test_a_share_never_ends_after_the_whole(whole: float, passed: float, wanted: float) -> None:
    clock = FakeClock(start=0)
    deadline = clock.deadline(whole)
    clock.advance(passed)
    share = deadline.share(wanted)

    # A float has eleven digits after the point at a day's seconds.
    assert share.left() == pytest.approx(min(wanted, deadline.left()), abs=1e-6)
    assert share.seconds == pytest.approx(share.left(), abs=1e-6)
    assert share.at <= max(deadline.at, clock.monotonic()) + 1e-6


def test_what_has_time_left_may_go_on() -> None:
    FakeClock().deadline(1).check("pulling the images")


def test_what_has_no_time_left_is_told_with_the_figure_and_what_was_seen_last() -> None:
    clock = FakeClock()
    deadline = clock.deadline(30)
    clock.advance(30)

    with pytest.raises(DeadlineExceeded, match="pulling the images: not done within 30 s") as caught:
        deadline.check("pulling the images")
    assert caught.value.exit_status == 69
    assert "--deadline" in caught.value.next_step
    assert str(deadline.exceeded("x", "layer 3")) == "x: not done within 30 s; last seen: layer 3"


def test_the_real_clock_tells_utc_and_grows() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0.001)
    clock.sleep(-5)

    assert clock.monotonic() > before
    assert clock.now().utcoffset() == dt.timedelta(0)
    assert abs(clock.now().timestamp() - time.time()) < 5


def test_a_deadline_is_counted_from_now() -> None:
    clock = FakeClock(start=77)

    assert Deadline.after(clock, 3) == Deadline(clock, 80, 3)
