"""When a call of AWS is made again, and after which pause: on a clock that moves only when a test says so."""

from __future__ import annotations

import pytest

from agent.aws.retrying import ATTEMPTS, RESERVE_SECONDS, Failure, Retrying, place_of
from agent.host.clock import Deadline
from tests.unit.fakes import FakeClock

PATH = "GetParametersByPath"


def rules(
    deadline: Deadline | None, *, chance: float = 1.0, place: float | None = None, hasty: bool = False
) -> Retrying:
    return Retrying(deadline, place=place, hasty=hasty, chance=lambda: chance)


def pauses(made: Retrying, failure: Failure, attempts: int) -> list[float | None]:
    return [made.pause(PATH, failure, attempt) for attempt in range(1, attempts + 1)]


def test_pauses_are_anything_up_to_a_limit_that_doubles() -> None:
    longest = pauses(rules(FakeClock().deadline()), Failure.THROTTLED, 5)
    half = pauses(rules(FakeClock().deadline(), chance=0.5), Failure.THROTTLED, 3)

    assert longest == [1, 2, 4, 5, 5]
    assert half == [0.5, 1, 2]


def test_what_is_throttled_is_asked_until_the_reserve_of_the_run_begins_and_not_in_it() -> None:
    clock = FakeClock()
    made = rules(clock.deadline(300), chance=0.1)
    waited, attempt = 0.0, 1
    while (pause := made.pause(PATH, Failure.THROTTLED, attempt)) is not None:
        clock.advance(pause)
        waited, attempt = waited + pause, attempt + 1

    assert 300 - RESERVE_SECONDS - 6 < waited <= 300 - RESERVE_SECONDS
    assert attempt > 5 * ATTEMPTS


def test_in_the_reserve_which_is_a_share_of_a_short_run_a_call_has_ten_attempts() -> None:
    clock = FakeClock()
    made = rules(clock.deadline(10), chance=0.1)

    clock.advance(7.4)
    assert made.pause(PATH, Failure.THROTTLED, 50) is not None
    clock.advance(0.7)
    assert made.pause(PATH, Failure.THROTTLED, ATTEMPTS) is None
    assert made.pause(PATH, Failure.THROTTLED, ATTEMPTS - 1) is not None


def test_what_is_broken_is_made_ten_times_with_short_pauses_first() -> None:
    found = pauses(rules(FakeClock().deadline()), Failure.BROKEN, ATTEMPTS)

    assert found[:3] == [0.05, 0.1, 0.2]
    assert None not in found[:-1]
    assert found[-1] is None


@pytest.mark.parametrize("failure", list(Failure))
def test_no_pause_is_begun_that_leaves_no_time_for_an_answer(failure: Failure) -> None:
    clock = FakeClock()
    made = rules(clock.deadline(300), chance=0.05)

    clock.advance(298.5)
    assert made.pause(PATH, failure, 2) is not None
    assert made.pause(PATH, failure, 9) is None


def test_the_longest_pause_grows_with_the_time_that_the_run_has_taken() -> None:
    clock = FakeClock()
    made = rules(clock.deadline(1000))

    assert made.pause(PATH, Failure.THROTTLED, 20) == 5
    clock.advance(200)
    assert made.pause(PATH, Failure.THROTTLED, 20) == 50


def test_who_has_begun_to_be_served_waits_a_second_at_most_and_the_others_as_before() -> None:
    made = rules(FakeClock().deadline())
    made.answered(PATH)

    assert made.pause(PATH, Failure.THROTTLED, 9) == 1
    assert made.pause("ListSecrets", Failure.THROTTLED, 9) == 5


def test_an_instance_that_boots_waits_first_as_long_as_its_place_says_and_then_by_chance() -> None:
    found = pauses(rules(FakeClock().deadline(), place=0.25), Failure.THROTTLED, 4)

    assert found == [1.25, 5, 5, 5]


def test_places_are_the_instance_s_own_and_spread_a_fleet_evenly() -> None:
    places = [place_of(f"i-{number:017x}") for number in range(1000)]

    assert places == [place_of(f"i-{number:017x}") for number in range(1000)]
    assert all(60 < sum(tenth / 10 <= place < (tenth + 1) / 10 for place in places) < 140 for tenth in range(10))


@pytest.mark.parametrize("failure", list(Failure))
def test_who_only_looks_whether_aws_can_be_reached_asks_twice(failure: Failure) -> None:
    found = pauses(rules(FakeClock().deadline(), hasty=True), failure, 2)

    assert found[0] is not None
    assert found[1] is None


@pytest.mark.parametrize("failure", list(Failure))
def test_after_the_deadline_and_without_one_calls_have_ten_attempts(failure: Failure) -> None:
    clock = FakeClock()
    over = clock.deadline(0)

    for deadline in (None, over):
        found = pauses(rules(deadline, place=0.5), failure, ATTEMPTS)
        assert None not in found[:-1]
        assert found[-1] is None


def test_what_aws_asks_to_wait_is_waited_for_up_to_five_seconds_more() -> None:
    made = rules(FakeClock().deadline())

    assert made.pause(PATH, Failure.THROTTLED, 1, 3.0) == 3
    assert made.pause(PATH, Failure.THROTTLED, 1, 60.0) == 6
    assert made.pause(PATH, Failure.THROTTLED, 3, 2.0) == 4
