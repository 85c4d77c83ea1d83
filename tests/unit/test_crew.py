"""How many downloads go on at once, by how busy the process is."""

from __future__ import annotations

import pytest

from agent.steps.crew import FEWER_SECONDS, FEWEST, FEWEST_OF_SMALL, FIRST, MORE_SECONDS, MOST, SMALL, Crew
from tests.unit.fakes import FakeClock


class Process:
    """A clock, and a process that uses some share of a core."""

    def __init__(self) -> None:
        self.clock, self.used = FakeClock(), 0.0

    def crew(self, work: int = 1000, size: float = SMALL) -> Crew:
        return Crew(work, size, self.clock, lambda: self.used)

    def passes(self, share: float, seconds: float = 2 * MORE_SECONDS) -> None:
        self.clock.advance(seconds)
        self.used += share * seconds


def test_it_begins_with_no_more_than_there_is_to_do() -> None:
    assert Process().crew(3).size == 3
    assert Process().crew(3000).size == FIRST


def test_while_all_wait_for_the_network_there_are_twice_as_many_up_to_a_bound() -> None:
    process = Process()
    crew = process.crew()
    changes = []
    for _ in range(6):
        process.passes(0.1)
        changes.append(crew.change(left=900))

    assert changes[:2] == [FIRST, 2 * FIRST]
    assert crew.size == FIRST + sum(changes) == MOST


def test_nobody_is_added_for_whom_there_is_nothing_left() -> None:
    process = Process()
    crew = process.crew()
    process.passes(0.1)
    assert crew.change(left=3) == 3
    process.passes(0.1)
    assert crew.change(left=-5) == 0


@pytest.mark.parametrize(("size", "fewest"), [(SMALL - 1, FEWEST_OF_SMALL), (SMALL, FEWEST)], ids=["small", "large"])
def test_a_busy_process_has_fewer_one_after_the_other_down_to_a_bound(size: float, fewest: int) -> None:
    process = Process()
    crew = process.crew(size=size)
    for _ in range(10):
        process.passes(1.3, 1.1 * FEWER_SECONDS)
        assert crew.change(left=900) in {-1, 0}

    assert crew.size == fewest


def test_those_who_have_just_begun_to_wait_are_given_a_moment() -> None:
    process = Process()
    crew = process.crew()
    process.passes(0.1, 1.1 * FEWER_SECONDS)
    assert crew.change(left=900) == 0
    process.passes(0.1, MORE_SECONDS - FEWER_SECONDS)
    assert crew.change(left=900) == FIRST


@pytest.mark.parametrize("share", [0.55, 0.7, 0.89])
def test_in_between_it_stays(share: float) -> None:
    process = Process()
    crew = process.crew()
    process.passes(share)

    assert crew.change(left=900) == 0
    assert crew.size == FIRST


def test_of_many_who_ask_in_one_moment_one_is_answered() -> None:
    process = Process()
    crew = process.crew()
    process.passes(0.1)

    assert [crew.change(left=900) for _ in range(4)] == [FIRST, 0, 0, 0]


def test_those_who_stood_by_come_back_up_to_the_bound() -> None:
    crew = Process().crew()

    assert [crew.rejoin() for _ in range(MOST - FIRST + 1)] == [True] * (MOST - FIRST) + [False]
