"""The record of a run: steps, costs and messages, told once to every sink, from any thread."""

from __future__ import annotations

import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import HostError, Interrupted
from agent.host.clock import Deadline, SystemClock
from agent.host.side_by_side import SideBySide
from agent.report import record
from agent.report.record import Costs, Ending, Recorder
from agent.report.words import amount, duration, size
from tests.unit.fakes import HEAD, FakeClock, Sayings


def recorder() -> tuple[Recorder, Sayings, FakeClock]:
    sink, clock = Sayings(), FakeClock()
    return Recorder(HEAD, clock, [sink]), sink, clock


def test_a_step_is_told_from_its_beginning_to_its_end_with_its_time() -> None:
    made, sink, clock = recorder()
    clock.advance(2)
    with made.step("pull", "pulling the images") as step:
        clock.advance(1.5)

    assert sink.lines == ["began delphi-agent init", "started pull", "done pull"]
    assert (step.started, step.seconds, step.state) == (2, 1.5, "done")
    assert made.steps == [step]


def test_a_step_that_fails_is_told_with_its_error_which_goes_on() -> None:
    made, sink, _ = recorder()
    error = HostError("x", "y", "z")
    with pytest.raises(HostError) as caught, made.step("pull", "pulling"):
        raise error
    (step,) = made.steps

    assert error is caught.value
    assert error is step.error
    assert (step.state, step.waiting_for) == ("failed", "")
    assert sink.lines[-1] == "failed pull"


def test_an_exception_that_nobody_expected_fails_the_step_too() -> None:
    made, sink, _ = recorder()
    with pytest.raises(ZeroDivisionError), made.step("pull", "pulling"):
        _ = 1 // 0

    assert sink.lines[-1] == "failed pull"


@pytest.mark.parametrize("raised", [Interrupted(signal.SIGTERM), KeyboardInterrupt()])
def test_a_signal_interrupts_a_step_and_does_not_fail_it(raised: BaseException) -> None:
    made, sink, _ = recorder()
    with pytest.raises(type(raised)), made.step("pull", "pulling"):
        raise raised

    assert sink.lines[-1] == "interrupted pull"


def test_what_is_said_within_a_step_carries_its_name_and_outside_of_any_it_is_not_told() -> None:
    made, sink, _ = recorder()
    record.say("info", "x", "before")
    record.progress(detail="before")
    record.count(Costs(calls=1))
    with made.step("pull", "pulling"):
        record.say("info", "x", "within")
        record.progress(detail="1 of 2", waiting_for="the registry")

    assert sink.lines[1:] == ["started pull", "info x: within", "progressed pull: 1 of 2, the registry", "done pull"]


def test_a_thread_works_for_the_step_that_started_it() -> None:
    made, _, _ = recorder()
    with made.step("outer", "outer") as outer, SideBySide(Deadline.after(SystemClock(), 5)) as jobs:

        def work() -> None:
            record.count(Costs(calls=1))
            with made.step("inner", "inner") as inner:
                record.count(Costs(calls=10))
            record.count(Costs(calls=100))
            assert inner.costs.calls == 10

        jobs.start("work", work)

    assert outer.costs.calls == 101


def test_costs_of_threads_that_count_at_once_are_not_lost() -> None:
    made, sink, _ = recorder()
    with made.step("pull", "pulling") as step:

        def work() -> None:
            for _ in range(200):
                made.count(step, Costs(calls=1, received=2))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    made.finish(Ending(outcome="verified", exit_code=0, text=""))

    assert step.costs == Costs(calls=1600, received=3200)
    assert sink.costs == Costs(calls=1600, received=3200)


def test_a_wait_is_counted_from_its_beginning_also_when_its_words_change() -> None:
    made, _, clock = recorder()
    with made.step("identity", "x") as step:
        clock.advance(1)
        made.progress(step, waiting_for="IMDS (refused)")
        clock.advance(5)
        made.progress(step, waiting_for="IMDS (timeout)")
        assert step.waiting_since == 1

        made.progress(step, waiting_for="")
        clock.advance(1)
        made.progress(step, waiting_for="a role")
        assert step.waiting_since == 7


def test_a_sink_that_comes_late_hears_what_was_told_before() -> None:
    made, _, _ = recorder()
    late = Sayings()
    with made.step("bootstrap", "x"):
        pass
    with made.step("lock", "y"):
        made.attach(late)

    assert late.lines == [
        "began delphi-agent init",
        "started bootstrap",
        "done bootstrap",
        "started lock",
        "done lock",
    ]


def test_warnings_are_kept() -> None:
    made, _, _ = recorder()
    made.say("warning", "x", "mind this")
    made.say("info", "x", "not this")

    assert made.warnings == ["mind this"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00 s"), (0.994, "0.99 s"), (1, "1.0 s"), (12.34, "12.3 s"), (60, "1 min 00 s"), (125.4, "2 min 05 s")],
)
def test_durations_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert text == duration(seconds)


@given(st.floats(0, 1e5))
def test_no_duration_has_sixty_seconds_in_it(seconds: float) -> None:
    assert "60" not in duration(seconds).removesuffix(" s").rpartition(" ")[2].partition(".")[0]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (1 << 40, "1024.0 GiB"),
    ],
)
def test_sizes_are_written_as_people_read_them(count: int, text: str) -> None:
    assert text == size(count)


def test_amounts_have_a_plural() -> None:
    assert [amount(1, "file"), amount(2, "file"), amount(0, "retry", "retries"), amount(1234, "file")] == [
        "1 file",
        "2 files",
        "0 retries",
        "1,234 files",
    ]
