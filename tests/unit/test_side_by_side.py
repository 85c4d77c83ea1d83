"""Jobs side by side: all faults are told, a hung job keeps nobody, and what is no fault of ours passes through."""

# ruff: noqa: PT012 - what is raised when a block of several jobs is left is what these tests are about

from __future__ import annotations

import contextvars
import signal
import threading
import time
from collections.abc import Callable

import pytest

from agent.errors import (
    AccessDenied,
    AgentError,
    AwsError,
    DeadlineExceeded,
    EngineError,
    HostError,
    Interrupted,
    SeveralErrors,
    combine,
)
from agent.host.clock import Deadline, SystemClock
from agent.host.side_by_side import GRACE_SECONDS, SideBySide


class ShortGrace(Deadline):
    """A deadline whose shares pass a hundred times faster; the real ones are kept."""

    def share(self, seconds: float) -> Deadline:
        assert seconds == GRACE_SECONDS
        return super().share(seconds / 100)


def short(seconds: float = 5.0) -> Deadline:
    clock = SystemClock()
    return ShortGrace(clock, clock.monotonic() + seconds, seconds)


def fails(error: BaseException, after: float = 0.0) -> Callable[[], None]:
    def work() -> None:
        time.sleep(after)
        raise error

    return work


def hangs() -> None:
    """Longer than any test waits; the thread is a daemon."""
    threading.Event().wait(30)


def error(kind: type[AgentError] = HostError, name: str = "x") -> AgentError:
    return kind(f"doing {name}", "because", "do this")


def test_results_come_back_from_their_jobs() -> None:
    with SideBySide(short()) as jobs:
        one, two = jobs.start("one", lambda: 1), jobs.start("two", lambda: "two")

        assert (one.result(), two.result()) == (1, "two")
    assert one.result() == 1


def test_jobs_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=5)
    with SideBySide(short()) as jobs:
        for _ in range(3):
            jobs.start("meeting", meeting.wait)


def test_leaving_the_block_waits_for_every_job() -> None:
    done: list[int] = []

    def slow() -> None:
        time.sleep(0.05)
        done.append(1)

    with SideBySide(short()) as jobs:
        jobs.start("slow", slow)

    assert done == [1]


def test_one_failure_is_raised_as_it_is() -> None:
    failure = error()
    with pytest.raises(HostError) as caught, SideBySide(short()) as jobs:
        jobs.start("bad", fails(failure))
        jobs.start("good", lambda: None)

    assert failure is caught.value


def test_all_failures_are_told_the_gravest_first() -> None:
    with pytest.raises(SeveralErrors) as caught, SideBySide(short()) as jobs:
        jobs.start("a", fails(error(AwsError)))
        jobs.start("b", fails(error(AccessDenied), 0.01))
        jobs.start("c", fails(combine([error(HostError), error(EngineError)])))

    assert [AccessDenied, HostError] == [type(part) for part in caught.value.parts()][:2]
    assert len(caught.value.parts()) == 4
    assert caught.value.exit_status == 77


def test_a_failure_of_the_block_counts_like_that_of_a_job() -> None:
    with pytest.raises(SeveralErrors) as caught, SideBySide(short()) as jobs:
        jobs.start("bad", fails(error(AwsError)))
        raise error(HostError)

    assert [HostError, AwsError] == [type(part) for part in caught.value.parts()]


def test_a_failure_that_the_block_has_asked_for_is_told_once() -> None:
    failure = error()
    with pytest.raises(HostError) as caught, SideBySide(short()) as jobs:
        jobs.start("bad", fails(failure)).result()

    assert failure is caught.value


def test_after_a_failure_the_others_get_the_grace_period_to_add_theirs() -> None:
    with pytest.raises(SeveralErrors) as caught, SideBySide(short()) as jobs:
        jobs.start("bad", fails(error(HostError)))
        jobs.start("late", fails(error(AwsError), GRACE_SECONDS / 1000))

    assert len(caught.value.parts()) == 2


def test_after_the_grace_period_jobs_that_hang_are_left_behind() -> None:
    began = time.monotonic()
    with pytest.raises(HostError), SideBySide(short()) as jobs:
        jobs.start("bad", fails(error(HostError)))
        jobs.start("hung", hangs)

    assert time.monotonic() - began < 1


def test_a_job_that_hangs_does_not_keep_the_block_past_its_deadline() -> None:
    began = time.monotonic()
    with (
        pytest.raises(DeadlineExceeded, match="syncing the bundle: not done within 0 s"),
        SideBySide(short(0.1)) as jobs,
    ):
        jobs.start("syncing the bundle", hangs)

    assert time.monotonic() - began < 1


def test_every_job_that_hangs_is_named() -> None:
    with pytest.raises(SeveralErrors) as caught, SideBySide(short(0.05)) as jobs:
        jobs.start("one", hangs)
        jobs.start("two", hangs)

    assert [part.doing for part in caught.value.parts()] == ["one", "two"]


def test_threads_that_hang_in_one_thing_are_named_once() -> None:
    with pytest.raises(DeadlineExceeded, match="syncing the bundle"), SideBySide(short(0.05)) as jobs:
        for _ in range(8):
            jobs.start("syncing the bundle", hangs)


def test_a_result_is_not_waited_for_past_the_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match="hung"), SideBySide(short(0.05)) as jobs:
        jobs.start("hung", hangs).result()


def test_asking_a_hung_job_for_its_result_tells_why_a_job_beside_it_failed() -> None:
    began = time.monotonic()
    with pytest.raises(AwsError), SideBySide(short()) as jobs:
        hung = jobs.start("hung", hangs)
        jobs.start("bad", fails(error(AwsError), 0.01))
        hung.result()

    assert time.monotonic() - began < 1


def test_a_result_that_comes_within_the_grace_period_is_given_although_a_job_beside_it_failed() -> None:
    given: list[int] = []

    def late() -> int:
        time.sleep(GRACE_SECONDS / 1000)
        return 7

    with pytest.raises(AwsError), SideBySide(short()) as jobs:
        jobs.start("bad", fails(error(AwsError)))
        given.append(jobs.start("late", late).result())

    assert given == [7]


def test_an_exception_that_is_no_agent_error_passes_through_from_a_job() -> None:
    with pytest.raises(ZeroDivisionError), SideBySide(short()) as jobs:
        jobs.start("buggy", lambda: 1 // 0)
        jobs.start("bad", fails(error()))
        jobs.start("hung", hangs)


@pytest.mark.parametrize("raised", [KeyError("mine"), Interrupted(signal.SIGTERM), KeyboardInterrupt()])
def test_an_exception_that_is_no_agent_error_passes_through_from_the_block_at_once(raised: BaseException) -> None:
    began = time.monotonic()
    with pytest.raises(type(raised)) as caught, SideBySide(short()) as jobs:
        jobs.start("hung", hangs)
        raise raised

    assert raised is caught.value
    assert time.monotonic() - began < 0.5


def test_a_job_sees_the_context_of_whoever_started_it() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("here")
    with SideBySide(short()) as jobs:
        assert jobs.start("looking", variable.get).result() == "here"


def test_threads_of_jobs_do_not_keep_the_process_alive() -> None:
    with SideBySide(short()) as jobs:
        assert jobs.start("looking", lambda: threading.current_thread().daemon).result()


def test_a_forgotten_job_is_neither_waited_for_nor_told_of() -> None:
    with SideBySide(short()) as jobs:
        slow, bad = jobs.start("sleeping", hangs), jobs.start("failing", fails(error()))
        fine = jobs.start("working", lambda: 7)
        jobs.forget(slow)
        jobs.forget(bad)

    assert fine.result() == 7
